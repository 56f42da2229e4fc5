"""The child process of one backend: `python -m keras_xent.parity.worker`.

It reads tasks from standard input, each two pickles: the task, the module that knows it and the path of modules, and the task's
arguments, which may need these.
It answers each with JSON lines: first `{"setting": ...}`, what it runs on, then what the task yields, and at last
`{"end": true}`. What libraries print goes to standard error; what they read from standard input is empty.
"""

import importlib
import json
import os
import pickle
import queue
import sys
import threading


def main():
    """Does what is asked for until there is no more."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # whatever a library has to say, in Python or in C

    def say(something):
        print(json.dumps(something), file=answers, flush=True)

    for request, pickled in received(requests):
        sys.path[:0] = [path for path in request["path"] if path not in sys.path]
        tasks = importlib.import_module(request["tasks"])  # with it the backend
        from . import setting

        missing = setting.missing(request["device"])
        say({"setting": setting.setting(), "missing": missing})
        if not missing:
            for something in tasks.TASKS[request["task"]](**pickle.loads(pickled)):
                say(something)
        say({"end": True})


def received(requests):
    """The tasks; the process ends with the one that asks, even in the middle of a task."""
    waiting = queue.SimpleQueue()

    def listen():
        try:
            while True:
                waiting.put((pickle.load(requests), pickle.load(requests)))
        except (EOFError, pickle.UnpicklingError):
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield waiting.get()


if __name__ == "__main__":
    main()

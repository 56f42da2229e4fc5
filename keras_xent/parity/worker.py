"""The child process of one backend: `python -m keras_xent.parity.worker`.

It reads tasks, one JSON object a line, from standard input, and answers each with JSON lines: first `{"setting": ...}`, what it
runs on, then what the task yields, and at last `{"end": true}`. What libraries print goes to standard error.
"""

import json
import os
import sys


def main():
    """Does what is asked for until there is no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library has to say, in Python or in C

    def say(something):
        print(json.dumps(something), file=answers, flush=True)

    for line in sys.stdin:
        request = json.loads(line)
        sys.path[:0] = [path for path in request.get("path", ()) if path not in sys.path]
        from . import setting, tasks  # with them the backend

        missing = setting.missing(request["device"])
        say({"setting": setting.setting(), "missing": missing})
        if not missing:
            for something in tasks.TASKS[request["task"]](**request["arguments"]):
                say(something)
        say({"end": True})


if __name__ == "__main__":
    main()

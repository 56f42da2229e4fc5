"""One process per backend, device and version of Keras: Keras fixes its backend when it is imported."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .._only_backend import installed
from .text import printable

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
# What hides accelerators, so that everything is on the CPU.
HIDDEN = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
GPU_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows
TAIL = 30  # so many of the last lines of a process that crashed are shown
PATIENCE = 600.0  # seconds without an answer after which a process is taken to hang

__all__ = ["BACKENDS", "Child", "CrashError", "gpu_possible", "installed", "progress_bars"]


class CrashError(Exception):
    """A process that ended before it had answered."""


def gpu_possible():
    """Whether this machine may have a GPU: only then processes are asked, which takes seconds."""
    return sys.platform == "darwin" or any(map(os.path.exists, GPU_FILES))


class Child:
    """The process of one backend; it is started by the first task, and stays for others until it is closed."""

    def __init__(
        self,
        backend: str,
        device: str | None = None,
        keras_path: str | Path | None = None,
        patience: float = PATIENCE,
        tasks: str = "keras_xent.parity.tasks",
        variables: Mapping[str, str] | None = None,
    ):
        self.backend, self.device, self.keras_path, self.patience = backend, device, keras_path, patience
        self.tasks = tasks  # the module whose `TASKS` it can be asked to do
        self.variables = dict(variables or {})  # of its environment
        self.process: Any = None
        self.hung = False
        self.errors: Any = None  # a file of what it writes to standard error

    def environment(self):
        """The environment of the process."""
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **self.variables, "KERAS_BACKEND": self.backend}
        if self.device == "cpu":
            environment |= HIDDEN
        if self.keras_path is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(self.keras_path), *filter(None, [environment.get("PYTHONPATH")])])
        return environment

    def ask(self, task: str, path=(), **arguments) -> Iterator[dict[str, Any]]:
        """What it finds, as it finds it; a `CrashError` when it ends before it has done the task.

        The arguments are pickled: arrays, and dictionaries with keys of any kind, arrive as they are.
        """
        what = {"tasks": self.tasks, "task": task, "device": self.device, "path": list(path)}
        request = pickle.dumps(what) + pickle.dumps(pickled(arguments))
        if self.process is None:
            self.errors = tempfile.TemporaryFile("w+", errors="replace")
            self.process = subprocess.Popen(
                [sys.executable, "-m", "keras_xent.parity.worker"],
                env=self.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
            )
        try:
            self.process.stdin.write(request)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; what it said is read below
        while line := self.next_line():
            answer = json.loads(line)
            if answer.get("end"):
                return
            yield answer
        raise CrashError(self.last_words())

    def next_line(self):
        """What it says next; nothing if it ends, or is ended because it says nothing."""
        timer = threading.Timer(self.patience, self.give_up)
        timer.daemon = True
        timer.start()
        try:
            return self.process.stdout.readline()
        finally:
            timer.cancel()

    def give_up(self):
        """Ends a process that hangs, or that nobody waits for any more."""
        self.hung = True
        if self.process is not None:
            self.process.kill()

    def last_words(self):
        """How it ended, and its last lines."""
        code = self.process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        how = f"ended after {self.patience:g} s without an answer" if self.hung else how
        self.errors.seek(0)
        lines = printable(self.errors.read()).splitlines()[-TAIL:]
        return "\n".join([f"the process of {BACKENDS[self.backend]} crashed ({how})", *lines])

    def close(self):
        """Ends the process."""
        if self.process is not None:
            with contextlib.suppress(BrokenPipeError):  # what it no longer reads
                self.process.stdin.close()
            self.process.stdout.close()
            if self.process.poll() is None:
                self.process.terminate()
            self.process.wait()
            self.errors.close()
            self.process = None

    def __enter__(self):
        """Itself."""
        return self

    def __exit__(self, *exception):
        """Ends the process."""
        self.close()


def pickled(arguments):
    """Arguments as another process takes them."""
    try:
        return pickle.dumps(arguments)
    except (pickle.PicklingError, AttributeError, TypeError) as error:  # which of them depends on what it is
        raise ValueError(f"An argument cannot be handed to another process: {error}") from error


def progress_bars():
    """A display of how far processes are, on standard error; it goes when they are done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)

"""One process per backend, device and version of Keras: Keras fixes its backend when it is imported."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._only_backend import installed

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
# What hides accelerators, so that everything is on the CPU.
HIDDEN = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
GPU_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows
TAIL = 30  # so many of the last lines of a process that crashed are shown


__all__ = ["BACKENDS", "Child", "CrashError", "gpu_possible", "installed", "progress_bars"]


class CrashError(Exception):
    """A process that ended before it had answered."""


def gpu_possible():
    """Whether this machine may have a GPU: only then processes are asked, which takes seconds."""
    return sys.platform == "darwin" or any(map(os.path.exists, GPU_FILES))


class Child:
    """The process of one backend; it is started by the first task, and stays for others until it is closed."""

    def __init__(self, backend: str, device: str | None = None, keras_path: str | Path | None = None):
        self.backend, self.device, self.keras_path = backend, device, keras_path
        self.process: Any = None
        self.errors: Any = None  # a file of what it writes to standard error

    def environment(self):
        """The environment of the process."""
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": self.backend}
        if self.device == "cpu":
            environment |= HIDDEN
        if self.keras_path is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(self.keras_path), *filter(None, [environment.get("PYTHONPATH")])])
        return environment

    def ask(self, task: str, path=(), **arguments) -> Iterator[dict[str, Any]]:
        """What it finds, as it finds it; a `CrashError` when it ends before it has done the task."""
        if self.process is None:
            self.errors = tempfile.TemporaryFile("w+", errors="replace")
            self.process = subprocess.Popen(
                [sys.executable, "-m", "keras_xent.parity.worker"],
                env=self.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
            )
        request = {"task": task, "device": self.device, "path": list(path), "arguments": arguments}
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; what it said is read below
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("end"):
                return
            yield answer
        raise CrashError(self.last_words())

    def last_words(self):
        """How it ended, and its last lines."""
        code = self.process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self.errors.seek(0)
        lines = self.errors.read().splitlines()[-TAIL:]
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


def progress_bars():
    """A display of how far processes are, on standard error; it goes when they are done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)

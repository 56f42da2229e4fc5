"""Where one backend is installed and none is named, that one: Keras's own choice is TensorFlow, which then fails to import.

Keras fixes its backend when it is imported, so this has to come first. The command `keras-xent` gives each backend a process of
its own: for itself any will do, whatever is named.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
SOONEST = ("torch", "jax", "tensorflow")  # which is imported first


def choose():
    """Names the first backend that is installed, if Keras is not imported yet and would take one that is not."""
    if "keras" in sys.modules:
        return
    named, command = os.environ.get("KERAS_BACKEND"), is_command()
    if command:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        if named in BACKENDS and installed(named):
            return
        if not any(map(installed, BACKENDS)):
            print("keras-xent: no backend is installed: pip install 'keras_xent[jax]', or tensorflow, or torch", file=sys.stderr)
            raise SystemExit(2)
    elif named or installed(configured()):
        return
    for backend in filter(installed, SOONEST if command else BACKENDS):
        os.environ["KERAS_BACKEND"] = backend
        return


def is_command():
    """Whether this process is `keras-xent`, or `python -m keras_xent`."""
    as_module = "-m" in sys.orig_argv and sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] == [__package__]
    return as_module or [Path(program).stem for program in sys.argv[:1]] == ["keras-xent"]


def configured():
    """The backend in Keras's configuration file, which Keras writes when there is none; without one it is TensorFlow."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return json.loads((home / "keras.json").read_text("utf-8")).get("backend", "tensorflow")
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


def installed(module):
    """Whether a module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None

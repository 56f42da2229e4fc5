"""Where one backend is installed and none is named, that one: Keras's own choice is TensorFlow, which then fails to import.

Keras fixes its backend when it is imported, so this has to come first.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")


def choose():
    """Names the first backend that is installed, if Keras is not imported yet and would take one that is not."""
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or installed(configured()):
        return
    for backend in filter(installed, BACKENDS):
        os.environ["KERAS_BACKEND"] = backend
        return


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

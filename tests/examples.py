"""Examples, run as a user runs them."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
# Warnings are errors there as here; this one is Keras's, see pyproject.toml.
STRICT = ("-W", "error", "-W", "ignore:__array__ implementation:DeprecationWarning")


def run_example(name, *arguments, launcher=None, strict=False, **environment):
    """Runs an example in a process of its own; None removes a variable from its environment."""
    search_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {**os.environ, "PYTHONPATH": search_path, "PYTHONIOENCODING": "utf-8", **environment}
    variables = {variable: value for variable, value in variables.items() if value is not None}
    command = [sys.executable, *(STRICT if strict else ()), *(launcher or [EXAMPLES / name]), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, encoding="utf-8")


def names_in(name):
    """What an example defines."""
    sys.path.insert(0, str(EXAMPLES))  # where Python puts it for who runs the example
    try:
        return runpy.run_path(str(EXAMPLES / name))
    finally:
        sys.path.remove(str(EXAMPLES))

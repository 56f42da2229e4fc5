"""Other versions of Keras beside the installed one, for the processes that are to run on them."""

import importlib.metadata
import re
import subprocess
import sys


def requirement(wanted):
    """What pip is to be asked for; None for the Keras that is installed."""
    if wanted == "installed":
        return None
    if wanted == "oldest":
        return f"keras=={oldest()}"
    if wanted == "newest":
        return "keras"
    return f"keras=={wanted}" if re.match(r"\d+(\.\d+)*", wanted) and not wanted.endswith((".whl", ".zip", ".gz")) else wanted


def oldest():
    """The oldest Keras that this package supports."""
    for needed in importlib.metadata.requires("keras_xent") or ():
        found = re.match(r"keras>=([\d.]+)", needed)
        if found:
            return found[1]
    raise LookupError("keras_xent does not say which Keras it needs")


def install(wanted, directory):
    """Puts that Keras, alone, into a directory; an `OSError` with pip's last words if it cannot."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(directory), requirement(wanted)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "pip failed").splitlines()[-1]
        raise OSError(f"Keras {wanted} cannot be installed: {last}")

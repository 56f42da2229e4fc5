"""Other libraries' losses, each on its own backend: what else answers a case."""

import importlib.util

from ..running import BACKEND
from .answering import peer

LIBRARIES = {
    "tensorflow": ("tf_keras", "of_tensorflow"),
    "torch": ("torch.nn.functional", "of_torch"),
    "jax": ("optax", "of_jax"),
}


def peers():
    """The implementations of the active backend whose library is installed; it is imported when it is asked."""
    name, module = LIBRARIES[BACKEND]
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        return ()
    return (peer(name, f"{__name__}.{module}"),)

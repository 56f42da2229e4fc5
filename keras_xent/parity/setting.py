"""What results depend on: versions, the device, how products of matrices are rounded there."""

import importlib.metadata
import platform

import keras
import numpy as np
from keras import ops

import keras_xent

from .processes import BACKENDS
from .running import BACKEND

PEERS = {"tensorflow": ("tf_keras",), "jax": ("optax",), "torch": ()}


def setting():
    """Names and versions, the device, the precision of matrix products."""
    versions = {"keras_xent": keras_xent.__version__, "Keras": keras.__version__}
    versions |= {BACKENDS[BACKEND]: __import__(BACKEND).__version__, "NumPy": np.__version__, "Python": platform.python_version()}
    for peer in PEERS[BACKEND]:
        try:
            versions[peer] = importlib.metadata.version(peer)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"backend": BACKEND, "versions": versions, "device": device(), "precision": precision()}


def device():
    """Where tensors are: CPU, or the name of the accelerator."""
    place = str(ops.zeros(1).device)
    if "CPU" in place.upper():
        return "CPU"
    if BACKEND == "torch":
        import torch

        return torch.cuda.get_device_name() if place.startswith("cuda") else place
    if BACKEND == "jax":
        import jax

        return jax.devices()[0].device_kind
    import tensorflow as tf

    return tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0]).get("device_name", place)


def missing(wanted):
    """Why there is no such device here, in words; None if there is."""
    here = "cpu" if device() == "CPU" else "gpu"
    if wanted in (None, here):
        return None
    return f"{BACKENDS[BACKEND]} sees no {wanted.upper()} here: tensors are on the {device()}"


def precision():
    """How float32 matrix products are rounded; the losses have none, a model in front of them has."""
    if BACKEND == "torch":
        import torch

        tf32 = onoff(torch.backends.cuda.matmul.allow_tf32)
        return f"float32 matmul precision {torch.get_float32_matmul_precision()}, tf32 {tf32}"
    if BACKEND == "jax":
        import jax

        return f"matmul precision {getattr(jax.config, 'jax_default_matmul_precision') or 'default'}"  # noqa: B009
    import tensorflow as tf

    return f"tf32 {onoff(tf.config.experimental.tensor_float_32_execution_enabled())}"


def onoff(flag):
    """In words."""
    return "on" if flag else "off"

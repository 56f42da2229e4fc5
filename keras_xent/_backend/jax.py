"""JAX."""

import jax
import numpy as np
from jax.core import Tracer


def read(x):
    if not isinstance(x, jax.Array):
        return np.asarray(x)
    if isinstance(x, Tracer):
        return None
    on_cpu = x.is_fully_addressable and all(device.platform == "cpu" for device in x.devices())
    return np.asarray(x) if on_cpu else None


def fail_unless(ok, values, message, culprits):
    del ok, message, culprits  # a compiled JAX program cannot raise
    return values


def num_replicas():
    return 1  # a sharded program is one program

"""Kernels: what takes the place of several steps where that is faster, with the only gradients that are written by hand.

A kernel gives what the steps give, to their precision, and takes every transform that they take. `SPARSE` is that of
cross-entropy against class ids, from logits, or None where the steps are as fast.
"""

import keras

from .shortcuts import Kernel, shortened

__all__ = ["SPARSE", "Kernel", "shortened"]

SPARSE: Kernel | None = None
if keras.backend.backend() == "torch":
    from .torch_sparse import SPARSE

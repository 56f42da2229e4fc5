"""Kernels: what takes the place of several steps where that is faster, with the only gradients that are written by hand.

A kernel gives what the steps give, to their precision, and takes every transform that they take. From logits, `SPARSE` is that of
cross-entropy against class ids, `DENSE` against distributions; None where the steps are taken.
"""

import keras

from .shortcuts import Kernel, shortened

__all__ = ["DENSE", "SPARSE", "Kernel", "shortened"]

DENSE: Kernel | None = None
SPARSE: Kernel | None = None
if keras.backend.backend() == "torch":
    from .torch_dense import DENSE
    from .torch_sparse import SPARSE

"""Kernels: what takes the place of several steps where that is faster, with the only gradients that are written by hand.

A kernel gives what the steps give, to their precision, and takes every transform that they take. None where the steps are taken:

`SPARSE`: cross-entropy against class ids; `DENSE`: against distributions; `FOCAL`: that with the focal factor.
`BINARY`: cross-entropy of yes/no outputs; `BINARY_FOCAL`: that with the focal factor.
`KL`: the divergence of a student from a teacher, both tempered.

These are from logits; `..._FROM_PROBS` are from probabilities, `KL_FROM_PROBS` of targets that are probabilities, too.
"""

import keras

from .shortcuts import Kernel, shortened, taken_by

__all__ = [
    "BINARY",
    "BINARY_FOCAL",
    "BINARY_FOCAL_FROM_PROBS",
    "BINARY_FROM_PROBS",
    "DENSE",
    "DENSE_FROM_PROBS",
    "FOCAL",
    "FOCAL_FROM_PROBS",
    "KL",
    "KL_FROM_PROBS",
    "SPARSE",
    "SPARSE_FROM_PROBS",
    "Kernel",
    "shortened",
    "taken_by",
]

BINARY: Kernel | None = None
BINARY_FROM_PROBS: Kernel | None = None
BINARY_FOCAL: Kernel | None = None
BINARY_FOCAL_FROM_PROBS: Kernel | None = None
DENSE: Kernel | None = None
DENSE_FROM_PROBS: Kernel | None = None
FOCAL: Kernel | None = None
FOCAL_FROM_PROBS: Kernel | None = None
KL: Kernel | None = None
KL_FROM_PROBS: Kernel | None = None
SPARSE: Kernel | None = None
SPARSE_FROM_PROBS: Kernel | None = None
if keras.backend.backend() == "torch":
    from . import torch_compiled  # noqa: F401 (its operators are called by name)
    from .torch_binary import BINARY
    from .torch_binary_focal import BINARY_FOCAL
    from .torch_dense import DENSE
    from .torch_focal import FOCAL
    from .torch_from_probs import (
        BINARY_FOCAL_FROM_PROBS,
        BINARY_FROM_PROBS,
        DENSE_FROM_PROBS,
        FOCAL_FROM_PROBS,
        KL_FROM_PROBS,
        SPARSE_FROM_PROBS,
    )
    from .torch_kl import KL
    from .torch_sparse import SPARSE
elif keras.backend.backend() == "jax":
    from .jax_binary import BINARY
    from .jax_binary_focal import BINARY_FOCAL
    from .jax_dense import DENSE
    from .jax_focal import FOCAL
    from .jax_from_probs import (
        BINARY_FOCAL_FROM_PROBS,
        BINARY_FROM_PROBS,
        DENSE_FROM_PROBS,
        FOCAL_FROM_PROBS,
        KL_FROM_PROBS,
        SPARSE_FROM_PROBS,
    )
    from .jax_kl import KL
    from .jax_sparse import SPARSE
elif keras.backend.backend() == "tensorflow":
    from .tensorflow_binary import BINARY
    from .tensorflow_binary_focal import BINARY_FOCAL
    from .tensorflow_dense import DENSE
    from .tensorflow_focal import FOCAL
    from .tensorflow_from_probs import (
        BINARY_FOCAL_FROM_PROBS,
        BINARY_FROM_PROBS,
        DENSE_FROM_PROBS,
        FOCAL_FROM_PROBS,
        KL_FROM_PROBS,
        SPARSE_FROM_PROBS,
    )
    from .tensorflow_kl import KL
    from .tensorflow_sparse import SPARSE

"""The definitions: every loss and its gradient in NumPy, float64, one page each.

`dtype` names the dtype that another implementation computes in: the clip bounds ε and 1 - ε are rounded to it, and it
bounds the gradient of a vanishing probability. Everything else is float64. This package imports NumPy alone; the rest
of the library is tested against it.
"""

from .binary import binary_crossentropy, binary_crossentropy_gradient
from .categorical import (
    categorical_crossentropy,
    categorical_crossentropy_gradient,
    sparse_categorical_crossentropy,
    sparse_categorical_crossentropy_gradient,
)
from .distillation import distillation_loss, distillation_loss_gradient
from .reduction import reduce_losses

__all__ = [
    "binary_crossentropy",
    "binary_crossentropy_gradient",
    "categorical_crossentropy",
    "categorical_crossentropy_gradient",
    "distillation_loss",
    "distillation_loss_gradient",
    "reduce_losses",
    "sparse_categorical_crossentropy",
    "sparse_categorical_crossentropy_gradient",
]

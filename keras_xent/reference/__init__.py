"""The definitions: every loss and its gradient in NumPy, float64, one page each.

`dtype` is the dtype of another implementation's predictions: the clip bounds ε and 1 - ε are rounded to it (to float32 for
half precision, which is computed in float32), and it bounds the gradient of a vanishing probability. All else is float64.
This package imports NumPy alone; the rest of the library is tested against it.
"""

from .binary import binary_crossentropy, binary_crossentropy_gradient
from .categorical import (
    categorical_crossentropy,
    categorical_crossentropy_gradient,
    sparse_categorical_crossentropy,
    sparse_categorical_crossentropy_gradient,
)
from .distillation import distillation_loss, distillation_loss_gradient
from .divergence import kl_divergence, kl_divergence_gradient
from .focal import (
    binary_focal_crossentropy,
    binary_focal_crossentropy_gradient,
    categorical_focal_crossentropy,
    categorical_focal_crossentropy_gradient,
    sparse_categorical_focal_crossentropy,
    sparse_categorical_focal_crossentropy_gradient,
)
from .generalized import categorical_generalized_cross_entropy, categorical_generalized_cross_entropy_gradient
from .linear import linear_sparse_categorical_crossentropy, linear_sparse_categorical_crossentropy_gradient
from .linear_distillation import linear_distillation_loss, linear_distillation_loss_gradient
from .reduction import reduce_losses, reduce_losses_gradient
from .teachers import top_k_targets

__all__ = [
    "binary_crossentropy",
    "binary_crossentropy_gradient",
    "binary_focal_crossentropy",
    "binary_focal_crossentropy_gradient",
    "categorical_crossentropy",
    "categorical_crossentropy_gradient",
    "categorical_focal_crossentropy",
    "categorical_focal_crossentropy_gradient",
    "categorical_generalized_cross_entropy",
    "categorical_generalized_cross_entropy_gradient",
    "distillation_loss",
    "distillation_loss_gradient",
    "kl_divergence",
    "kl_divergence_gradient",
    "linear_distillation_loss",
    "linear_distillation_loss_gradient",
    "linear_sparse_categorical_crossentropy",
    "linear_sparse_categorical_crossentropy_gradient",
    "reduce_losses",
    "reduce_losses_gradient",
    "sparse_categorical_crossentropy",
    "sparse_categorical_crossentropy_gradient",
    "sparse_categorical_focal_crossentropy",
    "sparse_categorical_focal_crossentropy_gradient",
    "top_k_targets",
]

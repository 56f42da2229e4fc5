"""Cross-entropy and distillation losses for Keras 3, written out step by step; see README.md."""

from . import distill, reference
from .distill import DistillationLoss, distillation_loss, pack_targets
from .domain import DOMAIN
from .losses import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    SparseCategoricalCrossentropy,
    SparseCategoricalFocalCrossentropy,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
    sparse_categorical_crossentropy,
    sparse_categorical_focal_crossentropy,
)

__version__ = "0.1.0"

__all__ = [
    "DOMAIN",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "DistillationLoss",
    "KLDivergence",
    "SparseCategoricalCrossentropy",
    "SparseCategoricalFocalCrossentropy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "distill",
    "distillation_loss",
    "kl_divergence",
    "pack_targets",
    "reference",
    "sparse_categorical_crossentropy",
    "sparse_categorical_focal_crossentropy",
]

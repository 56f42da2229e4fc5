"""Cross-entropy and distillation losses for Keras 3, written out step by step; see README.md."""

from . import distill, reference
from .distill import DistillationLoss, distillation_loss, pack_targets
from .losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)

__version__ = "0.1.0"

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "DistillationLoss",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "distill",
    "distillation_loss",
    "pack_targets",
    "reference",
    "sparse_categorical_crossentropy",
]

"""The losses: per loss its recipe, its function and its class."""

from .binary import BinaryCrossentropy, binary_crossentropy
from .binary_focal import BinaryFocalCrossentropy, binary_focal_crossentropy
from .categorical import CategoricalCrossentropy, categorical_crossentropy
from .categorical_focal import CategoricalFocalCrossentropy, categorical_focal_crossentropy
from .divergence import KLDivergence, kl_divergence
from .generalized import CategoricalGeneralizedCrossEntropy, categorical_generalized_cross_entropy
from .sparse import SparseCategoricalCrossentropy, sparse_categorical_crossentropy
from .sparse_focal import SparseCategoricalFocalCrossentropy, sparse_categorical_focal_crossentropy

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "KLDivergence",
    "SparseCategoricalCrossentropy",
    "SparseCategoricalFocalCrossentropy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "kl_divergence",
    "sparse_categorical_crossentropy",
    "sparse_categorical_focal_crossentropy",
]

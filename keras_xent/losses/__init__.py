"""The losses: per loss its recipe, its function and its class."""

from .binary import BinaryCrossentropy, binary_crossentropy
from .categorical import CategoricalCrossentropy, categorical_crossentropy
from .sparse import SparseCategoricalCrossentropy, sparse_categorical_crossentropy

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
]

"""Large vocabularies: losses from features and the output layer's kernel, without ever holding all logits."""

from .linear import linear_sparse_categorical_crossentropy

__all__ = ["linear_sparse_categorical_crossentropy"]

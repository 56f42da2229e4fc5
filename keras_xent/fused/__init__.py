"""Large vocabularies: losses from features and the output layer's kernel, without ever holding all logits."""

from .linear import linear_sparse_categorical_crossentropy
from .linear_loss import LinearSparseCategoricalCrossentropy
from .metrics import LinearPerplexity, LinearSparseCategoricalAccuracy
from .split import FeaturesModel, split_head

__all__ = [
    "FeaturesModel",
    "LinearPerplexity",
    "LinearSparseCategoricalAccuracy",
    "LinearSparseCategoricalCrossentropy",
    "linear_sparse_categorical_crossentropy",
    "split_head",
]

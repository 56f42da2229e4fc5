"""Large vocabularies: losses from features and the output layer's kernel, without ever holding all logits."""

from .distillation import linear_distillation_loss
from .distillation_for_fit import LinearDistillationLoss
from .linear import linear_sparse_categorical_crossentropy
from .linear_loss import LinearSparseCategoricalCrossentropy
from .metrics import LinearPerplexity, LinearSparseCategoricalAccuracy
from .split import FeaturesModel, split_head

__all__ = [
    "FeaturesModel",
    "LinearDistillationLoss",
    "LinearPerplexity",
    "LinearSparseCategoricalAccuracy",
    "LinearSparseCategoricalCrossentropy",
    "linear_distillation_loss",
    "linear_sparse_categorical_crossentropy",
    "split_head",
]

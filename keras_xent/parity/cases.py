"""A case: what one comparison asks of a loss, and what the definition answers."""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from .. import reference

# What the targets of a loss are.
KINDS = {
    "CategoricalCrossentropy": "dense",
    "SparseCategoricalCrossentropy": "ids",
    "BinaryCrossentropy": "answers",
    "CategoricalFocalCrossentropy": "dense",
    "SparseCategoricalFocalCrossentropy": "ids",
    "BinaryFocalCrossentropy": "answers",
    "KLDivergence": "distribution",
    "CategoricalGeneralizedCrossEntropy": "ids",
    "DistillationLoss": "teacher",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """What one comparison asks of a loss."""

    loss: str  # its class in `keras_xent`
    group: str  # one of `GROUPS`
    what: str  # in words
    y_true: np.ndarray
    y_pred: np.ndarray
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of the loss, beside its reduction and dtype
    dtype: str = "float32"
    reduction: str = "none"
    sample_weight: np.ndarray | None = None
    hard_labels: np.ndarray | None = None  # beside a teacher's targets, where the loss has an argument `labels`
    own_arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # which a user's loss has, and this one has not
    singular: bool = False  # whether its inputs are of a kind of their own, as `what` says
    mask: np.ndarray | None = None  # of the losses: which of them count

    def with_(self, **changes):
        """A case that differs in some of its fields."""
        return dataclasses.replace(self, **changes)

    @property
    def axis(self):
        """The axis or axes that its losses are over."""
        return self.arguments.get("axis", -1)

    @property
    def temperature(self):
        """Of a distillation loss."""
        return self.arguments.get("temperature", 4.0)

    def definition(self):
        """The value and the gradient of its sum by `y_pred`, in float64."""
        losses, gradient = (getattr(reference, function_name(self.loss) + of) for of in ("", "_gradient"))
        options = {**NEEDED.get(self.loss, {}), **self.arguments, **of_this_process(losses, self.arguments), "dtype": self.dtype}
        if self.hard_labels is not None:
            options["hard_labels"] = self.hard_labels
        with np.errstate(all="ignore"):  # what has no weight may be NaN
            return self.reduced(losses(self.y_true, self.y_pred, **options), gradient(self.y_true, self.y_pred, **options))

    def reduced(self, losses, gradient):
        """The value and its gradient, of losses that are neither weighed nor reduced and the gradient of their sum."""
        pull = spread(self.pull(losses), gradient, self.axis)
        with np.errstate(invalid="ignore"):
            return reference.reduce_losses(losses, **self.reduction_of()), np.where(pull == 0, 0.0, pull * gradient)

    def pull(self, losses):
        """The gradient of the value by the losses."""
        return reference.reduce_losses_gradient(losses, **self.reduction_of())

    def reduction_of(self):
        """How the definition reduces: labels that are ignored do not count."""
        ignored, mask = self.arguments.get("ignore_class"), self.mask
        if mask is None and ignored is not None:
            mask = ~np.isin(self.y_true, ignored)
        return {"sample_weight": self.sample_weight, "mask": mask, "reduction": self.reduction}


def of_this_process(function, arguments):
    """What a definition, which knows nothing of Keras, has to be told: Keras's ε where no other is given."""
    if arguments.get("epsilon") is None and "epsilon" in inspect.signature(function).parameters:
        return {"epsilon": keras.config.epsilon()}
    return {}


NEEDED = {"CategoricalGeneralizedCrossEntropy": {"q": 0.5}}  # arguments that the class has a default for, the function none


def function_name(loss):
    """`KLDivergence` is `kl_divergence`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", loss).lower()


def spread(pull, gradient, axis):
    """Numbers per loss, for each prediction that the loss is of."""
    axes = tuple(range(gradient.ndim)) if axis is None else axis
    return np.broadcast_to(np.expand_dims(pull, axes) if axes != () else pull, gradient.shape)


def softmax(logits, axis=-1):
    """Probabilities out of logits."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def one_hot(labels, num_classes, axis=-1):
    """Dense targets out of class ids."""
    return np.moveaxis((np.asarray(labels)[..., None] == np.arange(num_classes)).astype("float64"), -1, axis)

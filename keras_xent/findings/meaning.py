"""What a loss takes its inputs for: whoever wrote it, its twin among the losses of this package says so."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from .. import losses as ours
from .._base import StepwiseLoss
from ..distill.loss import DistillationLoss, distillation_loss

DISTRIBUTIONS, CLASS_IDS, ANSWERS, TEACHER = "distributions", "class ids", "answers", "teacher"
KINDS = {
    "CategoricalCrossentropy": DISTRIBUTIONS,
    "CategoricalFocalCrossentropy": DISTRIBUTIONS,
    "KLDivergence": DISTRIBUTIONS,
    "SparseCategoricalCrossentropy": CLASS_IDS,
    "SparseCategoricalFocalCrossentropy": CLASS_IDS,
    "CategoricalGeneralizedCrossEntropy": CLASS_IDS,
    "BinaryCrossentropy": ANSWERS,
    "BinaryFocalCrossentropy": ANSWERS,
    "DistillationLoss": TEACHER,
}
FUNCTION_NAMES = {
    "CategoricalCrossentropy": "categorical_crossentropy",
    "CategoricalFocalCrossentropy": "categorical_focal_crossentropy",
    "KLDivergence": "kl_divergence",
    "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
    "SparseCategoricalFocalCrossentropy": "sparse_categorical_focal_crossentropy",
    "CategoricalGeneralizedCrossEntropy": "categorical_generalized_cross_entropy",
    "BinaryCrossentropy": "binary_crossentropy",
    "BinaryFocalCrossentropy": "binary_focal_crossentropy",
}
OPTIONS = {"from_logits": False, "axis": -1, "ignore_class": None, "invalid_labels": "error", "saturated_gradient": "zero"}


@dataclass(frozen=True)
class Meaning:
    """A loss that takes what the loss `name` of this package takes."""

    name: str
    loss: Any  # as it was given
    ours: bool
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self):
        """What its targets are."""
        return KINDS[self.name]

    @property
    def from_logits(self):
        """Whether it takes its predictions for logits."""
        return self.options["from_logits"]

    @property
    def over_classes(self):
        """Whether its classes exclude each other."""
        return self.kind != ANSWERS

    @property
    def ignored(self):
        """The class ids that it leaves out."""
        ignored = self.options["ignore_class"]
        return [] if ignored is None else ignored if isinstance(ignored, list) else [ignored]

    def per_example(self, y_true, y_pred):
        """The losses, neither weighed nor reduced."""
        compute = self.loss.call if isinstance(self.loss, keras.losses.Loss) else self.loss
        return compute(y_true, y_pred)


def meaning_of(loss, y_true, y_pred):
    """The `Meaning` of a loss as `compile` takes it; None for a loss that is no cross-entropy, or that cannot be known."""
    loss = spelled_out(loss, y_true.shape, y_pred.shape)
    if isinstance(loss, (str, Mapping)):
        loss = keras.losses.get(loss)
    loss = made(loss)
    if isinstance(loss, functools.partial):
        name, is_ours = named(loss.func)
        given = {} if loss.args else loss.keywords
        return None if name is None or loss.args else Meaning(name, loss, is_ours, options_of(given, is_ours))
    if not isinstance(loss, keras.losses.Loss):
        name, is_ours = named(loss)
        return None if name is None else Meaning(name, loss, is_ours, options_of({}, is_ours))
    for name in KINDS:
        its_class = own_class(name)
        keras_class = getattr(keras.losses, name, its_class)
        if isinstance(loss, (its_class, keras_class)):
            # Whoever computes something else may also mean something else.
            if type(loss).call not in (its_class.call, keras_class.call):
                return None
            is_ours = isinstance(loss, StepwiseLoss)
            options = dict(loss._options) if isinstance(loss, StepwiseLoss) else {}
            given = {option: getattr(loss, option) for option in OPTIONS if hasattr(loss, option)}
            return Meaning(name, loss, is_ours, options_of(options | given, is_ours))
    return None


def options_of(given, is_ours):
    """The options that checks ask for, all of them."""
    return OPTIONS | ({"saturated_gradient": "flow"} if is_ours else {}) | dict(given)


def own_class(name):
    """The class of this package."""
    return DistillationLoss if name == "DistillationLoss" else getattr(ours, name)


@functools.cache
def by_function():
    """The name of the class, and whether it is of this package, by the function."""
    functions = {distillation_loss: ("DistillationLoss", True)}
    for name, function in FUNCTION_NAMES.items():
        functions[getattr(ours, function)] = name, True
        if hasattr(keras.losses, function):
            functions[getattr(keras.losses, function)] = name, False
    return functions


def named(function):
    """The name of the class whose function it is, and whether it is of this package."""
    return next((names for known, names in by_function().items() if known is function), (None, False))


def made(loss: Any) -> Any:
    """An object of a class, as `compile` makes one."""
    return loss() if isinstance(loss, type) and issubclass(loss, keras.losses.Loss) else loss


def spelled_out(loss, true_shape, pred_shape):
    """A loss as it is given; the word "crossentropy" as the name of what Keras takes it for."""
    if not isinstance(loss, str) or loss.lower() not in ("crossentropy", "ce") or not len(pred_shape):
        return loss
    if pred_shape[-1] == 1:
        return "binary_crossentropy"
    sparse = len(true_shape) < len(pred_shape) or (true_shape[-1] == 1 and pred_shape[-1] > 1)
    return "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"

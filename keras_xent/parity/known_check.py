"""Whether a known difference is still true: Keras, this package and the definition are asked, on the active backend."""

import inspect
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import keras_xent

from .. import reference
from .bounds import error_in_bounds
from .cases import Case, function_name, softmax
from .difference import KnownDifference
from .running import BACKEND, array, having, tensor, value_and_gradient


@dataclass(frozen=True)
class Outcome:
    """What Keras and this package give for a known difference: numbers, names, or an error as `"Type: what it says"`."""

    known: KnownDifference
    keras: Any
    ours: Any

    @property
    def keras_holds(self):
        """Whether Keras gives what is stated."""
        return agree(self.known, self.keras, self.known.keras_result(BACKEND))

    @property
    def ours_holds(self):
        """Whether this package gives what is stated."""
        return agree(self.known, self.ours, self.known.ours)

    @property
    def holds(self):
        """Whether both do."""
        return self.keras_holds and self.ours_holds

    @property
    def fixed(self):
        """Whether Keras gives what this package is stated to give, though it is stated to differ."""
        return not self.keras_holds and agree(self.known, self.keras, self.known.ours)

    @property
    def said(self):
        """In words."""
        stated = self.known.keras_result(BACKEND)
        words = [] if self.keras_holds else [f"Keras {keras.__version__} gives {in_words(self.keras)}, not {in_words(stated)}"]
        words += ["it no longer differs"] if self.fixed else []
        words += [] if self.ours_holds else [f"keras_xent gives {in_words(self.ours)}, not {in_words(self.known.ours)}"]
        return "; ".join(words) or "still true"

    def as_json(self):
        """What a report needs."""
        return {"name": self.known.name, "holds": self.holds, "said": self.said}


def check(known: KnownDifference) -> Outcome:
    """Asks Keras and this package."""
    return Outcome(known, of_keras(known), of_ours(known))


def in_words(result):
    """A result on one line."""
    return result if isinstance(result, str) else str(np.asarray(result).tolist())


# ------------------------------------------------------------------------------------------------ asking the two of them


def of_keras(known):
    """What Keras gives."""
    arguments = known.peer_arguments if known.peer else {"reduction": "none", **known.arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow looking behind a softmax, one class: Keras warns, and goes on
        if known.peer is None:
            return given(known, getattr(keras.losses, known.loss), arguments)
        return given(known, getattr(keras.distillation, known.peer), arguments, "compute_loss")


def of_ours(known):
    """What this package gives."""
    return given(known, getattr(keras_xent, known.loss), {"reduction": "none", **known.arguments})


def given(known, loss_class, arguments, method="__call__"):
    """The compared result, or the error as a string."""
    if known.compared == "lost arguments":
        accepted = set(inspect.signature(loss_class).parameters)
        return sorted(accepted - set(loss_class().get_config()))

    def losses(y_pred):
        y_pred = y_pred if known.activation is None else getattr(keras.activations, known.activation)(y_pred)
        if known.mask is not None:
            y_pred._keras_mask = tensor(known.mask)
        weights = {} if known.sample_weight is None else {"sample_weight": tensor(known.sample_weight, "float32")}
        y_true = tensor(known.y_true) if np.asarray(known.y_true).dtype.kind == "i" else tensor(known.y_true, "float32")
        return getattr(loss_class(**arguments), method)(y_true, y_pred, **weights)

    try:
        with having(known.dtype):
            y_pred = tensor(known.y_pred, known.dtype)
            return value_and_gradient(losses, y_pred)[1] if known.compared == "gradient" else array(losses(y_pred))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def agree(known, actual, stated):
    """Whether a result is the stated one: an error of that type with that phrase, or the numbers within rounding."""
    if known.compared == "lost arguments":
        return actual == stated
    if isinstance(stated, str):
        kind, _, phrase = stated.partition(": ")
        return isinstance(actual, str) and actual.startswith(f"{kind}: ") and phrase in actual
    if isinstance(actual, str) or np.shape(actual) != np.shape(stated):
        return False
    logits = np.asarray(known.y_pred, "float64") if known.activation or known.arguments.get("from_logits", known.peer) else 0.0
    span = np.ptp(np.where(np.isfinite(logits), logits, 0.0))
    return error_in_bounds(actual, stated, known.dtype, np.size(known.y_pred), span, known.floor) <= 1


# ------------------------------------------------------------------------------------------------ asking the definition


def of_definition(known):
    """What `keras_xent.reference` says, in float64."""
    arguments = {name: value for name, value in known.arguments.items() if name != "reduction"} | {"dtype": known.dtype}
    name = function_name(known.loss)
    y_true, y_pred = np.asarray(known.y_true), activated(known)
    # What has no weight or is masked does not count, so that it is not asked for.
    counts = np.ones(len(y_pred), bool)
    for removing in (known.sample_weight, known.mask):
        if removing is not None:
            counts &= np.asarray(removing, bool)
    if known.compared == "gradient":
        gradient = np.zeros(y_pred.shape)
        of_kept = getattr(reference, f"{name}_gradient")(y_true[counts], y_pred[counts], **arguments)
        gradient[counts] = activation_backward(known.activation, of_kept, y_pred[counts])
        return gradient
    of_kept = getattr(reference, name)(y_true[counts], y_pred[counts], **arguments)
    losses = np.zeros((len(y_pred), *of_kept.shape[1:]))
    losses[counts] = of_kept
    reduction = known.arguments.get("reduction", "none")
    return np.asarray(reference.reduce_losses(losses, known.sample_weight, known.mask, reduction))


def activated(known):
    """The predictions, behind the activation."""
    y_pred = np.asarray(known.y_pred, "float64")
    if known.activation == "sigmoid":
        return 1.0 / (1.0 + np.exp(-y_pred))
    return softmax(y_pred) if known.activation == "softmax" else y_pred


def activation_backward(activation, slopes, probs):
    """The gradient in front of an activation, from the one behind it."""
    if activation == "sigmoid":
        return slopes * probs * (1.0 - probs)
    if activation == "softmax":
        return probs * (slopes - (slopes * probs).sum(axis=-1, keepdims=True))
    return slopes


def case_of(known) -> Case | None:
    """The input as a case, whose region can be looked for; None where nothing is put in. A mask is weights of 0 and 1."""
    if known.compared == "lost arguments":
        return None
    weight = known.sample_weight if known.mask is None else np.asarray(known.mask, "float64")
    arguments = {name: value for name, value in known.arguments.items() if name not in ("reduction", "dtype")}
    return Case(
        known.loss,
        "known",
        known.what,
        np.asarray(known.y_true),
        activated(known),
        {"from_logits": known.peer is not None, "axis": -1} | arguments,
        known.dtype,
        known.arguments.get("reduction", "none"),
        None if weight is None else np.asarray(weight, "float64"),
    )

"""Every known difference from Keras is still true, and ours is the definition's answer."""

import dataclasses
import inspect
import warnings

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import reference
from keras_xent.parity.bounds import error_in_bounds
from keras_xent.parity.difference import BACKENDS, TESTED_VERSIONS
from keras_xent.parity.known import KNOWN_DIFFERENCES, table

from .backends import BACKEND, array, tensor, value_and_gradient
from .cases import LOSS_CLASSES


def numeric(known):
    return known.compared != "lost arguments" and not isinstance(known.ours, str)


every_difference = pytest.mark.parametrize("known", KNOWN_DIFFERENCES, ids=lambda known: known.name)
with_numbers = pytest.mark.parametrize("known", [*filter(numeric, KNOWN_DIFFERENCES)], ids=lambda known: known.name)


# ----------------------------------------------------------------------------------------------- asking the two of them


def of_keras(known):
    """What Keras gives."""
    arguments = known.peer_arguments if known.peer else {"reduction": "none", **known.arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow looking behind a softmax, one class: Keras warns, and goes on
        if known.peer is None:
            return outcome(known, getattr(keras.losses, known.loss), arguments)
        return outcome(known, getattr(keras.distillation, known.peer), arguments, "compute_loss")


def of_ours(known):
    """What this package gives."""
    return outcome(known, getattr(keras_xent, known.loss), {"reduction": "none", **known.arguments})


def outcome(known, loss_class, arguments, method="__call__"):
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

    y_pred = tensor(known.y_pred, "float32")
    try:
        if known.compared == "gradient":
            return value_and_gradient(losses, y_pred)[1]
        return array(losses(y_pred))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


# ------------------------------------------------------------------------------------------------ asking the definition


def of_definition(known):
    """What `keras_xent.reference` says, in float64."""
    arguments = {name: value for name, value in known.arguments.items() if name not in ("reduction", "dtype")}
    name = next(function for function, loss_class in LOSS_CLASSES.items() if loss_class.__name__ == known.loss)
    y_true, logits = np.asarray(known.y_true), np.asarray(known.y_pred, "float64")
    y_pred = activate(known.activation, logits)
    # What has no weight or is masked does not count, so that it is not asked for.
    counts = np.ones(len(y_pred), bool)
    for removing in (known.sample_weight, known.mask):
        if removing is not None:
            counts &= np.asarray(removing, bool)
    if known.compared == "gradient":
        gradient = np.zeros(y_pred.shape)
        of_kept = getattr(reference, f"{name}_gradient")(y_true[counts], y_pred[counts], **arguments, dtype="float32")
        gradient[counts] = activation_backward(known.activation, of_kept, y_pred[counts])
        return gradient
    of_kept = getattr(reference, name)(y_true[counts], y_pred[counts], **arguments, dtype="float32")
    losses = np.zeros((len(y_pred), *of_kept.shape[1:]))
    losses[counts] = of_kept
    reduction = known.arguments.get("reduction", "none")
    return np.asarray(reference.reduce_losses(losses, known.sample_weight, known.mask, reduction))


def activate(activation, logits):
    if activation == "sigmoid":
        return 1.0 / (1.0 + np.exp(-logits))
    if activation == "softmax":
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    return logits


def activation_backward(activation, slopes, probs):
    if activation == "sigmoid":
        return slopes * probs * (1.0 - probs)
    if activation == "softmax":
        return probs * (slopes - (slopes * probs).sum(axis=-1, keepdims=True))
    return slopes


# ------------------------------------------------------------------------------------------------------------ the tests


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
    dtype = known.arguments.get("dtype", "float32")
    return error_in_bounds(actual, stated, dtype, np.size(known.y_pred), span, known.floor) <= 1


@every_difference
def test_keras_still_differs_as_stated(known):
    actual, stated = of_keras(known), known.keras_result(BACKEND)
    assert agree(known, actual, stated), f"Keras {keras.__version__} gives {actual}, not {stated}"


@every_difference
def test_ours_is_as_stated(known):
    actual = of_ours(known)
    assert agree(known, actual, known.ours), f"ours is {actual}, not {known.ours}"


@with_numbers
def test_what_is_stated_is_the_definition(known):
    definition = of_definition(known)
    exact = dataclasses.replace(known, arguments={**known.arguments, "dtype": "float32"}, floor=0.0)
    assert agree(exact, definition, known.ours), f"the definition says {definition}, not {known.ours}"


@every_difference
def test_what_is_stated_is_a_difference(known):
    """On one backend at least, in the oldest Keras or the newest: else the entry has outlived its reason."""
    stated = [known.keras_result(backend, version) for backend in BACKENDS for version in TESTED_VERSIONS]
    assert any(not agree(known, result, known.ours) for result in stated)


@with_numbers
def test_the_comparison_can_fail(known):
    """A number that is off by one part in ten thousand of its terms, an error and another shape are found."""
    stated = np.asarray(known.ours, "float64")
    if known.arguments.get("dtype", "float32") == "float32":
        wrong = np.where(np.isfinite(stated), 1.0001 * stated + max(1e-4 * known.floor, 1e-30), 0.0)
        assert not agree(known, wrong, known.ours)
    assert not agree(known, np.full_like(stated, np.nan), known.ours)
    assert not agree(known, "ValueError: anything", known.ours)
    assert not agree(known, np.stack([stated, stated]), known.ours)


def test_errors_are_compared_by_type_and_phrase():
    known = next(known for known in KNOWN_DIFFERENCES if known.name == "sparse: fractional label")
    assert agree(known, "ValueError: `y_true` holds 1.5 at position 0, which is not a class id; expected", known.ours)
    assert not agree(known, "TypeError: `y_true` holds 1.5 at position 0, which is not a class id; expected", known.ours)
    assert not agree(known, "ValueError: `y_true` is wrong", known.ours)
    assert not agree(known, np.zeros(1), known.ours)


def test_results_by_version():
    known = next(known for known in KNOWN_DIFFERENCES if known.name == "sparse: label -1")
    assert known.keras_result("jax", "3.13.2") == [0.0]
    assert known.keras_result("torch", "3.13.2") == [0.0]
    assert known.keras_result("torch", "3.14.0.dev1").startswith("IndexError")
    assert known.keras_result("torch", "3.100").startswith("IndexError")


def test_each_has_a_name_of_its_own_and_a_result_for_every_backend():
    names = [known.name for known in KNOWN_DIFFERENCES]
    assert len(set(names)) == len(names)
    assert all(set(known.keras) == set(BACKENDS) for known in KNOWN_DIFFERENCES)


def test_the_table_has_a_row_for_each_but_what_is_fixed():
    assert len(table(version="3.12.0").splitlines()) == len(KNOWN_DIFFERENCES) + 2
    lines = table(version="3.15.1").splitlines()
    assert len(lines) == len(KNOWN_DIFFERENCES) + 2 - 2
    assert not any("with label -1: gradient" in line for line in lines)
    assert {line.count(" | ") for line in lines} == {6}
    assert (
        "| `SparseCategoricalCrossentropy` | probabilities [2, 1, 1], class 0 | 1.0986 | 0.69315 | 0.69315 | 0.69315 | "
        "TensorFlow clips to 1 first, and renormalises what is left |"
    ) in lines

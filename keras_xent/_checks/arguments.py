"""Arguments of losses: their types and ranges."""

import math
import numbers
from typing import Any

import numpy as np

from .tensors import kind_of


class WrongTypeError(TypeError, ValueError):
    """An argument of the wrong type: a `TypeError` by Python's habits, and a `ValueError` like all wrong arguments."""


def flag(name, value):
    """A bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise WrongTypeError(f"`{name}` must be True or False. Received: {name}={value!r} of type {type(value).__name__}.")
    return bool(value)


def number(name, value, low=-math.inf, high=math.inf, *, open_low=False, open_high=False):
    """A finite float between two bounds."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        value = _zero_dim_number(name, value)
    try:
        value = float(value)
    except OverflowError:  # an int of hundreds of digits
        value = math.inf
    inside = (value > low if open_low else value >= low) and (value < high if open_high else value <= high)
    if not (-math.inf < value < math.inf and inside):  # in words that PyTorch's compiler follows where the value is a symbol
        bounds = f"{'above' if open_low else 'at least'} {low:g}" if math.isfinite(low) else ""
        if math.isfinite(high):
            bounds += f"{' and ' if bounds else ''}{'below' if open_high else 'at most'} {high:g}"
        raise ValueError(f"`{name}` must be a finite number{', ' + bounds if bounds else ''}. Received: {name}={value}.")
    return value


def _zero_dim_number(name, value):
    """The number in a NumPy scalar array, or a `WrongTypeError`."""
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "fiu":
        return float(value)
    raise WrongTypeError(f"`{name}` must be a number. Received: {name}={value!r} of type {type(value).__name__}.")


def choice(name, value, allowed):
    """One of a few strings (or None, where that is among them)."""
    if value is not None and not isinstance(value, str):
        raise WrongTypeError(
            f"`{name}` must be one of {_listed(allowed)}. Received: {name}={value!r} of type {type(value).__name__}."
        )
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {_listed(allowed)}. Received: {name}={value!r}.")
    return value


def class_axis(value):
    """The class axis: an int."""
    if isinstance(value, (bool, np.bool_)):  # Keras raises ValueError here, and only here
        raise ValueError(f"`axis` must be of type `int`. Received: axis={value} of type {type(value)}")
    if not isinstance(value, numbers.Integral):
        raise WrongTypeError(f"`axis` must be of type `int`. Received: axis={value!r} of type {type(value).__name__}.")
    return int(value)


def mean_axis(value):
    """The axes of a mean: an int, several ints, () for none or None for all."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return tuple(class_axis(axis) for axis in value)
    return class_axis(value)


def count(name, value, high=None, of="", low=1):
    """A whole number from `low`, up to `high` of what `of` says."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise WrongTypeError(f"`{name}` must be an int. Received: {name}={value!r} of type {type(value).__name__}.")
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}{', ' + of if of else ''}"
        raise ValueError(f"`{name}` must be {bounds}. Received: {name}={value}.")
    return int(value)


def optional_count(name, value, low):
    """None, or a whole number from `low`."""
    return None if value is None else count(name, value, low=low)


def optional_epsilon(value):
    """Where probabilities are clipped: None (Keras's) or a number."""
    return None if value is None else number("epsilon", value, 0.0, 0.5, open_low=True, open_high=True)


def class_ids(name, value):
    """None, or a list of class ids out of an int or a collection of ints."""
    if value is None:
        return None
    several = isinstance(value, (list, tuple, set, frozenset, range)) or (isinstance(value, np.ndarray) and value.ndim)
    ids: list[Any] = [value]
    if several:
        ids = list(value)
    for class_id in ids:
        if isinstance(class_id, (bool, np.bool_)) or not isinstance(class_id, numbers.Integral):
            raise WrongTypeError(
                f"`{name}` must be an int or a collection of ints. "
                f"Received: {name}={value!r}, in which {class_id!r} is of type {type(class_id).__name__}."
            )
        if abs(int(class_id)) >= 2**31:
            raise ValueError(f"`{name}` must hold class ids of 32 bits. Received: {name}={value!r}.")
    if isinstance(value, (set, frozenset)):
        ids = sorted(ids)
    return [int(class_id) for class_id in ids] if several else int(ids[0])


def class_weight(value):
    """None, a list with one weight per class, or (from a mapping) a list of [class id, weight] pairs."""
    if value is None:
        return None
    named = [[key, value[key]] for key in value] if hasattr(value, "items") else value
    if kind_of(named) not in "fiu":
        raise WrongTypeError(
            f"`class_weight` must map class ids to numbers or hold one number per class. Received: class_weight={value!r}."
        )
    array = np.asarray(named)
    if array.size == 0:
        raise ValueError("`class_weight` is empty; name at least one class, or pass None.")
    pairs = array.ndim == 2 and array.shape[1] == 2 and not (array[:, 0] % 1).any() and (array[:, 0] >= 0).all()
    if not (pairs or (array.ndim == 1 and array.size)):
        raise ValueError(
            "`class_weight` must be a mapping from class ids (integers from 0) to weights, or a vector with one weight "
            f"per class. Received: class_weight={value!r}."
        )
    weights = array[:, 1] if pairs else array
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(f"`class_weight` must hold finite weights of at least 0. Received: class_weight={value!r}.")
    if pairs and len(set(array[:, 0].tolist())) < len(array):
        raise ValueError(f"`class_weight` names a class twice. Received: class_weight={value!r}.")
    if pairs:
        return sorted([int(class_id), float(weight)] for class_id, weight in array)
    return [float(weight) for weight in array]


def pos_weight(value):
    """None, a number, or a list with one number per output."""
    return None if value is None else _one_or_several("pos_weight", value, "output (the last axis of `y_pred`)")


def alpha(value):
    """A number, or a list with one number per class."""
    return _one_or_several("alpha", value, "class")


def alpha_of_yes(value):
    """A number in [0, 1], or a list with one per output; a no weighs what is left."""
    return _one_or_several("alpha", value, "output (the last axis of `y_pred`)", high=1.0)


def _one_or_several(name, value, each, high=math.inf):
    """A number from 0, or a list of such numbers."""
    if isinstance(value, numbers.Real) or (not isinstance(value, (list, tuple)) and np.ndim(value) == 0):
        return number(name, value, 0.0, high)
    if kind_of(value) not in "biuf" or np.ndim(value) != 1 or not np.size(value):
        raise ValueError(f"`{name}` must be a number, or a vector with one number per {each}. Received: {name}={value!r}.")
    return [number(name, element, 0.0, high) for element in np.asarray(value).tolist()]


def exponent_q(value):
    """The q of the generalised cross-entropy."""
    try:
        return number("q", value, 0.0, 1.0, open_low=True, open_high=True)
    except WrongTypeError:
        raise
    except ValueError as error:
        raise ValueError(
            f"q must be in the interval (0, 1): towards 0 the loss becomes the cross-entropy, towards 1 it becomes 1 - p. {error}"
        ) from None


def _listed(allowed):
    return ", ".join(repr(item) for item in allowed)


def float_dtype(dtype):
    """The dtype of a loss."""
    if "float" not in dtype:
        raise ValueError(f"`dtype` must be a float dtype, or a policy that computes in one. Received: dtype={dtype!r}.")

"""Two answers to a case, compared: by how many ε they differ, and by how many they may."""

from dataclasses import dataclass

import numpy as np

from .. import reference
from .bounds import EPSILON, LIMIT, relative_bound
from .cases import KINDS, Case, spread
from .terms import of_soft_targets

LARGEST = {
    "float16": 65504.0,
    "bfloat16": 2.0**128 - 2.0**120,
    "float32": 2.0**128 - 2.0**104,
    "float64": np.finfo("float64").max,
}
FLUSHED = 2.0**-125  # TensorFlow and JAX flush numbers below 2**-126 to 0, and with them parts of a sum


@dataclass(frozen=True)
class Error:
    """How far an answer is from what was expected, in ε of the case's dtype, at the element that is worst for its bound."""

    error: float
    bound: float

    @property
    def within(self):
        """Whether it is as near as rounding explains."""
        return self.error <= self.bound


def errors(case: Case, actual, expected, other_rounds=False, in_half=False):
    """The errors of value and gradient.

    `other_rounds`: one side takes logits from their log-sum-exp, as textbooks and built-in losses do, and is rounded by as much;
    else what is expected is the definition. `in_half`: it may compute in half precision throughout.
    """
    floors, bound = floors_of(case, other_rounds), bound_of(case, other_rounds, in_half)
    return tuple(error_of(case, one, other, floor, bound) for one, other, floor in zip(actual, expected, floors, strict=True))


def error_of(case, actual, expected, floor, bound):
    """The error of one quantity; what is not finite has to agree."""
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    if actual.shape != expected.shape:
        return Error(np.inf, bound)
    beyond = np.abs(expected) > (1.0 - EPSILON[case.dtype]) * LARGEST[case.dtype]
    expected = np.where(beyond & np.isinf(actual), np.copysign(np.inf, expected), expected)
    finite = np.isfinite(expected)
    same = np.where(finite, np.isfinite(actual), (actual == expected) | (np.isnan(actual) & np.isnan(expected)))
    if not same.all():
        return Error(np.inf, bound)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.maximum(np.abs(actual - expected) - FLUSHED, 0.0)
        size = np.maximum(np.abs(expected), np.broadcast_to(floor, expected.shape))
        ratio = np.where(off == 0, 0.0, off / size) / EPSILON[case.dtype]
    return Error(float(np.max(np.where(finite, ratio, 0.0), initial=0.0)), bound)


def between(actual, one, other):
    """Of the numbers between two that are expected, the nearest to what is given; where one is not finite, one of the two."""
    actual, one, other = (np.asarray(each, "float64") for each in (actual, one, other))
    if not actual.shape == one.shape == other.shape:
        return other
    as_one = (actual == one) | (np.isnan(actual) & np.isnan(one))
    with np.errstate(invalid="ignore"):
        inside = np.clip(actual, np.minimum(one, other), np.maximum(one, other))
    return np.where(np.isfinite(actual) & np.isfinite(one) & np.isfinite(other), inside, np.where(as_one, one, other))


def bound_of(case, other_rounds, in_half=False):
    """So many ε are explained by rounding: 64 and the root of the number of terms, twice if both sides round.

    Half precision is computed in float32 and rounded once, unless `in_half`.
    """
    bound = relative_bound("float32", case.y_pred.size, LIMIT) / EPSILON["float32"]
    if case.dtype in ("float16", "bfloat16") and not in_half:
        bound = bound * EPSILON["float32"] / EPSILON[case.dtype] + 1.0
    return float((2.0 if other_rounds else 1.0) * bound)


def floors_of(case, other_rounds):
    """What errors of value and gradient are relative to where the element itself is smaller: the terms that it is made of."""
    plain = case.with_(reduction="none", sample_weight=None)
    losses, gradient = plain.definition()
    pull = case.pull(losses)
    value = np.where(np.isfinite(losses), value_floor(case, other_rounds), 0.0)
    value = reference.reduce_losses(value, **case.reduction_of())
    slope = np.maximum(largest_of_row(gradient, case.axis), slope_floor(case, other_rounds))
    pull = np.abs(spread(pull, gradient, case.axis))
    return value, np.where(pull == 0, 0.0, pull * slope)


def value_floor(case, other_rounds):
    """A loss from logits is a sum of positive terms, and needs none; a divergence is the difference of two.

    A probability next to 1 holds its distance from 1 to ε alone. Built-in losses take logits from their log-sum-exp.
    """
    from_logits = case.arguments["from_logits"]
    if KINDS[case.loss] == "teacher":
        return 4.0 * case.temperature**2
    if other_rounds and from_logits:
        return max(1.0, np.max(np.abs(case.y_pred), initial=0.0, where=np.isfinite(case.y_pred)))
    return 0.0 if from_logits and case.loss != "KLDivergence" else 1.0


def slope_floor(case, other_rounds):
    """A gradient is the difference of terms as large as the largest of its row, or, where these cancel, larger ones."""
    if KINDS[case.loss] == "teacher":
        return case.temperature
    if case.arguments["from_logits"]:
        return np.maximum(1.0 if other_rounds else 0.0, of_soft_targets(case))
    if KINDS[case.loss] == "answers":
        return 1.0
    total = np.sum(np.where(np.isfinite(case.y_pred), case.y_pred, 0.0), axis=case.axis, keepdims=True)
    return 1.0 / np.where(total == 0, 1.0, total)


def largest_of_row(gradient, axis):
    """The largest finite number along the axis or axes of a loss."""
    over = tuple(range(gradient.ndim)) if axis is None else axis
    with np.errstate(invalid="ignore"):
        return np.max(np.abs(gradient), axis=over, keepdims=True, initial=0.0, where=np.isfinite(gradient))

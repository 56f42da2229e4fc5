"""The same loss by its definition, in float64: what value and gradient are checked against."""

import inspect
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .. import _checks, reference
from ..distill.targets import split_targets
from ..parity.bounds import EPSILON
from ..parity.cases import KINDS, Case, function_name
from ..parity.compare import Error, errors
from ..parity.running import array, rounded
from .inputs import Inputs

LEAST_PRECISE_FIRST = ("bfloat16", "float16", "float32", "float64")


@dataclass(frozen=True)
class Check:
    """What the definition says of a loss, and how far value and gradient are from it.

    Args:
        value: Its value: the reduced loss in float64.
        error, bound: How far value and gradient are off at most, and how far they may be, in ε of the dtype.
        said: The same in words; or why it was not checked.
        rows: How many rows were checked; None: all.
    """

    value: Any
    error: float
    bound: float
    said: str
    rows: int | None = None

    @property
    def agrees(self) -> bool:
        """Whether what is off is explained by rounding."""
        return self.error <= self.bound


def case_of(loss, inputs: Inputs) -> Case:
    """The inputs as a case for the definition, and for what is known of Keras."""
    y_true, y_pred = loss._match(inputs.y_true, inputs.y_pred)
    name, hard = type(loss).__name__, None
    if KINDS[name] == "teacher":
        y_true, hard = split_targets(y_true, y_pred, _checks.resolve_axis(loss.axis, y_pred), loss._options)
    dtypes = {loss.dtype, keras.backend.standardize_dtype(inputs.y_pred.dtype)}
    known = inspect.signature(getattr(reference, function_name(name))).parameters
    takes_more = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    weights = inputs.sample_weight
    return Case(
        loss=name,
        group="ordinary",
        what="what was explained",
        y_true=array(y_true).astype("int64" if KINDS[name] == "ids" and are_whole(array(y_true)) else "float64"),
        y_pred=array(y_pred).astype("float64"),
        arguments={
            option: value
            for option, value in loss._options.items()
            if (value is not None or option == "axis") and (option in known or takes_more)
        },
        dtype=next(dtype for dtype in LEAST_PRECISE_FIRST if dtype in dtypes),
        reduction=loss.reduction or "none",
        sample_weight=None if weights is None else rounded(weights, "float64"),
        hard_labels=None if hard is None else array(hard),
    )


def are_whole(labels):
    """Whether labels are class ids."""
    return bool(np.isfinite(labels).all() and (labels == np.floor(labels)).all())


def counted(case, mask):
    """The case with the mask, and with harmless numbers wherever a position has no weight, as the losses have them."""
    case = case.with_(mask=mask)
    shape = np.zeros(case.y_pred.shape).sum(axis=case.axis).shape
    idle = case.pull(np.zeros(shape)) == 0
    if not idle.any():
        return case
    arguments = {name: value for name, value in case.arguments.items() if name != "ignore_class"}
    axes = tuple(range(case.y_pred.ndim)) if case.axis is None else case.axis
    wide = np.expand_dims(idle, axes) if axes != () else idle
    blank = {"y_pred": np.where(wide, 1.0, case.y_pred), "arguments": arguments}
    if KINDS[case.loss] == "ids":
        blank["y_true"] = np.where(idle, 0, case.y_true)
    elif arguments.get("targets") != "top_k":
        blank["y_true"] = np.where(wide, 1.0, case.y_true)
    else:
        blank["y_true"] = np.where(idle[..., None, None], -np.inf, case.y_true)
        blank["y_true"][..., 0] = np.where(np.isfinite(blank["y_true"][..., 0]), blank["y_true"][..., 0], 0.0)
    if case.hard_labels is not None:
        of_ids = case.hard_labels.ndim == idle.ndim
        blank["hard_labels"] = np.where(idle if of_ids else wide, 0, case.hard_labels)
    return case.with_(**blank)


def checked(case: Case, mask, answer, rows=None) -> Check:
    """How far a value and a gradient are from the definition."""
    try:
        with np.errstate(all="ignore"):  # of numbers that a loss does not take
            case = counted(case, mask)
            value, gradient = case.definition()
        off: tuple[Error, ...] = errors(case, answer, (value, gradient))
    except (ArithmeticError, AssertionError, IndexError, ValueError) as error:  # what NumPy refuses
        return Check(np.nan, np.nan, np.nan, f"not checked: {error}", rows)
    worst = max(off, key=lambda error: error.error / error.bound)
    name = function_name(case.loss)
    said = f"keras_xent.reference.{name} and {name}_gradient (float64) {'agree' if worst.within else 'do not agree'}: off by "
    said += f"{worst.error:.2g} ε of {case.dtype} at most"
    said += "" if worst.within else f", where rounding explains {worst.bound:.2g} ε ({EPSILON[case.dtype]:.2g} each)"
    return Check(value, worst.error, worst.bound, said, rows)

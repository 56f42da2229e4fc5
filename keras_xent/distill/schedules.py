"""Numbers of a distiller that may be schedules of the training step: their ranges, and what they say now."""

from typing import Any, NamedTuple

import keras
from keras import ops

from .. import _backend, _checks

Schedule = keras.optimizers.schedules.LearningRateSchedule


class Bounds(NamedTuple):
    """Where a number lies."""

    low: float
    high: float = float("inf")
    open_low: bool = False


BOUNDS = {"temperature": Bounds(0.0, open_low=True), "label_weight": Bounds(0.0, 1.0)}


def number_or_schedule(name: str, value: Any) -> Any:
    """A number within its bounds, or a schedule that starts there."""
    if isinstance(value, Schedule):
        check_scheduled(name, ops.convert_to_numpy(value(0)), 0)
        return value
    try:
        return _checks.number(name, value, **BOUNDS[name]._asdict())
    except ValueError as error:
        raise ValueError(f"{error} A schedule is a keras.optimizers.schedules.LearningRateSchedule.") from None


def check_scheduled(name, value, step):
    """What a schedule says at a step."""
    try:
        _checks.number(name, float(value), **BOUNDS[name]._asdict())
    except ValueError as error:
        raise ValueError(f"{error} That is what the schedule says at step {int(step)}.") from None


def said_now(name, value, step):
    """A number, or what a schedule says at this step; NaN where that is out of range and cannot be read to raise an error."""
    if not isinstance(value, Schedule):
        return value
    value = ops.cast(value(ops.convert_to_tensor(step)), keras.config.floatx())
    known = _backend.read(value)
    if known is not None:
        check_scheduled(name, known, step.value)
    low, high, open_low = BOUNDS[name]
    inside = ops.logical_and(value > low if open_low else value >= low, value <= high)
    return ops.where(inside, value, float("nan"))

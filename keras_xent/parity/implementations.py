"""What can be asked a case: the definition, the losses of this package, Keras's; what users and other libraries have follows it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

import keras_xent

from .cases import KINDS, Case
from .running import tensor, with_gradient


class IncomparableError(Exception):
    """An implementation has nothing like the case: an argument that it does not know, for example."""


@dataclass(frozen=True)
class Implementation:
    """Something that gives a case's value and the gradient of its sum by `y_pred`, as arrays."""

    name: str
    answer: Callable[[Case, str], tuple[Any, Any]]  # of the case and the mode, one of `running.MODES`
    exact: bool = False  # whether it is the definition; what else there is takes logits from their log-sum-exp, and is rounded


def running(loss_of):
    """The `answer` of an implementation that makes a loss object for each case."""

    def answer(case, mode):
        loss, y_true = loss_of(case), targets_of(case)
        run = with_gradient(lambda y_pred: loss(y_true, y_pred, case.sample_weight), mode)
        return run(tensor(case.y_pred, case.dtype))

    return answer


def targets_of(case):
    """The targets as a loss is given them: class ids as they are, numbers in the dtype of the predictions."""
    if KINDS[case.loss] == "ids":
        return case.y_true
    exact = KINDS[case.loss] == "teacher" and case.dtype in ("float16", "bfloat16")
    return tensor(case.y_true, "float32" if exact else case.dtype)


def our_loss(case):
    """The loss of this package."""
    return getattr(keras_xent, case.loss)(**case.arguments, reduction=case.reduction, dtype=case.dtype)


SAME_AS_KERAS = {"saturated_gradient": "zero"}  # arguments by which ours becomes Keras's


def built_in_loss(case):
    """Keras's loss of the same name."""
    loss_class = getattr(keras.losses, case.loss, None)
    if loss_class is None:
        raise IncomparableError(f"Keras has no {case.loss}")
    parameters = inspect.signature(loss_class).parameters
    arguments = {name: value for name, value in case.arguments.items() if SAME_AS_KERAS.get(name, ...) != value}
    defaults = {"from_logits": False, "axis": -1}
    for name, value in list(arguments.items()):
        if name not in parameters:
            if defaults.get(name, ...) != value:
                raise IncomparableError(f"Keras's {case.loss} has no {name}")
            del arguments[name]
    if isinstance(arguments.get("ignore_class"), list):
        raise IncomparableError("Keras ignores one class at most")
    if arguments.get("axis") in ((), None) and "axis" in arguments:
        raise IncomparableError("Keras's loss has one axis")
    return loss_class(**arguments, reduction=case.reduction, dtype=case.dtype)


DEFINITION = Implementation("definition", lambda case, mode: case.definition(), exact=True)
OURS = Implementation("keras_xent", running(our_loss))
KERAS = Implementation("Keras", running(built_in_loss))

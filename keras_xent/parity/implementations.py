"""What can be asked a case: the definition, the losses of this package, Keras's."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

import keras_xent

from .cases import KINDS, Case
from .running import having, tensor, with_gradient


class IncomparableError(Exception):
    """An implementation has nothing like the case: an argument that it does not know, for example."""


class UsageError(ValueError):
    """What was asked for cannot be: in words for the person who asked."""


class NotHereError(UsageError):
    """What was asked for is on another backend."""


@dataclass(frozen=True)
class Implementation:
    """Something that gives a case's value and the gradient of its sum by `y_pred`, as arrays."""

    name: str
    answer: Callable[[Case, str], tuple[Any, Any]]  # of the case and the mode, one of `running.MODES`
    in_modes: bool = True  # whether it is asked in the mode of the other side; else once, for all modes
    reduced_by_keras: bool = False  # whether weights, masks and the reduction are left to `keras.losses.Loss`
    exact: bool = False  # whether it is the definition; what else there is takes logits from their log-sum-exp, and is rounded
    made: Callable[[Case], Any] | None = None  # what it makes for a case, at no cost: an `IncomparableError` where it has nothing

    def takes(self, case):
        """Whether it has something like the case."""
        try:
            self.trouble(case)
        except IncomparableError:
            return False
        return True

    def trouble(self, case):
        """The error by which it cannot even be made for the case; None if it can."""
        try:
            if self.made is not None:
                self.made(case)
        except IncomparableError:
            raise
        except Exception as error:  # whatever a class raises
            return error
        return None


def running(name, loss_of, reduced_by_keras=False):
    """An implementation that makes a loss object for each case, and runs it on the active backend."""

    def answer(case, mode):
        with having(case.dtype):
            loss, y_true = loss_of(case), targets_of(case)
            run = with_gradient(lambda y_pred: loss(y_true, y_pred, case.sample_weight), mode)
            return run(tensor(case.y_pred, case.dtype))

    return Implementation(name, answer, made=loss_of, reduced_by_keras=reduced_by_keras)


def targets_of(case):
    """The targets as a loss is given them: class ids as they are, numbers in the dtype of the predictions."""
    if KINDS[case.loss] == "ids":
        return case.y_true
    if case.hard_labels is not None:
        return keras_xent.pack_targets(case.y_true, case.hard_labels)
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


DEFINITION = Implementation("definition", lambda case, mode: case.definition(), in_modes=False, exact=True)
OURS = running("keras_xent", our_loss)
KERAS = running("Keras", built_in_loss, reduced_by_keras=True)

"""What a person names, as the loss of this package that takes the same steps."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

import keras_xent

from .._base import StepwiseLoss, copied
from ..parity.cases import KINDS, function_name
from ..parity.fitting import own_arguments
from ..parity.text import printable

# What is explained in the place of a loss that never has all its logits.
LINEAR = {
    "LinearSparseCategoricalCrossentropy": "SparseCategoricalCrossentropy(from_logits=True)",
    "LinearDistillationLoss": "DistillationLoss",
}
FUNCTIONS = {function_name(loss): loss for loss in KINDS}


@dataclass(frozen=True)
class Subject:
    """A loss to explain."""

    called: Callable[..., Any]  # the loss itself: of targets, predictions and weights
    loss: StepwiseLoss  # the same, or its twin here
    name: str
    is_keras: bool  # whether it is one of Keras's

    def unreduced(self):
        """The same without its reduction."""
        if not isinstance(self.called, keras.losses.Loss):
            return self
        called, loss = copied(self.called), copied(self.loss)
        setattr(called, "reduction", "none")  # noqa: B010 (the type checker takes it for a function)
        loss.reduction = "none"
        return Subject(called, loss, self.name, self.is_keras)


def subject(loss: Any, y_pred: Any) -> Subject:
    """What `loss` stands for: a name, an object, a class or a function, of this package or of Keras."""
    if isinstance(loss, str):
        return subject(named(loss), y_pred)
    if isinstance(loss, type) and issubclass(loss, keras.losses.Loss):
        return subject(made(loss, loss.__name__, {}), y_pred)
    if type(loss).__name__ in LINEAR:
        raise of_features(type(loss).__name__)
    if belongs_to(keras_xent, type(loss)):
        return Subject(loss, loss, shown(loss), False)
    if belongs_to(keras.losses, type(loss)):
        twin = twin_of(loss)
        return Subject(loss, twin, f"keras.losses.{shown(twin)}", True)
    if callable(loss) and not isinstance(loss, (type, keras.losses.Loss)):
        return of_function(loss, y_pred)
    raise unknown(f"{loss!r} of type {type(loss).__name__}")


def named(name):
    """The loss object that `compile(loss=name)` stands for: Keras's, or that of this package if Keras has none of the name."""
    try:
        found = keras.losses.get(name)
    except ValueError:  # Keras has none
        found = None
    if isinstance(found, keras.losses.Loss):
        return found
    name = getattr(found, "__name__", name)
    if name in LINEAR:
        raise of_features(name)
    name = FUNCTIONS.get(name, name)
    if name not in KINDS:
        raise unknown(repr(name))
    return made(getattr(keras_xent if found is None else keras.losses, name), name, {})


def made(loss_class, name, arguments):
    """An object of a class."""
    try:
        return loss_class(**arguments)
    except TypeError as error:
        if "required" not in str(error):
            raise
        raise ValueError(f"{name} needs arguments: pass a loss object. ({printable(str(error))})") from error


def belongs_to(library, loss_class):
    """Whether it is a loss of that library itself: a class that is derived from one may compute something else."""
    return loss_class.__name__ in KINDS and getattr(library, loss_class.__name__, None) is loss_class


def twin_of(loss):
    """The loss of this package with the arguments of one of Keras's."""
    name = type(loss).__name__
    arguments = own_arguments(loss, name)
    if name == "SparseCategoricalCrossentropy":  # whose config lacks its axis; that of its base would import TensorFlow
        arguments["axis"] = getattr(loss, "_fn_kwargs", {}).get("axis", -1)
    return getattr(keras_xent, name)(**arguments, reduction=loss.reduction, name=loss.name, dtype=loss.dtype)


def of_function(function, y_pred):
    """A loss as a function, perhaps with arguments that `functools.partial` holds: it neither weighs nor reduces."""
    plain, arguments = (function.func, function.keywords) if isinstance(function, functools.partial) else (function, {})
    name = getattr(plain, "__name__", "")
    owner = next((module for module in (keras_xent, keras.losses) if getattr(module, name, None) is plain), None)
    if name not in FUNCTIONS or owner is None or getattr(function, "args", ()):
        raise unknown(repr(function))
    dtype = keras.backend.standardize_dtype(y_pred.dtype) if ops.is_tensor(y_pred) else keras.config.floatx()
    dtype = dtype if "float" in dtype else keras.config.floatx()
    missing = inspect.signature(plain).bind_partial(**arguments)
    loss_class = getattr(keras_xent, FUNCTIONS[name])
    loss = made(loss_class, name, {**missing.arguments, "reduction": "none", "dtype": dtype})
    told = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return Subject(unweighed(function, name), loss, f"{owner.__name__}.{name}({told})", owner is keras.losses)


def unweighed(function, name):
    """A function that says so where it is given weights."""

    def called(y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            raise ValueError(
                f"`sample_weight` is given, but {name} is a function, which neither weighs nor reduces. Pass the loss object "
                f"keras_xent.{FUNCTIONS[name]}(...) instead."
            )
        return function(y_true, y_pred)

    return called


def shown(loss):
    """A loss object as code, with the arguments that are not the default."""
    config = loss.get_config()
    told = [
        f"{name}={config[name]!r}"
        for name, parameter in inspect.signature(type(loss)).parameters.items()
        if name in config and name not in ("name", "dtype") and config[name] != parameter.default
    ]
    told += [f"dtype={loss.dtype!r}"] if loss.dtype != keras.config.floatx() else []
    return f"{type(loss).__name__}({', '.join(told)})"


def of_features(name):
    """An error for a loss that takes features."""
    return ValueError(
        f"{name} makes its logits itself, a chunk at a time, and forgets them. Explain `keras_xent.{LINEAR[name]}` on the logits "
        "`head(features)` of a few rows."
    )


def unknown(what):
    """An error for what is no loss that can be explained."""
    return ValueError(
        f"There is no loss {what} to explain. Expected a loss of keras_xent or its twin in keras.losses, as a name, an object or "
        f"a function: {', '.join(KINDS)}."
    )

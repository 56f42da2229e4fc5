"""A contender: something that gives the mean loss of a batch, made where it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

import keras_xent

from .._only_backend import installed
from ..parity.cases import function_name

BASELINE = "Keras"  # what all others are compared with
EVERYWHERE = ("tensorflow", "jax", "torch")


@dataclass(frozen=True)
class Contender:
    """Who computes a loss, and where it can."""

    name: str
    make: Callable[[], Callable[..., Any]]  # imports what it needs; gives the mean loss of targets and inputs
    call: str | None = None  # "function", or "object": a `Loss`, with its checks, weights and reduction; None: it has one way
    backends: tuple[str, ...] = EVERYWHERE
    devices: tuple[str, ...] = ("cpu", "gpu")
    module: str | None = None  # which has to be installed beside the backend
    package: str | None = None  # that holds the module
    classes_first: bool = False  # whether it takes the kernel as (V, H), and is handed it so
    spoils: bool = False  # whether it overwrites its inputs, and needs new ones for each call

    def fits(self, backend, device, call):
        """Whether it can be asked there, were it installed."""
        return backend in self.backends and device in self.devices and self.call in (None, call)

    @property
    def here(self):
        """Whether all that it needs beside the backend is installed."""
        return self.module is None or installed(self.module)


def mean_of(losses, adapt=None, **options):
    """The mean of what a function gives per example."""

    def mean(targets, y_pred):
        targets, y_pred = adapt(targets, y_pred) if adapt else (targets, y_pred)
        return ops.mean(losses(targets, y_pred, **options))

    return mean


def ours(loss, **options):
    """This package's loss, as a function and as an object."""
    return (
        Contender("keras_xent", lambda: mean_of(getattr(keras_xent, function_name(loss)), **options), "function"),
        Contender("keras_xent", lambda: getattr(keras_xent, loss)(**options), "object"),
    )


def built_in(loss, adapt=None, **options):
    """Keras's loss; `adapt` makes what it takes of targets and predictions."""

    def make_object():
        as_object = getattr(keras.losses, loss)(**options)
        adapted = adapt or (lambda *inputs: inputs)
        return lambda targets, y_pred: as_object(*adapted(targets, y_pred))

    return (
        Contender(BASELINE, lambda: mean_of(getattr(keras.losses, function_name(loss)), adapt, **options), "function"),
        Contender(BASELINE, make_object, "object"),
    )


def built_in_distillation(temperature):
    """Keras's distillation from logits, with the divergence that its default only names."""

    def make():
        loss = keras.distillation.LogitsDistillation(temperature=temperature, loss=keras.losses.KLDivergence())
        return loss.compute_loss

    return (Contender(BASELINE, make),)


def after_softmax(targets, y_pred):
    """For losses that take probabilities alone."""
    return targets, ops.softmax(y_pred)


def as_one_hot(targets, y_pred):
    """For losses that take distributions alone."""
    return ops.one_hot(targets, y_pred.shape[-1], dtype=y_pred.dtype), y_pred

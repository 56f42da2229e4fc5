"""A loss and its gradient as numbers: computed by one program, which JAX compiles once for all losses that are the same."""

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from .. import _backend
from .._base import copied
from ..parity.running import USUAL, with_gradient
from .numbers import KEPT


@dataclass(frozen=True)
class Program:
    """What is called, and all that says what it computes."""

    key: tuple
    called: Any = field(compare=False)

    @classmethod
    def of(cls, asked, called):
        """Of a loss of this package, or of Keras's, whose twin has all its arguments."""
        loss = asked.loss
        key = (called is loss, asked.name, type(loss), loss.reduction, loss.dtype, repr(loss._options), keras.config.epsilon())
        called = copied(called) if isinstance(called, keras.losses.Loss) else called  # whose arguments nobody sets
        return cls(key, called)


@functools.lru_cache(maxsize=64)
def compiled(program, soon):
    """What takes predictions, targets, weights and a mask, and gives the loss and the gradient of its sum."""

    def loss(y_pred, y_true, sample_weight, mask):
        y_pred = y_pred if mask is None else _backend.carry_mask(y_pred, mask)
        return program.called(y_true, y_pred, sample_weight)

    return with_gradient(loss, USUAL, soon=soon)


def answered(asked, called, block):
    """The value of a loss and the gradient of its sum, as arrays."""
    given = block.y_true, block.sample_weight
    given = [each if each is None or ops.is_tensor(each) else np.asarray(each) for each in given]
    soon = math.prod(block.y_pred.shape) < KEPT
    return compiled(Program.of(asked, called), soon)(block.y_pred, *given, block.mask)

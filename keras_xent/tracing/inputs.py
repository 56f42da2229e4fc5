"""What a loss is given, whole and in blocks of rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from .. import _backend

BLOCK = 2**20  # predictions that are computed at once


@dataclass(frozen=True)
class Inputs:
    """The arguments of a loss, arrays or tensors, and the mask that Keras carries with predictions."""

    y_true: Any
    y_pred: Any
    sample_weight: Any = None
    mask: Any = None
    begin: int = 0  # the first row, if it is a block
    rows: int | None = None  # how many there are, if it is a block

    @classmethod
    def of(cls, y_true, y_pred, sample_weight):
        """Of what a user passes: lists and tables become arrays."""
        y_true, y_pred, sample_weight = (
            each.to_numpy() if hasattr(each, "to_numpy") else each for each in (y_true, y_pred, sample_weight)
        )
        given = [each if each is None or hasattr(each, "dtype") else as_array(each) for each in (y_true, y_pred, sample_weight)]
        return cls(*given, mask=_backend.mask_of(y_pred))

    def blocks(self, loss) -> "Iterator[Inputs]":
        """The same, a few rows at a time if it is large and each row has a loss of its own."""
        number = self.y_pred.shape[0] if len(self.y_pred.shape) else 1
        size = int(np.prod(self.y_pred.shape))
        separate = size > BLOCK and number > 2 and 0 not in loss._reduced_axes(self.y_pred)
        if not separate or tuple(self.y_true.shape[:1]) != tuple(self.y_pred.shape[:1]):
            yield self
            return
        rows = max(2, BLOCK * number // size)
        for begin in range(0, number, rows):
            end = min(begin + rows, number)
            yield replace(self.between(begin, end), begin=begin, rows=end - begin)

    def between(self, begin, end) -> "Inputs":
        """Some of the rows."""
        number = self.y_pred.shape[0]
        given = self.y_true, self.y_pred, self.sample_weight, self.mask
        y_true, y_pred, sample_weight, mask = (cut(each, number, begin, end) for each in given)
        return Inputs(y_true, y_pred, sample_weight, mask)

    def first(self, rows, loss) -> "Inputs":
        """The first few rows, as far as each has a loss of its own."""
        number = self.y_pred.shape[0] if len(self.y_pred.shape) > 1 else 1
        if number <= rows or 0 in loss._reduced_axes(self.y_pred):
            return self
        return self.between(0, rows)

    def with_tensor(self, loss):
        """The same with predictions as the tensor that the loss makes of them."""
        return replace(self, y_pred=loss._floats("y_pred", self.y_pred))


def cut(values, number, begin, end):
    """Some rows of what has one for each of `number` predictions, or of what has not: all of it."""
    shape = tuple(getattr(values, "shape", ()))
    return values[begin:end] if shape[:1] == (number,) else values


def joined(parts, number):
    """What blocks had of rows, one behind the other."""
    if len(parts) == 1 or parts[0] is None or not len(parts[0].shape) or sum(part.shape[0] for part in parts) != number:
        return parts[0]
    return ops.concatenate(parts, axis=0)


def as_array(values):
    """A list or number as an array; whatever is none is left to the loss to refuse."""
    if isinstance(values, (int, float)):
        return np.asarray(values)
    if isinstance(values, (list, tuple)) and not any(ops.is_tensor(each) or isinstance(each, keras.Variable) for each in values):
        try:
            return np.asarray(values)
        except ValueError:  # ragged
            return values
    return values

"""Checksums by which a call that goes on with a store tells whether it has the same data and the same teacher."""

import zlib

import keras
import numpy as np

from .labelling import to_numpy

SAMPLE = 256  # numbers of each weight: training moves nearly all, and to read all of a large teacher takes minutes


def add_inputs(crc, inputs):
    """The checksum of all inputs so far."""
    for leaf in keras.tree.flatten(inputs):
        array = to_numpy(leaf)
        content = repr(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array)
        crc = zlib.crc32(f"{array.dtype.kind}{array.shape}".encode(), crc)
        crc = zlib.crc32(content if isinstance(content, bytes) else content.reshape(-1).view("uint8").data, crc)
    return crc


def weights_checksum(teacher):
    """The checksum of the shapes and the first numbers of all weights; None of what has no weights that can be seen."""
    if isinstance(teacher, keras.Model):
        weights = [weight.value for weight in teacher.weights]
    elif hasattr(teacher, "state_dict"):  # a torch module
        weights = list(teacher.state_dict().values())
    else:
        return None
    return add_inputs(0, [first_numbers(weight) for weight in weights]) if weights else None


def first_numbers(weight):
    """The shape of a weight, and some of its numbers."""
    rows = weight
    while len(rows.shape) > 1 and rows.shape[0]:
        rows = rows[0]
    numbers = to_numpy(rows[:SAMPLE] if len(rows.shape) else rows).ravel()
    return np.concatenate([np.asarray(weight.shape, "float64"), numbers.astype("float64")])

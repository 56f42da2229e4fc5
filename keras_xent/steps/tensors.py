"""What the steps are written with: no steps themselves."""

import keras
from keras import ops

FAR_BELOW = -1e30  # its exponential is 0 in every dtype; -inf would be, too, but numeric checks of TensorFlow object to it


def constant(value, like):
    """A number in another tensor's dtype, rounded once."""
    return ops.convert_to_tensor(value, dtype=like.dtype)


def at_least(values, low):
    """max(v, low), not by `ops.maximum`, which rounds float64 to float32 on PyTorch."""
    low = constant(low, values)
    return ops.where(values < low, low, values)


def smallest_normal(like):
    """The least number of another tensor's dtype that no backend takes for 0."""
    return {"float32": 2.0**-126, "float64": 2.0**-1022}[keras.backend.standardize_dtype(like.dtype)]


def divide_or_zero(numerator, denominator):
    """The quotient a / b, and 0 where b is 0.

    Not `ops.divide_no_nan`, which rounds float64 to float32 on PyTorch.
    """
    nothing = ops.equal(denominator, 0)
    return ops.where(nothing, 0.0, numerator / ops.where(nothing, 1.0, denominator))


def product(targets, values):
    """t · v, where a target of 0 contributes 0 to value and gradient even if v is infinite."""
    absent = ops.logical_and(ops.equal(targets, 0), ops.isinf(values))
    return ops.multiply(targets, ops.where(absent, 0.0, values))


def class_ids(values, axis):
    """0 .. K-1 along the class axis."""
    return along_axis(ops.arange(ops.shape(values)[axis], dtype="int32"), values, axis)


def move_axis(values, source, destination):
    """One axis put elsewhere, counted from the front.

    Not by `ops.moveaxis`, which `torch.func.vmap` has no rule for.
    """
    order = [axis for axis in range(len(values.shape)) if axis != source]
    order.insert(destination, source)
    return values if source == destination else ops.transpose(values, order)


def along_axis(vector, values, axis):
    """A vector with one entry per class, shaped to broadcast over `values`."""
    shape = [1] * len(values.shape)
    shape[axis] = -1
    return ops.reshape(vector, shape)

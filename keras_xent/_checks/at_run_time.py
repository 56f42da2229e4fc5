"""What only the running program can find out."""

from collections.abc import Callable
from typing import Any

from keras import ops

from .. import _backend


def fail_where_wrong(losses, right, message, culprits: Callable[[], tuple[Any, ...]] = tuple):
    """`losses` after a runtime error if `right` is False anywhere; NaN there, if the backend has no such error.

    `culprits()` are values that the message ends in.
    """
    # A product, so that the gradient of such an example is NaN as well.
    one_or_nothing = ops.cast(right, losses.dtype)
    losses = losses * (one_or_nothing / one_or_nothing)  # 0 / 0 where wrong: numeric checks object to a constant NaN
    return _backend.fail_unless(ops.all(right), losses, message, culprits)


def several_classes_when_run(losses, y_pred, axis):
    """`losses`, if there are several classes where their number is not static."""
    if y_pred.shape[axis] is not None:
        return losses
    return fail_where_wrong(losses, ops.shape(y_pred)[axis] > 1, "`y_pred` has a single class; expected num_classes > 1")


def are_static(*tensors):
    """Whether every size is known before the program runs, as a number or as a symbol."""
    return all(size is not None for tensor in tensors for size in tensor.shape)


def size_of(tensor, axis):
    """The size of an axis, from the running program where it is not static."""
    size = tensor.shape[axis]
    return ops.shape(tensor)[axis] if size is None else size


def same_sizes(sizes, wanted):
    """Whether sizes that are not static are the same when the program runs; None where all are static."""
    pairs = [(a, b) for a, b in zip(sizes, wanted, strict=True) if not (isinstance(a, int) and isinstance(b, int))]
    return ops.all(ops.stack([ops.equal(a, b) for a, b in pairs])) if pairs and not _symbolic(pairs) else None


def _symbolic(pairs):
    """Whether a compiler that needs no run-time check stands behind the sizes: JAX proves that its symbols are the same."""
    return not any(ops.is_tensor(size) for pair in pairs for size in pair)


def fail_unless_fits(losses, fits):
    """`losses`, if targets or weights turn out to have the shape that they should have."""
    if fits is None:
        return losses
    message = "`y_true` and `y_pred` must have the same shape, and `sample_weight` must align with the leading axes of the losses"
    return fail_where_wrong(losses, fits, message)

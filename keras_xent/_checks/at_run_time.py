"""What only the running program can find out."""

from keras import ops

from .. import _backend


def fail_where_wrong(losses, right, message, culprits):
    """`losses` after a runtime error if `right` is False anywhere; NaN there, if the backend has no such error."""
    # A product, so that the gradient of such an example is NaN as well.
    one_or_nothing = ops.cast(right, losses.dtype)
    losses = losses * (one_or_nothing / one_or_nothing)  # 0 / 0 where wrong: numeric checks object to a constant NaN
    return _backend.fail_unless(ops.all(right), losses, message, culprits)


def several_classes_when_run(losses, y_pred, axis):
    """`losses`, if there are several classes where their number is not static."""
    if y_pred.shape[axis] is not None:
        return losses
    return fail_where_wrong(losses, ops.shape(y_pred)[axis] > 1, "`y_pred` has a single class; expected num_classes > 1", ())

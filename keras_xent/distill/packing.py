"""Soft and hard targets in one tensor, since `fit` hands a loss one `y_true`.

The layout, which nothing outside this file knows: the class axis last; behind the teacher's K numbers either the class id
(one number) or the K numbers of a dense label.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from .. import _checks

LARGEST_EXACT_ID = 2**24  # float32 holds every whole number up to here


def pack_targets(targets: Any, labels: Any) -> Any:
    """A teacher's targets and the hard labels in one float32 `y_true`, for `compile` and `fit`.

    Args:
        targets: The teacher's numbers, of shape (..., num_classes): logits, probabilities or log-probabilities.
        labels: Class ids of shape (...) or (..., 1), or dense labels of the shape of `targets`.

    Returns:
        A float32 array with the class axis last, for `DistillationLoss(labels="sparse")` or `labels="dense"`: a NumPy
        array, unless one of the two arguments is a tensor. Its layout is private. Keep it in float32: narrower floats lose
        class ids.

    Raises:
        ValueError: Shapes that do not fit, or class ids that are negative, not whole, or above 2**24.
        TypeError: Arrays that hold no numbers.

    Differs from Keras:
        Keras has nothing of the kind: a `y_true` that is a dictionary or tuple is refused for a model with one output.

    Example:
        >>> y_true = keras_xent.pack_targets([[2.0, -1.0, 0.5]], [0])
        >>> loss = keras_xent.DistillationLoss(targets="logits", labels="sparse", label_weight=0.5)
        >>> float(loss(y_true, [[2.0, -1.0, 0.5]])) > 0  # the label's part alone: the student equals the teacher
        True

    Source:
        The two targets of Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2.
    """
    if ops.is_tensor(targets) or ops.is_tensor(labels):
        targets, labels = _checks.float_tensor("targets", targets, "float32"), ops.convert_to_tensor(labels)
        cast, concatenate, expand = ops.cast, ops.concatenate, ops.expand_dims
    else:
        targets = _checks.number_array("targets", targets).astype("float32")
        labels = _checks.number_array("labels", labels)
        cast, concatenate, expand = lambda array, dtype: array.astype(dtype), np.concatenate, np.expand_dims
    _checks.several_classes(targets, len(targets.shape) - 1, name="targets")
    if tuple(labels.shape) == tuple(targets.shape[:-1]):
        labels = expand(labels, -1)
    is_sparse = tuple(labels.shape) == (*targets.shape[:-1], 1)
    if not is_sparse and tuple(labels.shape) != tuple(targets.shape):
        raise ValueError(
            "`labels` must hold one class id per row of `targets`, or be dense labels of the same shape. "
            f"Received: targets.shape={tuple(targets.shape)}, labels.shape={tuple(labels.shape)}."
        )
    if is_sparse:
        _checks.exact_ids(labels, LARGEST_EXACT_ID)
    return concatenate([targets, cast(labels, "float32")], -1)


def unpack_targets(y_true, labels):
    """The teacher's targets and the hard labels: class ids without a class axis, or dense labels."""
    if labels == "sparse":
        return y_true[..., :-1], y_true[..., -1]
    return ops.split(y_true, 2, axis=-1)


def packed_width(num_classes, labels):
    """The size of the last axis of packed targets."""
    return num_classes + (1 if labels == "sparse" else num_classes)


def kind_of_labels(y_true, num_classes):
    """Whether packed targets carry "sparse" or "dense" labels."""
    if num_classes is None:
        raise ValueError("Metrics on packed targets need to know the number of classes, but `y_pred` has no static last axis.")
    for labels in ("sparse", "dense"):
        if y_true.shape[-1] == packed_width(num_classes, labels):
            return labels
    raise ValueError(
        "Expected targets made by `keras_xent.pack_targets`, whose last axis for the "
        f"{num_classes} classes of `y_pred` is {packed_width(num_classes, 'sparse')} or {packed_width(num_classes, 'dense')} "
        f"long. Received: y_true.shape={tuple(y_true.shape)}."
    )


def check_precision(y_true):
    """A dtype that still holds every class id; to be asked of arrays before they are converted."""
    if not hasattr(y_true, "dtype"):
        return
    dtype = str(y_true.dtype).split(".")[-1] if not ops.is_tensor(y_true) else keras.backend.standardize_dtype(y_true.dtype)
    if dtype in _checks.HALF_PRECISION:
        raise ValueError(
            f"`y_true` is packed targets in {dtype}, which cannot hold class ids above {256 if dtype == 'bfloat16' else 2048}. "
            "Keep what `keras_xent.pack_targets` returns in float32: do not cast it with the inputs, and give the model a mixed "
            "precision policy instead of a half-precision `floatx`."
        )


def check_packed(y_true, y_pred, axis, labels):
    """Packed targets that fit the predictions."""
    rows = tuple(y_pred.shape[:axis]) + tuple(y_pred.shape[axis + 1 :])
    width = None if y_pred.shape[axis] is None else packed_width(y_pred.shape[axis], labels)
    if not _checks.shapes_agree(y_true.shape, (*rows, width)):
        raise ValueError(
            f"With labels={labels!r}, `y_true` and `y_pred` must have the same shape but for the class axis, which "
            f"`keras_xent.pack_targets` puts last: expected y_true.shape={(*rows, width)}. Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}."
        )

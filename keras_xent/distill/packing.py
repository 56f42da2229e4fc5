"""Soft and hard targets in one tensor, since `fit` hands a loss one `y_true`.

The layout, which nothing outside this file knows: the class axis last; behind the teacher's numbers (one per class, or the k
pairs of a top-k one after the other) either the class id (one number) or the numbers of a dense label, one per class of the
student.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from .. import _checks

LARGEST_EXACT_ID = 2**24  # float32 holds every whole number up to here


def pack_targets(targets: Any, labels: Any, *, top_k: bool = False) -> Any:
    """A teacher's targets and the hard labels in one float32 `y_true`, for `compile` and `fit`.

    Args:
        targets: The teacher's numbers, of shape (..., num_classes): logits, probabilities or log-probabilities; or, of shape
            (..., k, 2), what `top_k_targets` returns.
        labels: Class ids of shape (...) or (..., 1), or dense labels of shape (..., num_classes), the student's.
        top_k: Whether `targets` holds the pairs of a top-k.

    Returns:
        A float32 array with the class axis last, for `DistillationLoss(labels="sparse")` or `labels="dense"`: a NumPy
        array, unless one of the two arguments is a tensor. Its layout is private. Keep it in float32: narrower floats lose
        class ids.

    Raises:
        ValueError: Shapes that do not fit, or class ids that are not whole or beyond 2**24. A negative one may be there to be
            ignored (`ignore_class`); the loss refuses it if it is not.
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
        cast, concatenate, expand, reshape = ops.cast, ops.concatenate, ops.expand_dims, ops.reshape
    else:
        targets = _checks.number_array("targets", targets).astype("float32")
        labels = _checks.number_array("labels", labels)
        cast, concatenate, expand = lambda array, dtype: array.astype(dtype), np.concatenate, np.expand_dims
        reshape = np.reshape
    rows = _rows_of(targets, _checks.flag("top_k", top_k))
    if tuple(labels.shape) == rows:
        labels = expand(labels, -1)
    if tuple(labels.shape[:-1]) != rows:
        raise ValueError(
            "`labels` must hold one class id per row of `targets`, or be dense labels with a class axis behind the same rows. "
            f"Received: targets.shape={tuple(targets.shape)}, labels.shape={tuple(labels.shape)}, top_k={top_k}."
        )
    if labels.shape[-1] == 1:
        _checks.exact_ids(labels, LARGEST_EXACT_ID)
    if top_k:
        targets = reshape(targets, (*rows, 2 * targets.shape[-2]))
    return concatenate([targets, cast(labels, "float32")], -1)


def _rows_of(targets, top_k):
    """The shape of the teacher's numbers without the classes."""
    if not top_k:
        _checks.several_classes(targets, len(targets.shape) - 1, name="targets")
        return tuple(targets.shape[:-1])
    if len(targets.shape) < 2 or targets.shape[-1] != 2:
        raise ValueError(
            "With top_k=True `targets` must be what `keras_xent.distill.top_k_targets` returns, of shape (..., k, 2). Received: "
            f"targets.shape={tuple(targets.shape)}."
        )
    return tuple(targets.shape[:-2])


def width_of(labels, num_classes):
    """How many numbers the hard label of a row takes."""
    return 1 if labels == "sparse" else num_classes


def unpack_targets(y_true, labels, num_classes):
    """The teacher's numbers and the hard labels: class ids without a class axis, or dense labels."""
    width = width_of(labels, num_classes)
    hard = y_true[..., -width:]
    return y_true[..., :-width], hard[..., 0] if labels == "sparse" else hard


def kind_of_labels(y_true, num_classes):
    """Whether packed targets of a teacher with all of the student's classes carry "sparse" or "dense" labels."""
    if num_classes is None:
        raise ValueError("Metrics on packed targets need to know the number of classes, but `y_pred` has no static last axis.")
    widths = {labels: num_classes + width_of(labels, num_classes) for labels in ("sparse", "dense")}
    for labels, width in widths.items():
        if y_true.shape[-1] == width:
            return labels
    raise ValueError(
        "Expected targets made by `keras_xent.pack_targets`, whose last axis for the "
        f"{num_classes} classes of `y_pred` is {widths['sparse']} or {widths['dense']} long; of a top-k, or of a teacher with "
        'other classes, say which labels they carry: `on_labels(metric, labels="sparse")` or "dense". '
        f"Received: y_true.shape={tuple(y_true.shape)}."
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

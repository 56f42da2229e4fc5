"""Cross-entropy against a distribution over classes, and against a class id."""

import numpy as np

from . import _arithmetic as a


def categorical_crossentropy(
    y_true,
    y_pred,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
    *,
    class_weight=None,
    epsilon=None,
    saturated_gradient="flow",
    dtype="float64",
):
    """loss = -Σ_k w_k t_k log p_k, one per example.

    p is the softmax of the logits, or the probabilities renormalised and clipped.
    """
    del saturated_gradient  # of the gradient alone
    targets, y_pred = prepare(y_true, y_pred, label_smoothing, axis, class_weight)
    if from_logits:
        log_probs = a.log_softmax(y_pred, axis)
    else:
        log_probs = np.log(a.clip(a.renormalize(y_pred, axis), epsilon, dtype))
    return -a.product(targets, log_probs).sum(axis=axis)


def categorical_crossentropy_gradient(
    y_true,
    y_pred,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
    *,
    class_weight=None,
    epsilon=None,
    saturated_gradient="flow",
    dtype="float64",
):
    """d loss / d y_pred.

    From logits: (Σ_j w_j t_j) p_k - w_k t_k.
    From probabilities: -w_k t_k / q_k, taken back through q = p / Σ p.
    """
    targets, y_pred = prepare(y_true, y_pred, label_smoothing, axis, class_weight)
    if from_logits:
        return a.softmax_minus(a.log_softmax(y_pred, axis), targets, axis)
    probs = a.renormalize(y_pred, axis)
    slopes = -targets * a.log_slope(probs, dtype, saturated_gradient, a.passes_clip(probs, epsilon, dtype))
    return a.renormalize_backward(slopes, y_pred, axis)


def sparse_categorical_crossentropy(
    y_true, y_pred, from_logits=False, ignore_class=None, axis=-1, *, invalid_labels="error", **options
):
    """loss = -Σ_k w_k t_k log p_k, where t is 1 at the class id and 0 elsewhere (then smoothed)."""
    y_pred = np.asarray(y_pred, "float64")
    targets, counts = one_hot(y_true, y_pred, ignore_class, invalid_labels, axis)
    losses = categorical_crossentropy(targets, y_pred, from_logits, axis=axis, **options)
    return np.where(counts, losses, 0.0)


def sparse_categorical_crossentropy_gradient(
    y_true, y_pred, from_logits=False, ignore_class=None, axis=-1, *, invalid_labels="error", **options
):
    """d loss / d y_pred: that of `categorical_crossentropy` with one-hot targets."""
    y_pred = np.asarray(y_pred, "float64")
    targets, counts = one_hot(y_true, y_pred, ignore_class, invalid_labels, axis)
    gradient = categorical_crossentropy_gradient(targets, y_pred, from_logits, axis=axis, **options)
    return np.where(np.expand_dims(counts, axis), gradient, 0.0)


def prepare(y_true, y_pred, label_smoothing, axis, class_weight):
    """w t, after smoothing, and the predictions, both float64."""
    y_pred = np.asarray(y_pred, "float64")
    targets = a.smooth(np.asarray(y_true, "float64"), label_smoothing, axis)
    weights = a.class_weights(class_weight, y_pred.shape[axis])
    return a.along(weights, y_pred.ndim, axis) * targets, y_pred


def one_hot(y_true, y_pred, ignore_class, invalid_labels, axis):
    """Targets of `y_pred`'s shape, and which positions count."""
    labels, num_classes = np.asarray(y_true), y_pred.shape[axis]
    if labels.ndim == y_pred.ndim:  # a class axis of size 1: where `axis` says, or last
        wanted = np.delete(y_pred.shape, axis).tolist()
        singleton = next(i for i in (axis, -1) if labels.shape[i] == 1 and np.delete(labels.shape, i).tolist() == wanted)
        labels = np.squeeze(labels, singleton)
    ignored = np.isin(labels, [] if ignore_class is None else list(ignore_class) if np.iterable(ignore_class) else ignore_class)
    valid = (labels >= 0) & (labels < num_classes) & (labels == np.floor(labels))
    if invalid_labels == "error" and not np.all(valid | ignored):
        raise ValueError(f"labels outside 0 to {num_classes - 1}: {labels[~(valid | ignored)]}")
    counts = valid & ~ignored
    ids = np.where(counts, labels, 0).astype("int64")
    targets = (ids[..., None] == np.arange(num_classes)).astype("float64")
    return np.moveaxis(targets, -1, axis), counts

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
    """Cross-entropy against a distribution over classes, one per example, in nats.

    loss = -Σ_k w_k t_k log p_k.  p is the softmax of the logits, or the probabilities renormalised and clipped.

    Args:
        y_true: Targets t, of the shape of `y_pred`; they need not sum to 1.
        y_pred: Probabilities, or logits; `axis` holds the classes.
        from_logits, label_smoothing, axis, class_weight, epsilon: As in `keras_xent.categorical_crossentropy`.
        saturated_gradient: Of the gradient alone.
        dtype: The dtype whose rounding of ε and 1 - ε is to be told.

    Returns:
        The losses in float64, of the shape of `y_pred` without `axis`.

    Raises:
        ValueError: By NumPy, for shapes that do not broadcast.

    Differs from Keras:
        As `keras_xent.categorical_crossentropy`: a target of 0 costs 0 even where log p is -∞, and a row of zeros -log ε.

    Example:
        >>> targets, probs = [[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]
        >>> keras_xent.reference.categorical_crossentropy(targets, probs).round(5).tolist()
        [0.05129, 2.30259]
        >>> keras_xent.reference.categorical_crossentropy([1.0, 0.0], [0.0, 1.0]).round(3).item()  # why a loss may be 16.118
        16.118

    Source:
        Goodfellow, Bengio and Courville, "Deep Learning" (2016), section 3.13; renormalising and the clip are Keras's, and label
        smoothing is that of Szegedy et al., "Rethinking the Inception Architecture" (2016).
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
    """The gradient of `categorical_crossentropy` by its predictions.

    From logits: (Σ_j w_j t_j) p_k - w_k t_k.
    From probabilities: -w_k t_k / q_k, taken back through q = p / Σ p.

    Args:
        y_true, y_pred, from_logits, label_smoothing, axis, class_weight, epsilon: As in `categorical_crossentropy`.
        saturated_gradient, dtype: As in `binary_crossentropy_gradient`.

    Returns:
        d Σ loss / d y_pred in float64, of the shape of `y_pred`.

    Raises:
        ValueError: By NumPy, for shapes that do not broadcast.

    Differs from Keras:
        Keras's autodiff gives 0 where the clip binds, and where logits are so sure that p_k rounds to 1; here p_k - 1 is not
        computed as a difference.

    Example:
        >>> logits = [0.0, 40.0, 0.0]  # p - t, to the last digit
        >>> [f"{slope:.3g}" for slope in keras_xent.reference.categorical_crossentropy_gradient([0, 1, 0], logits, True)]
        ['4.25e-18', '-8.5e-18', '4.25e-18']
        >>> slopes = keras_xent.reference.categorical_crossentropy_gradient([0, 1, 0], [0.2, 0.4, 0.4])
        >>> slopes.round(3).tolist()  # renormalising sends some to the other classes; along p itself nothing changes
        [1.0, -1.5, 1.0]

    Source:
        The derivative of `categorical_crossentropy`, by hand; the tests check it against finite differences.
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
    """Cross-entropy against a class id, one per position, in nats.

    loss = -Σ_k w_k t_k log p_k, where t is 1 at the class id and 0 elsewhere (then smoothed).

    Args:
        y_true: Class ids, of the shape of `y_pred` without `axis`, or with 1 there.
        y_pred, from_logits, axis: As in `categorical_crossentropy`.
        ignore_class: An id, or several: positions with such a label cost 0.
        invalid_labels: `"error"`, or `"ignore"`, which treats labels that are no class ids as `ignore_class`.
        **options: `label_smoothing`, `class_weight`, `epsilon`, `saturated_gradient` and `dtype`, as there.

    Returns:
        The losses in float64, of the shape of `y_pred` without `axis`.

    Raises:
        ValueError: A label that is no class id, unless `invalid_labels="ignore"`.

    Differs from Keras:
        As `keras_xent.sparse_categorical_crossentropy`: above all, on JAX Keras gives 0 for a label out of range.

    Example:
        >>> probs = [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]
        >>> keras_xent.reference.sparse_categorical_crossentropy([1, -1], probs, ignore_class=-1).round(5).tolist()
        [0.05129, 0.0]
        >>> keras_xent.reference.sparse_categorical_crossentropy([1, 3], probs)
        Traceback (most recent call last):
        ValueError: labels outside 0 to 2: [3]

    Source:
        `categorical_crossentropy` of one-hot targets.
    """
    y_pred = np.asarray(y_pred, "float64")
    targets, counts = one_hot(y_true, y_pred, ignore_class, invalid_labels, axis)
    losses = categorical_crossentropy(targets, y_pred, from_logits, axis=axis, **options)
    return np.where(counts, losses, 0.0)


def sparse_categorical_crossentropy_gradient(
    y_true, y_pred, from_logits=False, ignore_class=None, axis=-1, *, invalid_labels="error", **options
):
    """The gradient of `sparse_categorical_crossentropy` by its predictions.

    That of `categorical_crossentropy` with one-hot targets: from logits p_k - 1 at the class id, and p_k elsewhere.

    Args:
        y_true, y_pred, from_logits, ignore_class, axis, invalid_labels, **options: As in `sparse_categorical_crossentropy`.

    Returns:
        d Σ loss / d y_pred in float64, of the shape of `y_pred`; 0 for positions that are ignored.

    Raises:
        ValueError: A label that is no class id, unless `invalid_labels="ignore"`.

    Differs from Keras:
        As `categorical_crossentropy_gradient`.

    Example:
        >>> keras_xent.reference.sparse_categorical_crossentropy_gradient(1, [0.0, np.log(2), 0.0], True).round(5).tolist()
        [0.25, -0.5, 0.25]

    Source:
        The derivative of `sparse_categorical_crossentropy`, by hand; the tests check it against finite differences.
    """
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

"""Cross-entropy against a class id, from the features and the kernel that the logits are made of."""

import numpy as np

from . import _arithmetic as a
from .categorical import one_hot, sparse_categorical_crossentropy, sparse_categorical_crossentropy_gradient


def linear_sparse_categorical_crossentropy(
    y_true,
    features,
    kernel,
    bias=None,
    *,
    ignore_class=None,
    label_smoothing=0.0,
    class_weight=None,
    z_loss=0.0,
    logit_softcap=None,
    invalid_labels="error",
):
    """Cross-entropy against a class id, from features and the kernel that make the logits, one per example, in nats.

    loss = -Σ_k w_k t_k log p_k + λ (log Σ_k exp z_k)²;  p = softmax(z), z = c tanh(u / c), u = x W + b.

    t is 1 at the class id and 0 elsewhere (then smoothed); λ is `z_loss`, and without a cap c z is u.

    Args:
        y_true: Class ids, of shape (...).
        features: x, of shape (..., hidden).
        kernel: W, of shape (hidden, num_classes).
        bias: b, of shape (num_classes,), or None.
        ignore_class, label_smoothing, class_weight, z_loss, logit_softcap, invalid_labels: As in
            `keras_xent.linear_sparse_categorical_crossentropy`.

    Returns:
        The losses in float64, of shape (...).

    Raises:
        ValueError: A label that is no class id, unless `invalid_labels="ignore"`; by NumPy, shapes that do not fit.

    Differs from Keras:
        Keras has nothing of the kind. Here all logits are made at once: this is what chunks are tested against.

    Example:
        >>> features, kernel = np.array([[1.0, 2.0]]), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> plain = keras_xent.reference.linear_sparse_categorical_crossentropy([0], features, kernel)
        >>> square = keras_xent.reference.linear_sparse_categorical_crossentropy([0], features, kernel, z_loss=1.0) - plain
        >>> plain.round(5).tolist(), square.round(5).tolist()
        ([0.40761], [5.79657])
        >>> np.round(np.log(np.exp(features @ kernel).sum()) ** 2, 5).item()
        5.79657

    Source:
        `sparse_categorical_crossentropy` of a `Dense` layer's logits; z-loss: Chowdhery et al., "PaLM" (2022), section 5; the
        cap: Gemma Team, "Gemma 2" (2024), section 2.
    """
    logits = cap(raw_logits(features, kernel, bias), logit_softcap)
    labels = {"ignore_class": ignore_class, "invalid_labels": invalid_labels}
    options = {"label_smoothing": label_smoothing, "class_weight": class_weight}
    losses = sparse_categorical_crossentropy(y_true, logits, from_logits=True, **labels, **options)
    _, counts = one_hot(y_true, logits, ignore_class, invalid_labels, -1)
    return np.where(counts, losses + z_loss * log_sum_exp(logits)[..., 0] ** 2, 0.0)


def linear_sparse_categorical_crossentropy_gradient(
    y_true,
    features,
    kernel,
    bias=None,
    *,
    upstream=1.0,
    ignore_class=None,
    label_smoothing=0.0,
    class_weight=None,
    z_loss=0.0,
    logit_softcap=None,
    invalid_labels="error",
):
    """The gradient of a weighed sum of `linear_sparse_categorical_crossentropy` by features, kernel and bias.

    With s_ik = g_i d loss_i / d u_ik, it is Σ_k s_ik W_hk, Σ_i x_ih s_ik and Σ_i s_ik.

    Args:
        y_true, features, kernel, bias, ignore_class, label_smoothing, class_weight, z_loss, logit_softcap, invalid_labels: As in
            `linear_sparse_categorical_crossentropy`.
        upstream: g, the gradient that comes to each loss: a number, or an array of their shape.

    Returns:
        d Σ_i g_i loss_i / d features, d kernel and d bias in float64, of their shapes; that of the bias even if there is none.

    Raises:
        ValueError: A label that is no class id, unless `invalid_labels="ignore"`; by NumPy, shapes that do not fit.

    Differs from Keras:
        Keras has nothing of the kind.

    Example:
        >>> features, kernel = np.array([[1.0, 2.0]]), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> of_features, of_kernel, of_bias = keras_xent.reference.linear_sparse_categorical_crossentropy_gradient(
        ...     [0], features, kernel, upstream=0.5
        ... )
        >>> of_bias.round(4).tolist()  # half of p - t, and twice as much for the second feature's row of the kernel
        [-0.1674, 0.1224, 0.045]
        >>> of_kernel.round(4).tolist()
        [[-0.1674, 0.1224, 0.045], [-0.3348, 0.2447, 0.09]]

    Source:
        The chain rule on `sparse_categorical_crossentropy_gradient`; the tests check it against finite differences.
    """
    raw = raw_logits(features, kernel, bias)
    logits = cap(raw, logit_softcap)
    labels = {"ignore_class": ignore_class, "invalid_labels": invalid_labels}
    options = {"label_smoothing": label_smoothing, "class_weight": class_weight}
    slopes = sparse_categorical_crossentropy_gradient(y_true, logits, from_logits=True, **labels, **options)
    _, counts = one_hot(y_true, logits, ignore_class, invalid_labels, -1)
    of_square = 2.0 * z_loss * log_sum_exp(logits) * np.exp(a.log_softmax(logits, -1))
    slopes = slopes + np.where(counts[..., None], of_square, 0.0)
    return by_operands(slopes, raw, features, kernel, logit_softcap, upstream)


def by_operands(slopes, raw, features, kernel, logit_softcap, upstream):
    """From d loss_i / d z_ik to d Σ_i g_i loss_i / d features, d kernel and d bias."""
    if logit_softcap is not None:
        slopes = slopes / np.cosh(raw / logit_softcap) ** 2
    slopes = np.broadcast_to(np.asarray(upstream, "float64"), slopes.shape[:-1])[..., None] * slopes
    features, kernel = np.asarray(features, "float64"), np.asarray(kernel, "float64")
    rows, of_rows = features.reshape(-1, features.shape[-1]), slopes.reshape(-1, slopes.shape[-1])
    return slopes @ kernel.T, rows.T @ of_rows, of_rows.sum(axis=0)


def raw_logits(features, kernel, bias):
    """u = x W + b."""
    raw = np.asarray(features, "float64") @ np.asarray(kernel, "float64")
    return raw if bias is None else raw + np.asarray(bias, "float64")


def cap(raw, logit_softcap):
    """z = c tanh(u / c)."""
    return raw if logit_softcap is None else logit_softcap * np.tanh(raw / logit_softcap)


def log_sum_exp(logits):
    """log Σ_k exp z_k = m + log1p(Σ_{k ≠ top} exp(z_k - m)), m the largest logit."""
    top = np.argmax(logits, axis=-1, keepdims=True)
    top_logit = np.take_along_axis(logits, top, -1)
    others = np.exp(logits - top_logit)
    np.put_along_axis(others, top, 0.0, -1)
    return top_logit + np.log1p(others.sum(axis=-1, keepdims=True))

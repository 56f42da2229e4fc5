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
    """loss = -Σ_k w_k t_k log p_k + λ (log Σ_k exp z_k)², one per example; p = softmax(z), z = c tanh(u / c), u = x W + b.

    t is 1 at the class id and 0 elsewhere (then smoothed); λ is `z_loss`, and without a cap c z is u.
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
    """d Σ_i g_i loss_i / d features, d kernel and d bias, g the `upstream` gradient of each loss.

    With s_ik = g_i d loss_i / d u_ik, it is Σ_k s_ik W_hk, Σ_i x_ih s_ik and Σ_i s_ik.
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

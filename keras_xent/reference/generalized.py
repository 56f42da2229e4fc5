"""Generalised cross-entropy against a class id: bounded, so that a wrong label pulls less."""

import numpy as np

from . import _arithmetic as a
from .categorical import one_hot


def categorical_generalized_cross_entropy(
    y_true, y_pred, q=0.5, *, from_logits=False, axis=-1, ignore_class=None, invalid_labels="error", dtype="float64"
):
    """Generalised cross-entropy against a class id, one per position: between cross-entropy (q → 0) and 1 - p_y (q = 1).

    loss = (1 - p_y^q) / q, at most 1 / q; in nats as q → 0.  p is the softmax of the logits, or the probabilities as they are.

    Args:
        y_true, y_pred, from_logits, axis, ignore_class, invalid_labels: As in `sparse_categorical_crossentropy`.
        q: How much a label that contradicts the prediction is distrusted, in (0, 1].
        dtype: Of the gradient alone.

    Returns:
        The losses in float64, of the shape of `y_pred` without `axis`.

    Raises:
        ValueError: A label that is no class id, unless `invalid_labels="ignore"`.

    Differs from Keras:
        As `keras_xent.categorical_generalized_cross_entropy`: Keras's takes no logits and gives 1 / q for a label out of range.

    Example:
        >>> for q in (1e-6, 0.5, 1.0):  # a wrong label costs 6.9 nats of cross-entropy, but is bounded by 1 / q
        ...     keras_xent.reference.categorical_generalized_cross_entropy(0, [0.001, 0.999], q).round(4).item()
        6.9077
        1.9368
        0.999

    Source:
        Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels" (2018).
    """
    del dtype  # of the gradient alone
    y_pred = np.asarray(y_pred, "float64")
    targets, counts = one_hot(y_true, y_pred, ignore_class, invalid_labels, axis)
    return np.where(counts, -np.expm1(q * _log_target_prob(targets, y_pred, from_logits, axis)) / q, 0.0)


def categorical_generalized_cross_entropy_gradient(
    y_true, y_pred, q=0.5, *, from_logits=False, axis=-1, ignore_class=None, invalid_labels="error", dtype="float64"
):
    """The gradient of `categorical_generalized_cross_entropy` by its predictions.

    From logits p_y^q (p_k - t_k); from probabilities -p_y^(q-1) at the class, and 0 if p_y = 0.

    Args:
        y_true, y_pred, q, from_logits, axis, ignore_class, invalid_labels: As in `categorical_generalized_cross_entropy`.
        dtype: The dtype by which the gradient of a vanishing p_y is bounded.

    Returns:
        d Σ loss / d y_pred in float64, of the shape of `y_pred`; 0 for positions that are ignored.

    Raises:
        ValueError: A label that is no class id, unless `invalid_labels="ignore"`.

    Differs from Keras:
        At p_y = 0 Keras's autodiff gives infinity there, and on PyTorch NaN for the other classes.

    Example:
        >>> gradient = keras_xent.reference.categorical_generalized_cross_entropy_gradient
        >>> gradient(1, [3.0, 0.0], from_logits=True).round(4).tolist()  # cross-entropy would pull by 0.95 at a label so unlikely
        [0.2074, -0.2074]

    Source:
        The derivative of `categorical_generalized_cross_entropy`, by hand; the tests check it against finite differences.
    """
    y_pred = np.asarray(y_pred, "float64")
    targets, counts = one_hot(y_true, y_pred, ignore_class, invalid_labels, axis)
    targets = np.where(np.expand_dims(counts, axis), targets, 0.0)
    powers = np.exp(q * np.expand_dims(_log_target_prob(targets, y_pred, from_logits, axis), axis))
    if from_logits:
        return powers * a.softmax_minus(a.log_softmax(y_pred, axis), targets, axis)
    return -targets * powers * a.log_slope(y_pred, dtype)


def _log_target_prob(targets, y_pred, from_logits, axis):
    if from_logits:
        return a.product(targets, a.log_softmax(y_pred, axis)).sum(axis=axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.where(targets == 1, y_pred, 0.0).sum(axis=axis))

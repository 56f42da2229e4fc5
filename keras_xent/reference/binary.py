"""Cross-entropy of independent yes/no outputs."""

import numpy as np

from . import _arithmetic as a


def binary_crossentropy(
    y_true,
    y_pred,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
    *,
    pos_weight=None,
    epsilon=None,
    saturated_gradient="flow",
    dtype="float64",
):
    """loss = mean over `axis` of  -w t log p - (1 - t) log(1 - p);  `axis=()` keeps every element.

    From logits p = 1 / (1 + exp(-z)), so that -log p = softplus(-z) and -log(1 - p) = softplus(z).
    """
    del saturated_gradient  # of the gradient alone
    yes, no, y_pred = _prepare(y_true, y_pred, label_smoothing, pos_weight)
    if from_logits:
        elements = a.product(yes, _softplus(-y_pred)) + a.product(no, _softplus(y_pred))
    else:
        probs = a.clip(y_pred, epsilon, dtype)
        elements = -yes * np.log(probs) - no * np.log(1.0 - probs)
    return elements.mean(axis=axis)


def binary_crossentropy_gradient(
    y_true,
    y_pred,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
    *,
    pos_weight=None,
    epsilon=None,
    saturated_gradient="flow",
    dtype="float64",
):
    """d loss / d y_pred, the 1/N of the mean included.

    From logits: ((1 - t) σ(z) - w t σ(-z)) / N.   From probabilities: (-w t / p + (1 - t) / (1 - p)) / N.
    """
    yes, no, y_pred = _prepare(y_true, y_pred, label_smoothing, pos_weight)
    if from_logits:
        slopes = no * _sigmoid(y_pred) - yes * _sigmoid(-y_pred)
    else:
        slopes = no * a.log_slope(1.0 - y_pred, epsilon, saturated_gradient, dtype) - yes * a.log_slope(
            y_pred, epsilon, saturated_gradient, dtype
        )
    averaged = y_pred.size if axis is None else np.prod([y_pred.shape[i] for i in np.atleast_1d(axis).astype(int)])
    return slopes / averaged


def _prepare(y_true, y_pred, label_smoothing, pos_weight):
    """w t and 1 - t, after smoothing t ← (1 - s) t + s / 2."""
    targets = (1.0 - label_smoothing) * np.asarray(y_true, "float64") + 0.5 * label_smoothing
    return (
        (1.0 if pos_weight is None else np.asarray(pos_weight, "float64")) * targets,
        1.0 - targets,
        np.asarray(y_pred, "float64"),
    )


def _softplus(x):
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _sigmoid(x):
    return np.exp(-_softplus(-x))

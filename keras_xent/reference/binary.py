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
    yes, no, y_pred = prepare(y_true, y_pred, label_smoothing, pos_weight)
    if from_logits:
        elements = a.product(yes, softplus(-y_pred)) + a.product(no, softplus(y_pred))
    else:
        probs = a.clip(y_pred, epsilon, dtype)
        elements = -yes * np.log(probs) - no * np.log1p(-probs)
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
    yes, no, y_pred = prepare(y_true, y_pred, label_smoothing, pos_weight)
    if from_logits:
        slopes = no * sigmoid(y_pred) - yes * sigmoid(-y_pred)
    else:
        slopes = slope_of_logs(yes, no, y_pred, epsilon, saturated_gradient, dtype)
    return slopes / number_averaged(y_pred, axis)


def slope_of_logs(yes, no, probs, epsilon, saturated_gradient, dtype):
    """-w t / p + (1 - t) / (1 - p), bounded, or 0 where the clip binds."""
    inside = a.passes_clip(probs, epsilon, dtype)
    slope_of_yes = a.log_slope(probs, dtype, saturated_gradient, inside)
    slope_of_no = a.log_slope(1.0 - probs, dtype, saturated_gradient, inside)
    return no * slope_of_no - yes * slope_of_yes


def number_averaged(y_pred, axis):
    """How many elements go into one mean."""
    return y_pred.size if axis is None else np.prod([y_pred.shape[i] for i in np.atleast_1d(axis).astype(int)])


def prepare(y_true, y_pred, label_smoothing, pos_weight):
    """w t and 1 - t, after smoothing t ← (1 - s) t + s / 2."""
    targets = (1.0 - label_smoothing) * np.asarray(y_true, "float64") + 0.5 * label_smoothing
    return (
        (1.0 if pos_weight is None else np.asarray(pos_weight, "float64")) * targets,
        1.0 - targets,
        np.asarray(y_pred, "float64"),
    )


def softplus(x):
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return np.exp(-softplus(-x))

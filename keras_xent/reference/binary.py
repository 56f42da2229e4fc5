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
    """Cross-entropy of independent yes/no outputs, averaged over `axis`, in nats.

    loss = mean over `axis` of  -w t log p - (1 - t) log(1 - p);  `axis=()` keeps every element.

    From logits p = 1 / (1 + exp(-z)), so that -log p = softplus(-z) and -log(1 - p) = softplus(z); probabilities are clipped.

    Args:
        y_true: Targets t in [0, 1], of the shape of `y_pred`.
        y_pred: Probabilities p, or logits z, of any shape.
        from_logits, label_smoothing, axis, pos_weight, epsilon: As in `keras_xent.binary_crossentropy`.
        saturated_gradient: Of the gradient alone.
        dtype: The dtype whose rounding of ε and 1 - ε is to be told: in float32 1 - 1e-7 is 1 - 1.19e-7.

    Returns:
        The losses in float64, of the shape of `y_pred` without `axis`.

    Raises:
        ValueError: By NumPy, for shapes that do not broadcast.

    Differs from Keras:
        As `keras_xent.binary_crossentropy`; all is float64 here, whatever the dtype of the predictions.

    Example:
        >>> right, wrong = keras_xent.reference.binary_crossentropy([1.0, 0.0], [1.0, 1.0], axis=()).round(4).tolist()
        >>> right, wrong  # a sure yes: -log(1 - ε) and -log(ε)
        (0.0, 16.1181)
        >>> keras_xent.reference.binary_crossentropy([0.0], [1.0], dtype="float32").round(4).item()
        15.9424

    Source:
        The negative log-likelihood of a Bernoulli variable; the clip is that of Keras.
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
    """The gradient of `binary_crossentropy` by its predictions, the 1/N of the mean included.

    From logits: ((1 - t) σ(z) - w t σ(-z)) / N.   From probabilities: (-w t / p + (1 - t) / (1 - p)) / N.

    Args:
        y_true, y_pred, from_logits, label_smoothing, axis, pos_weight, epsilon: As in `binary_crossentropy`.
        saturated_gradient: `"flow"`: where the clip binds the gradient is that of the logarithm before it; `"zero"`: it is 0.
        dtype: The dtype by which that is bounded: -1 / max(p, 1.2e-35) in float32, and 0 at p = 0.

    Returns:
        d Σ loss / d y_pred in float64, of the shape of `y_pred`.

    Raises:
        ValueError: By NumPy, for shapes that do not broadcast.

    Differs from Keras:
        Keras's autodiff gives 0 where the clip binds, which is `saturated_gradient="zero"`.

    Example:
        >>> for saturated in ("flow", "zero"):  # a yes that is all but ruled out
        ...     keras_xent.reference.binary_crossentropy_gradient([1.0], [1e-9], saturated_gradient=saturated).round(0).tolist()
        [-1000000000.0]
        [0.0]
        >>> keras_xent.reference.binary_crossentropy_gradient([1.0, 0.0], [2.0, 2.0], from_logits=True).round(5).tolist()
        [-0.0596, 0.4404]

    Source:
        The derivative of `binary_crossentropy`, by hand; the tests check it against finite differences.
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

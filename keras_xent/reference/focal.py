"""Focal cross-entropy: what an example costs, times a power of the probability that its prediction leaves to the rest."""

import numpy as np

from . import _arithmetic as a
from .binary import number_averaged, sigmoid, slope_of_logs, softplus
from .binary import prepare as prepare_answers
from .categorical import one_hot, prepare


def categorical_focal_crossentropy(
    y_true,
    y_pred,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
    *,
    class_weight=None,
    epsilon=None,
    saturated_gradient="flow",
    dtype="float64",
):
    """Focal cross-entropy against a distribution over classes, one per example, in nats.

    loss = Σ_k α_k (1 - p_k)^γ w_k t_k (-log p_k).

    p is the softmax of the logits, or the probabilities renormalised and clipped.

    Args:
        y_true, y_pred, from_logits, label_smoothing, axis, class_weight, epsilon: As in `categorical_crossentropy`.
        alpha: A weight α for all classes, or one for each.
        gamma: The power γ >= 0 of what a prediction leaves to the other classes: 0 is α times the cross-entropy.
        saturated_gradient: Of the gradient alone.
        dtype: The dtype whose rounding of ε and 1 - ε is to be told.

    Returns:
        The losses in float64, of the shape of `y_pred` without `axis`.

    Raises:
        ValueError: By NumPy, for shapes that do not broadcast.

    Differs from Keras:
        As `keras_xent.categorical_focal_crossentropy`: Keras clips the softmax of logits, here nothing is.

    Example:
        >>> probs = [[0.5, 0.5], [0.9, 0.1]]  # of what is easy, little is left
        >>> for gamma in (0.0, 2.0):
        ...     keras_xent.reference.categorical_focal_crossentropy([[1, 0], [1, 0]], probs, 1.0, gamma).round(5).tolist()
        [0.69315, 0.10536]
        [0.17329, 0.00105]

    Source:
        Lin et al., "Focal Loss for Dense Object Detection" (2017), for several classes as in Keras.
    """
    del saturated_gradient  # of the gradient alone
    targets, y_pred = prepare(y_true, y_pred, label_smoothing, axis, class_weight)
    if from_logits:
        log_probs = a.log_softmax(y_pred, axis)
        remainders = -np.expm1(log_probs)
    else:
        probs = a.clip(a.renormalize(y_pred, axis), epsilon, dtype)
        log_probs, remainders = np.log(probs), 1.0 - probs
    costs = remainders**gamma * a.product(targets, -log_probs)
    return a.product(_alpha_along(alpha, y_pred, axis), costs).sum(axis=axis)


def categorical_focal_crossentropy_gradient(
    y_true,
    y_pred,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
    *,
    class_weight=None,
    epsilon=None,
    saturated_gradient="flow",
    dtype="float64",
):
    """The gradient of `categorical_focal_crossentropy` by its predictions.

    From logits, with u_k = α_k w_k t_k (1 - p_k)^γ (1 + γ p_k (-log p_k) / (1 - p_k)): (Σ_j u_j) p_k - u_k.
    From probabilities: α_k w_k t_k (γ (1 - q_k)^(γ-1) log q_k - (1 - q_k)^γ / q_k), taken back through q = p / Σ p.

    Args:
        y_true, y_pred, alpha, gamma, from_logits, label_smoothing, axis, class_weight, epsilon: As in
            `categorical_focal_crossentropy`.
        saturated_gradient, dtype: As in `binary_crossentropy_gradient`.

    Returns:
        d Σ loss / d y_pred in float64, of the shape of `y_pred`.

    Raises:
        ValueError: By NumPy, for shapes that do not broadcast.

    Differs from Keras:
        As `categorical_crossentropy_gradient`.

    Example:
        >>> of_focal = keras_xent.reference.categorical_focal_crossentropy_gradient([1, 0], [2.0, 0.0], 1.0, 2.0, True)
        >>> of_plain = keras_xent.reference.categorical_crossentropy_gradient([1, 0], [2.0, 0.0], True)
        >>> (of_focal / of_plain).round(4).tolist()  # how much less an easy example pulls
        [0.0409, 0.0409]

    Source:
        The derivative of `categorical_focal_crossentropy`, by hand; the tests check it against finite differences.
    """
    targets, y_pred = prepare(y_true, y_pred, label_smoothing, axis, class_weight)
    weights = _alpha_along(alpha, y_pred, axis) * targets
    if from_logits:
        log_probs = a.log_softmax(y_pred, axis)
        remainders = -np.expm1(log_probs)
        odds_times_log = a.product(np.exp(log_probs), _divide(-log_probs, remainders, 1.0))
        pulls = weights * remainders**gamma * (1.0 + gamma * odds_times_log)
        return a.softmax_minus(log_probs, pulls, axis)
    given = a.renormalize(y_pred, axis)
    probs = a.clip(given, epsilon, dtype)
    remainders = 1.0 - probs
    inside = a.passes_clip(given, epsilon, dtype)
    passes = inside | ((given > 0) & (saturated_gradient == "flow"))
    of_factor = np.where(passes, gamma * remainders**gamma * _divide(np.log(probs), remainders, 0.0), 0.0)
    slopes = weights * (of_factor - remainders**gamma * a.log_slope(given, dtype, saturated_gradient, inside))
    return a.renormalize_backward(slopes, y_pred, axis)


def sparse_categorical_focal_crossentropy(
    y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, ignore_class=None, axis=-1, *, invalid_labels="error", **options
):
    """Focal cross-entropy against a class id, one per position, in nats.

    loss = Σ_k α_k (1 - p_k)^γ w_k t_k (-log p_k), where t is 1 at the class id and 0 elsewhere (then smoothed).

    Args:
        y_true, y_pred, from_logits, ignore_class, axis, invalid_labels: As in `sparse_categorical_crossentropy`.
        alpha, gamma: As in `categorical_focal_crossentropy`.
        **options: `label_smoothing`, `class_weight`, `epsilon`, `saturated_gradient` and `dtype`, as there.

    Returns:
        The losses in float64, of the shape of `y_pred` without `axis`.

    Raises:
        ValueError: A label that is no class id, unless `invalid_labels="ignore"`.

    Differs from Keras:
        Keras has no such loss.

    Example:
        >>> probs = [[0.5, 0.5], [0.5, 0.5]]
        >>> keras_xent.reference.sparse_categorical_focal_crossentropy([0, 1], probs, alpha=[1.0, 3.0]).round(5).tolist()
        [0.17329, 0.51986]

    Source:
        `categorical_focal_crossentropy` of one-hot targets.
    """
    y_pred = np.asarray(y_pred, "float64")
    targets, counts = one_hot(y_true, y_pred, ignore_class, invalid_labels, axis)
    losses = categorical_focal_crossentropy(targets, y_pred, alpha, gamma, from_logits, axis=axis, **options)
    return np.where(counts, losses, 0.0)


def sparse_categorical_focal_crossentropy_gradient(
    y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, ignore_class=None, axis=-1, *, invalid_labels="error", **options
):
    """The gradient of `sparse_categorical_focal_crossentropy` by its predictions.

    That of `categorical_focal_crossentropy` with one-hot targets: from logits u (p_k - t_k), u the u_y of the class id.

    Args:
        y_true, y_pred, alpha, gamma, from_logits, ignore_class, axis, invalid_labels, **options: As in
            `sparse_categorical_focal_crossentropy`.

    Returns:
        d Σ loss / d y_pred in float64, of the shape of `y_pred`; 0 for positions that are ignored.

    Raises:
        ValueError: A label that is no class id, unless `invalid_labels="ignore"`.

    Differs from Keras:
        Keras has no such loss.

    Example:
        >>> logits = [[2.0, 0.0], [2.0, 0.0]]  # right, and wrong
        >>> slopes = keras_xent.reference.sparse_categorical_focal_crossentropy_gradient([0, 1], logits, 1.0, 2.0, True)
        >>> slopes.round(4).tolist()
        [[-0.0049, 0.0049], [1.0767, -1.0767]]

    Source:
        The derivative of `sparse_categorical_focal_crossentropy`, by hand; the tests check it against finite differences.
    """
    y_pred = np.asarray(y_pred, "float64")
    targets, counts = one_hot(y_true, y_pred, ignore_class, invalid_labels, axis)
    gradient = categorical_focal_crossentropy_gradient(targets, y_pred, alpha, gamma, from_logits, axis=axis, **options)
    return np.where(np.expand_dims(counts, axis), gradient, 0.0)


def binary_focal_crossentropy(
    y_true,
    y_pred,
    apply_class_balancing=False,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
    *,
    pos_weight=None,
    epsilon=None,
    saturated_gradient="flow",
    dtype="float64",
):
    """Focal cross-entropy of independent yes/no outputs, averaged over `axis`, in nats.

    loss = mean over `axis` of  b c^γ (-w t log p - (1 - t) log(1 - p)),  c = t (1 - p) + (1 - t) p.

    b is α t + (1 - α)(1 - t) with class balancing, else 1. From probabilities, p is clipped in the logarithms alone.

    Args:
        y_true, y_pred, from_logits, label_smoothing, axis, pos_weight, epsilon: As in `binary_crossentropy`.
        apply_class_balancing: Whether α weighs the yes, and 1 - α the no.
        alpha: α, a number or one for each output.
        gamma: The power γ >= 0 of the probability c of a mistake.
        saturated_gradient: Of the gradient alone.
        dtype: The dtype whose rounding of ε and 1 - ε is to be told.

    Returns:
        The losses in float64, of the shape of `y_pred` without `axis`.

    Raises:
        ValueError: By NumPy, for shapes that do not broadcast.

    Differs from Keras:
        As `keras_xent.binary_focal_crossentropy`: from logits nothing is clipped and nothing cancels.

    Example:
        >>> arguments = {"from_logits": True, "axis": ()}
        >>> keras_xent.reference.binary_focal_crossentropy([1, 1], [3.0, -3.0], **arguments).round(5).tolist()
        [0.00011, 2.76628]
        >>> keras_xent.reference.binary_crossentropy([1, 1], [3.0, -3.0], **arguments).round(5).tolist()
        [0.04859, 3.04859]

    Source:
        Lin et al., "Focal Loss for Dense Object Detection" (2017), equation 5.
    """
    del saturated_gradient  # of the gradient alone
    yes, no, y_pred = prepare_answers(y_true, y_pred, label_smoothing, pos_weight)
    mistakes, costs = _mistakes_and_costs(yes, no, y_pred, from_logits, epsilon, dtype)
    return a.product(_balance(no, apply_class_balancing, alpha), mistakes**gamma * costs).mean(axis=axis)


def binary_focal_crossentropy_gradient(
    y_true,
    y_pred,
    apply_class_balancing=False,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
    *,
    pos_weight=None,
    epsilon=None,
    saturated_gradient="flow",
    dtype="float64",
):
    """The gradient of `binary_focal_crossentropy` by its predictions, the 1/N of the mean included.

    b (γ c^(γ-1) c' e + c^γ e') / N, with e the cross-entropy.

    From logits c' = (1 - 2 t) σ(z) σ(-z), from probabilities 1 - 2 t. Where c = 0, c^(γ-1) is 0 unless γ = 1.

    Args:
        y_true, y_pred, apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis, pos_weight, epsilon: As in
            `binary_focal_crossentropy`.
        saturated_gradient, dtype: As in `binary_crossentropy_gradient`.

    Returns:
        d Σ loss / d y_pred in float64, of the shape of `y_pred`.

    Raises:
        ValueError: By NumPy, for shapes that do not broadcast.

    Differs from Keras:
        As `binary_crossentropy_gradient`; and where c = 0 and γ < 1, Keras's autodiff gives NaN.

    Example:
        >>> slopes = keras_xent.reference.binary_focal_crossentropy_gradient([1, 1], [3.0, -3.0], from_logits=True, axis=())
        >>> slopes.round(5).tolist()
        [-0.00031, -1.12675]

    Source:
        The derivative of `binary_focal_crossentropy`, by hand; the tests check it against finite differences.
    """
    yes, no, y_pred = prepare_answers(y_true, y_pred, label_smoothing, pos_weight)
    mistakes, costs = _mistakes_and_costs(yes, no, y_pred, from_logits, epsilon, dtype)
    slope_of_mistakes = 2.0 * no - 1.0
    if from_logits:
        slope_of_costs = no * sigmoid(y_pred) - yes * sigmoid(-y_pred)
        slope_of_mistakes = slope_of_mistakes * sigmoid(y_pred) * sigmoid(-y_pred)
    else:
        slope_of_costs = slope_of_logs(yes, no, y_pred, epsilon, saturated_gradient, dtype)
    of_factor = gamma * mistakes**gamma * _divide(a.product(slope_of_mistakes, costs), mistakes, 0.0)
    if gamma == 1.0:
        of_factor = a.product(slope_of_mistakes, costs)
    slopes = _balance(no, apply_class_balancing, alpha) * (of_factor + mistakes**gamma * slope_of_costs)
    return slopes / number_averaged(y_pred, axis)


def _mistakes_and_costs(yes, no, y_pred, from_logits, epsilon, dtype):
    """The probability that an answer drawn from the prediction is not the target, and the cross-entropy."""
    if from_logits:
        mistakes = (1.0 - no) * sigmoid(-y_pred) + no * sigmoid(y_pred)
        return mistakes, a.product(yes, softplus(-y_pred)) + a.product(no, softplus(y_pred))
    probs = a.clip(y_pred, epsilon, dtype)
    return (1.0 - no) * (1.0 - y_pred) + no * y_pred, -yes * np.log(probs) - no * np.log1p(-probs)


def _balance(no, apply_class_balancing, alpha):
    alpha = np.asarray(alpha, "float64")
    return alpha * (1.0 - no) + (1.0 - alpha) * no if apply_class_balancing else 1.0


def _alpha_along(alpha, y_pred, axis):
    return float(alpha) if np.ndim(alpha) == 0 else a.along(alpha, y_pred.ndim, axis)


def _divide(numerator, denominator, limit):
    """The quotient; `limit` where the denominator is 0."""
    nothing = denominator == 0
    return np.where(nothing, limit, numerator / np.where(nothing, 1.0, denominator))

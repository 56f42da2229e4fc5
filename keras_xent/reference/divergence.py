"""Kullback-Leibler divergence of a prediction from its target."""

import numpy as np

from . import _arithmetic as a


def kl_divergence(y_true, y_pred, *, from_logits=False, axis=-1, epsilon=None, saturated_gradient="flow", dtype="float64"):
    """Kullback-Leibler divergence of a prediction from its target, one per example, in nats.

    loss = Σ_k t_k log(t_k / p_k).

    From logits p is their softmax, and a target of 0 contributes 0. From probabilities t and p are clipped to [ε, 1].

    Args:
        y_true: The target distributions t, of the shape of `y_pred`.
        y_pred: Probabilities p as they are, or logits; `axis` holds the classes.
        from_logits, axis: As in `keras_xent.kl_divergence`.
        epsilon: Where both are clipped from below; None is 1e-7.
        saturated_gradient: Of the gradient alone.
        dtype: The dtype whose rounding of ε is to be told.

    Returns:
        The losses in float64, of the shape of `y_pred` without `axis`.

    Raises:
        ValueError: By NumPy, for shapes that do not broadcast.

    Differs from Keras:
        As `keras_xent.kl_divergence`: Keras's takes no logits. From probabilities the value is the same.

    Example:
        >>> t, p = [0.5, 0.5], [0.9, 0.1]
        >>> divergence = keras_xent.reference.kl_divergence(t, p)
        >>> entropy, cross = np.log(2), keras_xent.reference.categorical_crossentropy(t, p)
        >>> divergence.round(5).item(), (cross - entropy).round(5).item()  # the cross-entropy, without the target's own entropy
        (0.51083, 0.51083)

    Source:
        Kullback and Leibler, "On Information and Sufficiency" (1951); the clip is Keras's.
    """
    del saturated_gradient  # of the gradient alone
    targets, y_pred = np.asarray(y_true, "float64"), np.asarray(y_pred, "float64")
    if not from_logits:
        targets, probs = _clip(targets, epsilon, dtype), _clip(y_pred, epsilon, dtype)
        return (targets * np.log(targets / probs)).sum(axis=axis)
    with np.errstate(invalid="ignore"):
        log_targets = np.log(np.where(targets == 0, 1.0, targets))
    return a.product(targets, log_targets - a.log_softmax(y_pred, axis)).sum(axis=axis)


def kl_divergence_gradient(
    y_true, y_pred, *, from_logits=False, axis=-1, epsilon=None, saturated_gradient="flow", dtype="float64"
):
    """The gradient of `kl_divergence` by its predictions.

    From logits: (Σ_j t_j) p_k - t_k. From probabilities: -t_k / p_k, with t clipped; where the clip of p binds, t is the
    target as given, and p bounded from below ("flow"), or the gradient is 0 ("zero").

    Args:
        y_true, y_pred, from_logits, axis, epsilon: As in `kl_divergence`.
        saturated_gradient, dtype: As in `binary_crossentropy_gradient`.

    Returns:
        d Σ loss / d y_pred in float64, of the shape of `y_pred`.

    Raises:
        ValueError: By NumPy, for shapes that do not broadcast.

    Differs from Keras:
        Keras's autodiff gives 0 where the clip binds, which is `saturated_gradient="zero"`.

    Example:
        >>> keras_xent.reference.kl_divergence_gradient([0.5, 0.5], [0.9, 0.1]).round(5).tolist()  # not renormalised
        [-0.55556, -5.0]
        >>> keras_xent.reference.kl_divergence_gradient([0.5, 0.5], np.log([0.9, 0.1]), from_logits=True).round(5).tolist()
        [0.4, -0.4]

    Source:
        The derivative of `kl_divergence`, by hand; the tests check it against finite differences.
    """
    targets, y_pred = np.asarray(y_true, "float64"), np.asarray(y_pred, "float64")
    if from_logits:
        return a.softmax_minus(a.log_softmax(y_pred, axis), targets, axis)
    inside = _clip(y_pred, epsilon, dtype) == y_pred
    seen = np.where(inside, _clip(targets, epsilon, dtype), targets)
    return -seen * a.log_slope(y_pred, dtype, saturated_gradient, inside)


def _clip(probs, epsilon, dtype):
    return np.clip(probs, a.round_to(1e-7 if epsilon is None else epsilon, dtype), 1.0)

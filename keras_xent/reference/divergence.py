"""Kullback-Leibler divergence of a prediction from its target."""

import numpy as np

from . import _arithmetic as a


def kl_divergence(y_true, y_pred, *, from_logits=False, axis=-1, epsilon=None, saturated_gradient="flow", dtype="float64"):
    """loss = Σ_k t_k log(t_k / p_k), one per example.

    From logits p is their softmax, and a target of 0 contributes 0. From probabilities t and p are clipped to [ε, 1].
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
    """d loss / d y_pred.

    From logits: (Σ_j t_j) p_k - t_k. From probabilities: -t_k / p_k, with t clipped; where the clip of p binds, t is the
    target as given, and p bounded from below ("flow"), or the gradient is 0 ("zero").
    """
    targets, y_pred = np.asarray(y_true, "float64"), np.asarray(y_pred, "float64")
    if from_logits:
        return a.softmax_minus(a.log_softmax(y_pred, axis), targets, axis)
    inside = _clip(y_pred, epsilon, dtype) == y_pred
    seen = np.where(inside, _clip(targets, epsilon, dtype), targets)
    return -seen * a.log_slope(y_pred, dtype, saturated_gradient, inside)


def _clip(probs, epsilon, dtype):
    return np.clip(probs, a.round_to(1e-7 if epsilon is None else epsilon, dtype), 1.0)

"""Generalised cross-entropy against a class id: bounded, so that a wrong label pulls less."""

import numpy as np

from . import _arithmetic as a
from .categorical import one_hot


def categorical_generalized_cross_entropy(
    y_true, y_pred, q=0.5, *, from_logits=False, axis=-1, ignore_class=None, invalid_labels="error", dtype="float64"
):
    """loss = (1 - p_y^q) / q, one per example; p is the softmax of the logits, or the probabilities as they are."""
    del dtype  # of the gradient alone
    y_pred = np.asarray(y_pred, "float64")
    targets, counts = one_hot(y_true, y_pred, ignore_class, invalid_labels, axis)
    return np.where(counts, -np.expm1(q * _log_target_prob(targets, y_pred, from_logits, axis)) / q, 0.0)


def categorical_generalized_cross_entropy_gradient(
    y_true, y_pred, q=0.5, *, from_logits=False, axis=-1, ignore_class=None, invalid_labels="error", dtype="float64"
):
    """d loss / d y_pred: from logits p_y^q (p_k - t_k); from probabilities -p_y^(q-1) at the class, and 0 if p_y = 0."""
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

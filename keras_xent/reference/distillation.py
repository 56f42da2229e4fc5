"""A student's distance from its teacher, at a temperature."""

import numpy as np

from . import _arithmetic as a
from .categorical import (
    categorical_crossentropy,
    categorical_crossentropy_gradient,
    sparse_categorical_crossentropy,
    sparse_categorical_crossentropy_gradient,
)

_LABEL_LOSS = {"sparse": sparse_categorical_crossentropy, "dense": categorical_crossentropy}
_LABEL_GRADIENT = {"sparse": sparse_categorical_crossentropy_gradient, "dense": categorical_crossentropy_gradient}


def distillation_loss(
    y_true,
    y_pred,
    temperature=4.0,
    *,
    targets,
    from_logits=True,
    divergence="kl",
    label_weight=0.0,
    labels=None,
    hard_labels=None,
    scale_by_temperature_squared=True,
    axis=-1,
    epsilon=None,
    dtype="float64",
):
    """loss = (1 - λ) T² D(teacher^(1/T), student^(1/T)) + λ CE(hard label, student), one per example.

    D is Σ_k p_k (log p_k - log q_k), or -Σ_k p_k log q_k ("crossentropy"). `y_true` is the teacher alone; the
    hard labels stand beside it in `hard_labels`.
    """
    student = _student_logits(y_pred, from_logits, axis, epsilon, dtype)
    log_teacher = _tempered_teacher(y_true, targets, temperature, axis)
    log_student = a.log_softmax(student / temperature, axis)
    teacher = np.exp(log_teacher)
    if divergence == "kl":
        ratio = np.where(teacher > 0, log_student, 0.0) - np.where(teacher > 0, log_teacher, 0.0)
        # p φ(log q/p) with φ(d) = e^d - 1 - d >= 0 is q - p - p log(q/p); the sum over k drops q - p
        terms = np.where(teacher > 0, teacher * _expm1_minus(ratio), np.exp(log_student))
        soft = (terms * (teacher.sum(axis=axis, keepdims=True) > 0)).sum(axis=axis)
    else:
        soft = -a.product(teacher, log_student).sum(axis=axis)
    loss = (1.0 - label_weight) * (temperature**2 if scale_by_temperature_squared else 1.0) * soft
    if label_weight:
        assert labels is not None
        loss = loss + label_weight * _LABEL_LOSS[labels](hard_labels, student, True, axis=axis)
    return loss


def distillation_loss_gradient(
    y_true,
    y_pred,
    temperature=4.0,
    *,
    targets,
    from_logits=True,
    divergence="kl",
    label_weight=0.0,
    labels=None,
    hard_labels=None,
    scale_by_temperature_squared=True,
    axis=-1,
    epsilon=None,
    dtype="float64",
):
    """d loss / d y_pred: for logits (1 - λ) T² (q - p) / T + λ (softmax(s) - label); the same for both divergences."""
    del divergence  # they differ by the teacher's entropy, a constant
    student = _student_logits(y_pred, from_logits, axis, epsilon, dtype)
    teacher = np.exp(_tempered_teacher(y_true, targets, temperature, axis))
    soft = a.softmax_minus(a.log_softmax(student / temperature, axis), teacher, axis) / temperature
    gradient = (1.0 - label_weight) * (temperature**2 if scale_by_temperature_squared else 1.0) * soft
    if label_weight:
        assert labels is not None
        gradient = gradient + label_weight * _LABEL_GRADIENT[labels](hard_labels, student, True, axis=axis)
    if from_logits:
        return gradient
    probs = np.asarray(y_pred, "float64")
    slopes = gradient * a.log_slope(a.renormalize(probs, axis), dtype)
    return a.renormalize_backward(slopes, probs, axis)


def _student_logits(y_pred, from_logits, axis, epsilon, dtype):
    y_pred = np.asarray(y_pred, "float64")
    return y_pred if from_logits else np.log(a.clip(a.renormalize(y_pred, axis), epsilon, dtype))


def _tempered_teacher(y_true, targets, temperature, axis):
    """log softmax(t / T); for probabilities log(p^(1/T) / Σ p^(1/T)), which is the same without the logits.

    A row of zero probabilities has no teacher in it: it stays zero, and contributes nothing.
    """
    y_true = np.asarray(y_true, "float64")
    if targets != "probs":
        return a.log_softmax(y_true / temperature, axis)
    says_nothing = ~y_true.any(axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.where(says_nothing, 1.0, y_true))
    return np.where(says_nothing, -np.inf, a.log_softmax(log_probs / temperature, axis))


def _expm1_minus(d):
    """φ(d) = e^d - 1 - d, by its series near 0, where the difference would cancel."""
    near = np.where(np.abs(d) < 0.5, d, 0.0)
    series, power = np.zeros_like(near), near**2 / 2.0
    for n in range(3, 18):
        series, power = series + power, power * near / n
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(np.abs(d) < 0.5, series, np.expm1(d) - d)

"""A student's distance from its teacher, at a temperature."""

import numpy as np

from . import _arithmetic as a
from .categorical import (
    categorical_crossentropy,
    categorical_crossentropy_gradient,
    sparse_categorical_crossentropy,
    sparse_categorical_crossentropy_gradient,
)
from .teachers import teach

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
    beta=0.5,
    label_weight=0.0,
    labels=None,
    hard_labels=None,
    scale_by_temperature_squared=True,
    tail="bucket",
    teacher_classes=None,
    axis=-1,
    epsilon=None,
    dtype="float64",
):
    """A student's distance from its teacher at a temperature T, and from the hard labels, one per example, in nats.

    loss = (1 - λ) T² D(teacher^(1/T), student^(1/T)) + λ CE(hard label, student).

    D(p, q) is Σ_k p_k (log p_k - log q_k) ("kl"), Σ_k q_k (log q_k - log p_k) ("reverse_kl"), β KL(p, m) + (1 - β) KL(q, m) with
    m = β p + (1 - β) q ("jsd"), or -Σ_k p_k log q_k ("crossentropy").

    Args:
        y_true: The teacher alone, its classes along the axis that they have in `y_pred` (a top-k's id and log-probability pairs
            along the last two).
        y_pred: The student's logits, or probabilities.
        temperature: T > 0.
        targets: What the teacher gives: `"logits"`, `"probs"`, `"log_probs"` or `"top_k"`.
        hard_labels: The labels of the second part, which stand beside the teacher here: class ids (`labels="sparse"`) or
            distributions (`"dense"`).
        from_logits, divergence, beta, label_weight, labels, scale_by_temperature_squared, tail, teacher_classes, axis: As in
            `keras_xent.distillation_loss`.
        epsilon: Where a student's probabilities are clipped; None is 1e-7.
        dtype: The dtype whose rounding of ε and 1 - ε is to be told.

    Returns:
        The losses in float64, of the shape of `y_pred` without `axis`.

    Raises:
        AssertionError: A `label_weight` without `labels`.
        KeyError: Another `divergence`.

    Differs from Keras:
        `keras.distillation.LogitsDistillation` with `KLDivergence()` clips both softmaxes to ε: what has less is not told apart.

    Example:
        >>> teacher, student = [6.0, 3.0, 1.0], [4.0, 2.5, 0.0]
        >>> for temperature in (1.0, 4.0):
        ...     keras_xent.reference.distillation_loss(teacher, student, temperature, targets="logits").round(5).item()
        0.08423
        0.22803

    Source:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), with T² as in its section 2.
    """
    student = _student_logits(y_pred, from_logits, axis, epsilon, dtype)
    log_p, log_q, says = _distributions(y_true, student, temperature, targets, tail, teacher_classes, axis)[:3]
    soft = says * _DIVERGENCES[divergence](log_p, log_q, beta)
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
    beta=0.5,
    label_weight=0.0,
    labels=None,
    hard_labels=None,
    scale_by_temperature_squared=True,
    tail="bucket",
    teacher_classes=None,
    axis=-1,
    epsilon=None,
    dtype="float64",
):
    """The gradient of `distillation_loss` by the student's predictions; the teacher has none.

    For logits (1 - λ) T² g / T + λ (softmax(s) - label), g being d D / d (s / T).

    g is q - p ("kl", "crossentropy"), q (e - Σ q e) with e = log q - log p ("reverse_kl") or (1 - β) (log q - log m) ("jsd").

    Args:
        y_true, y_pred, temperature, targets, hard_labels, from_logits, divergence, beta, label_weight, labels,
            scale_by_temperature_squared, tail, teacher_classes, axis, epsilon: As in `distillation_loss`.
        dtype: The dtype by which the gradient of a vanishing probability is bounded.

    Returns:
        d Σ loss / d y_pred in float64, of the shape of `y_pred`.

    Raises:
        AssertionError: A `label_weight` without `labels`.
        KeyError: Another `divergence`.

    Differs from Keras:
        With a student's probabilities the gradient flows where they are clipped.

    Example:
        >>> teacher, student = [6.0, 3.0, 1.0], [4.0, 2.5, 0.0]
        >>> gradient = keras_xent.reference.distillation_loss_gradient
        >>> for temperature in (1.0, 1e4):  # in the end the difference of the logits, both centred, over the 3 classes
        ...     gradient(teacher, student, temperature, targets="logits").round(3).tolist()
        [-0.141, 0.133, 0.008]
        [-0.278, 0.222, 0.056]

    Source:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), equations 2 to 4; the tests check it
        against finite differences.
    """
    student = _student_logits(y_pred, from_logits, axis, epsilon, dtype)
    log_p, log_q, says, back = _distributions(y_true, student, temperature, targets, tail, teacher_classes, axis)
    pull = says[..., None] * _GRADIENTS[divergence](log_p, log_q, beta)
    soft = np.moveaxis(back(pull), -1, axis) / temperature
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


def _distributions(y_true, student, temperature, targets, tail, teacher_classes, axis):
    """log p and log q, classes last; where there is a teacher; and the way back from a gradient of the student's s / T.

    A top-k teacher is told apart from its student over the k classes, and the rest as its tail says.
    """
    every = np.moveaxis(np.asarray(student, "float64"), axis, -1)
    heard = every[..., :teacher_classes]
    tempered = (heard - heard.max(axis=-1, keepdims=True)) / temperature
    log_p, says, seen = teach(y_true, targets, temperature, tail, teacher_classes, axis, tempered)

    def back(pull):
        whole = np.zeros_like(every)
        whole[..., : heard.shape[-1]] = pull if seen is None else seen.spread(pull)
        return whole

    return log_p, a.log_softmax(tempered if seen is None else seen.logits, -1), says, back


def _kl(log_p, log_q, beta=None):
    """Σ_k p_k φ(log q_k - log p_k), φ(d) = e^d - 1 - d >= 0: the sum over k drops q - p; where p_k is 0, the share is q_k."""
    del beta
    p = np.exp(log_p)
    ratio = np.where(p > 0, log_q, 0.0) - np.where(p > 0, log_p, 0.0)  # -inf where the prediction rules the class out
    q = np.exp(log_q)
    with np.errstate(invalid="ignore", over="ignore"):
        near = p * _expm1_minus(ratio)
        far = q - p - p * ratio  # of a share that the teacher all but rules out e^d would be infinite
    return np.where(p > 0, np.where(ratio < 1.0, near, far), q).sum(axis=-1)


def _log_mixture(log_p, log_q, beta):
    return np.logaddexp(np.log(beta) + log_p, np.log1p(-beta) + log_q)


def _jsd(log_p, log_q, beta):
    log_m = _log_mixture(log_p, log_q, beta)
    return beta * _kl(log_p, log_m) + (1.0 - beta) * _kl(log_q, log_m)


def _crossentropy(log_p, log_q, beta):
    del beta
    return -a.product(np.exp(log_p), log_q).sum(axis=-1)


def _q_minus_p(log_p, log_q, beta):
    del beta
    return a.softmax_minus(log_q, np.exp(log_p), -1)


def _excess(log_q, log_other):
    """log q - log of the other; 0 where q is 0."""
    possible = log_q > -np.inf
    return np.where(possible, log_q, 0.0) - np.where(possible, log_other, 0.0)


def _centered(log_q, excess):
    """q (e - Σ q e), the gradient of Σ q e by the logits of q where e's own adds up to nothing.

    e is measured from that of q's largest, which then adds nothing to the mean that cancels.
    """
    q = np.exp(log_q)
    excess = excess - np.take_along_axis(excess, np.argmax(log_q, axis=-1, keepdims=True), -1)
    return a.product(q, excess - a.product(q, excess).sum(axis=-1, keepdims=True))


_DIVERGENCES = {
    "kl": _kl,
    "reverse_kl": lambda log_p, log_q, beta: _kl(log_q, log_p),
    "jsd": _jsd,
    "crossentropy": _crossentropy,
}
_GRADIENTS = {
    "kl": _q_minus_p,
    "reverse_kl": lambda log_p, log_q, beta: _centered(log_q, _excess(log_q, log_p)),
    "jsd": lambda log_p, log_q, beta: (1.0 - beta) * _centered(log_q, _excess(log_q, _log_mixture(log_p, log_q, beta))),
    "crossentropy": _q_minus_p,
}


def _expm1_minus(d):
    """φ(d) = e^d - 1 - d, by its series near 0, where the difference would cancel."""
    near = np.where(np.abs(d) < 0.5, d, 0.0)
    series, power = np.zeros_like(near), near**2 / 2.0
    for n in range(3, 18):
        series, power = series + power, power * near / n
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(np.abs(d) < 0.5, series, np.expm1(d) - d)

"""Log-probabilities of all classes from logits: the top class is left out of the sum, so that nothing cancels."""

from keras import ops

from .target_class import find_top_logit
from .tensors import FAR_BELOW, class_ids, product


def mark_top(logits, axis):
    """Marks one largest logit of each row.

    k is top where k = argmax_j z_j
    """
    top = ops.argmax(ops.stop_gradient(logits), axis=axis)
    return ops.equal(class_ids(logits, axis), ops.expand_dims(ops.cast(top, "int32"), axis))


def pick_top_logit(logits, is_top, axis):
    """The largest logit.

    m = max_k z_k
    """
    return ops.sum(ops.where(is_top, logits, 0.0), axis=axis, keepdims=True)


def check_lead(targets, is_top, axis):
    """Whether the top class holds most of the target, so that the prediction is right.

    t_top > Σ_k t_k / 2
    """
    target_of_top = ops.sum(ops.where(is_top, targets, 0.0), axis=axis, keepdims=True)
    return 2.0 * target_of_top > ops.sum(targets, axis=axis, keepdims=True)


def check_top(logits, is_top, top_logit, axis):
    """Whether the top class has most of the prediction.

    Σ_{k ≠ top} exp(z_k - m) < 1
    """
    below = ops.where(is_top, FAR_BELOW, ops.stop_gradient(logits - top_logit))
    return ops.sum(ops.exp(below), axis=axis, keepdims=True) < 1.0


def center_on_top(top_logit, leads):
    """What the logits are measured from: the largest.

    The loss does not depend on the center, the rounding of its gradient does. If the top class leads, its gradient is what
    those of the others add up to; else the center is a constant, as usual.

    c = m
    """
    return ops.where(leads, top_logit, ops.stop_gradient(top_logit))


def measure_lift(top_logit, leads):
    """How far the top logit lies above the center: 0, but not to the gradient if the center is a constant.

    e = z_top - c
    """
    return ops.where(leads, 0.0, top_logit - ops.stop_gradient(top_logit))


def measure_depths(logits, is_top, top_center, lift):
    """How far each logit lies below the center.

    d_k = c - z_k
    """
    return ops.where(is_top, -lift, top_center - logits)


def sum_others(depths, is_top, axis):
    """The softmax denominator, scaled by exp(-c) and without the top class's own term.

    r = Σ_{k ≠ top} exp(-d_k)
    """
    return ops.sum(ops.exp(ops.where(is_top, FAR_BELOW, -depths)), axis=axis, keepdims=True)


def log_top_denominator(others, lift):
    """The logarithm of the softmax denominator, scaled by exp(-c), from the top class's own 1 and the others.

    Leaving the 1 out of the sum, rather than taking it away afterwards, keeps a confident prediction's small loss exact.

    h = log(1 + r + expm1(e))
    """
    return ops.log1p(others + ops.expm1(lift))


def expect_loss(targets, depths, log_denominator, axis):
    """The expected -log p under the targets; a class with target 0 contributes 0, even at logit -inf.

    loss = Σ_k t_k d_k + (Σ_k t_k) h
    """
    mass = ops.sum(targets, axis=axis)
    return ops.sum(product(targets, depths), axis=axis) + mass * ops.squeeze(log_denominator, axis)


def log_softmax(depths, log_denominator):
    """Log-probabilities from logits; nothing cancels in them.

    log p_k = -d_k - h
    """
    return -depths - log_denominator


def softmax(depths, log_denominator):
    """Probabilities from logits: a product, as the sum d + h would be rounded before it becomes an exponent.

    p_k = exp(-d_k) exp(-h)
    """
    return ops.exp(-depths) * ops.exp(-log_denominator)


def temper(logits, temperature, axis):
    """Softens (T > 1) or sharpens (T < 1) the distribution that the logits stand for.

    They are measured from the largest first, a shift that cancels out of the distribution, so that none overflows at a low T,
    and differences between logits far from 0 are not rounded twice.

    z_k ← (z_k - m) / T,  m = max_j z_j
    """
    return (logits - ops.expand_dims(find_top_logit(logits, axis), axis)) / temperature

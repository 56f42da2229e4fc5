"""The log-probability of one class from logits: the target is left out of the sum, so that nothing cancels."""

from keras import ops

from .tensors import FAR_BELOW, class_ids, product


def mark_target(scores, labels, axis):
    """Marks the target class of each row, by comparing class ids: no one-hot floats, nothing stored once compiled.

    k is target where k = y
    """
    return ops.equal(class_ids(scores, axis), ops.expand_dims(labels, axis))


def find_top_logit(logits, axis):
    """The largest logit: a shift that cancels out of the loss, so a constant to the gradient.

    m = max_k z_k
    """
    if 0 in logits.shape:  # Keras refuses the maximum of an empty batch, of which there is none to take
        return ops.sum(logits, axis=axis)
    return ops.amax(ops.stop_gradient(logits), axis=axis)


def measure_gap(target_logit, top_logit):
    """How far the target's logit lies below the largest.

    g = m - z_y
    """
    return ops.where(ops.equal(target_logit, top_logit), 0.0, top_logit - target_logit)


def choose_center(target_logit, top_logit):
    """What the logits are measured from: the target's if it is the largest, else the largest.

    c = z_y if z_y = m else m
    """
    return ops.where(ops.equal(target_logit, top_logit), target_logit, top_logit)


def sum_non_targets(logits, is_target, center, axis):
    """The softmax denominator, scaled by exp(-c) and without the target's own term.

    r = Σ_{k ≠ y} exp(z_k - c)
    """
    below = ops.where(is_target, FAR_BELOW, logits - ops.expand_dims(center, axis))
    return ops.sum(ops.exp(below), axis=axis)


def log_denominator(gap, non_targets):
    """The logarithm of the softmax denominator, scaled by exp(-c); near 0 when the prediction is confident and right.

    h = log(1 + r + expm1(-g)) = log Σ_k exp(z_k - c)
    """
    return ops.log1p(non_targets + ops.expm1(-gap))


def add_gap(gap, log_denominator):
    """-log p_y without cancellation: both terms are at least 0, and one is exact.

    loss = g + h
    """
    return gap + log_denominator


def expect_even_loss(logits, targets, top_logit, center, log_denominator, axis):
    """The expected -log p under targets that are the same in every row; a class with target 0 contributes 0.

    loss = Σ_k t_k (m - z_k) + (Σ_k t_k) (h + c - m)
    """
    depths = ops.expand_dims(top_logit, axis) - logits
    return ops.sum(product(targets, depths), axis=axis) + ops.sum(targets) * (log_denominator + (center - top_logit))

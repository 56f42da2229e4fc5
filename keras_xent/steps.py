"""The steps that losses are made of: one small function each, its formula in the last paragraph of its docstring.

Names say the space: `targets` and `probs` are distributions over the class axis, `labels` class ids, `logits`
unnormalised log-probabilities, `losses` nats. `axis` is the class axis, counted from the front.
"""

from keras import ops

FAR_BELOW = -1e30  # its exponential is 0 in every dtype; -inf would be, too, but numeric checks of TensorFlow object to it

# ---------------------------------------------------------------------------------------------------------- targets


def smooth(targets, label_smoothing, axis):
    """Takes the share s from the targets and spreads it evenly over the K classes.

    t_k ← (1 - s) t_k + s / K
    """
    num_classes = ops.cast(ops.shape(targets)[axis], targets.dtype)
    return targets * (1.0 - label_smoothing) + label_smoothing / num_classes


def smooth_binary(targets, label_smoothing):
    """Pulls yes/no targets towards one half.

    t ← (1 - s) t + s / 2
    """
    return targets * (1.0 - label_smoothing) + 0.5 * label_smoothing


def spread_evenly(scores, label_smoothing, axis):
    """The smoothed share of the targets, the same for every class: a vector, not a row per example.

    t_k = s / K
    """
    num_classes = ops.shape(scores)[axis]
    share = label_smoothing / ops.cast(num_classes, scores.dtype)
    return along_axis(share * ops.ones((num_classes,), dtype=scores.dtype), scores, axis)


def weigh(targets, class_weight):
    """Gives each class its weight, inside the sum over classes.

    t_k ← w_k t_k
    """
    return targets * class_weight


# ---------------------------------------------------------------------------------------------------- probabilities


def renormalize(probs, axis):
    """Scales `probs` so that they sum to 1 over `axis`; an all-zero row stays zero.

    q_k = p_k / Σ_j p_j
    """
    return divide_or_zero(probs, ops.sum(probs, axis=axis, keepdims=True))


def clip(probs, epsilon):
    """Keeps probabilities away from 0 and 1, so that their logarithms are finite.

    q_k = min(max(p_k, ε), 1 - ε)
    """
    low, high = constant(epsilon, probs), constant(1.0 - epsilon, probs)
    return ops.where(probs < low, low, ops.where(probs > high, high, probs))


def log(clipped, probs, saturated_gradient, slope_floor):
    """The logarithm of the clipped probability, with a gradient where the clip binds too.

    `saturated_gradient="flow"` gives the gradient of the unclipped logarithm there, 1 / max(p, slope_floor) and 0 at p = 0;
    `"zero"` that of the clip. The second derivative is 0 there either way: 1 / p² would overflow.

    l_k = log q_k
    """
    inside = ops.equal(clipped, probs)
    if saturated_gradient == "zero":
        return ops.log(ops.where(inside, probs, ops.stop_gradient(clipped)))
    floor, constant_probs = constant(slope_floor, probs), ops.stop_gradient(probs)
    inside = ops.logical_and(inside, probs >= floor)
    value = ops.log(ops.where(inside, probs, ops.stop_gradient(clipped)))
    slope = ops.where(constant_probs > 0, 1.0 / ops.where(constant_probs > floor, constant_probs, floor), 0.0)
    return value + ops.where(inside, 0.0, slope * (probs - constant_probs))  # adds 0 to the value, the slope to the gradient


def log_complement(clipped, probs, saturated_gradient, slope_floor):
    """The logarithm of the clipped probability's complement, with the same gradient at saturation as `log`.

    l = log(1 - q)
    """
    return log(1.0 - clipped, 1.0 - probs, saturated_gradient, slope_floor)


def choose_log(targets, pos_weight, log_probs, log_complements):
    """The expected -log p under the target of a yes/no output.

    e = -w t log p - (1 - t) log(1 - p)
    """
    return -(product(targets * pos_weight, log_probs) + product(1.0 - targets, log_complements))


# ------------------------------------------------------------------------- logits, against a distribution of targets


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


def log_top_denominator(depths, is_top, lift, axis):
    """The logarithm of the softmax denominator, scaled by exp(-c), from the top class's own 1 and the others.

    Leaving the 1 out of the sum, rather than taking it away afterwards, keeps a confident prediction's small loss exact.

    h = log(1 + r + expm1(e)),  r = Σ_{k ≠ top} exp(-d_k)
    """
    others = ops.sum(ops.exp(ops.where(is_top, FAR_BELOW, -depths)), axis=axis, keepdims=True)
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


def temper(logits, temperature):
    """Softens (T > 1) or sharpens (T < 1) the distribution that the logits stand for.

    z_k ← z_k / T
    """
    return logits / temperature


def exponentiate(log_probs):
    """Probabilities from their logarithms.

    p_k = exp(log p_k)
    """
    return ops.exp(log_probs)


# ------------------------------------------------------------------------------------- logits, against one target class


def mark_target(logits, labels, axis):
    """Marks the target class of each row, by comparing class ids: no one-hot floats, nothing stored once compiled.

    k is target where k = y
    """
    return ops.equal(class_ids(logits, axis), ops.expand_dims(labels, axis))


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


# ------------------------------------------------------------------------------------------------------ binary logits


def cost_of_yes(logits):
    """What a yes costs: -log σ(z).

    softplus(-z)
    """
    return softplus(-logits)


def cost_of_no(logits):
    """What a no costs: -log(1 - σ(z)).

    softplus(z)
    """
    return softplus(logits)


def choose_cost(targets, pos_weight, costs_of_yes, costs_of_no):
    """The expected cost under the target; an answer with target 0 contributes 0, even at an infinite logit.

    e = w t softplus(-z) + (1 - t) softplus(z)
    """
    return product(targets * pos_weight, costs_of_yes) + product(1.0 - targets, costs_of_no)


def softplus(x):
    """log(1 + exp(x)), exact at both ends and smooth at 0 (a maximum and |x| have no second derivative there).

    max(x, 0) + log1p(exp(-|x|))
    """
    positive = x > 0
    return ops.where(positive, x, 0.0) + ops.log1p(ops.exp(ops.where(positive, -x, x)))


# ----------------------------------------------------------------------------------------------------------- closing


def pick(values, labels, axis):
    """The target class's entry of each row.

    v_y
    """
    return ops.squeeze(ops.take_along_axis(values, ops.expand_dims(labels, axis), axis=axis), axis)


def weigh_loss(losses, class_weight, labels):
    """Gives the loss of an example the weight of its target class.

    loss ← w_y loss
    """
    return product(ops.take(ops.reshape(class_weight, (-1,)), labels, axis=0), losses)


def mix(losses, even_losses, label_smoothing):
    """The loss under smoothed targets, out of those under its two parts: the label, and all classes evenly.

    loss ← (1 - s) loss + even loss
    """
    return (1.0 - label_smoothing) * losses + even_losses


def multiply(targets, log_probs):
    """Each class's share of the (negated) loss.

    t_k l_k
    """
    return targets * log_probs


def sum_over_classes(products, axis):
    """The loss of each example.

    loss = -Σ_k t_k l_k
    """
    return -ops.sum(products, axis=axis)


def negate(log_prob):
    """The loss of an example with one target class.

    loss = -l_y
    """
    return -log_prob


def average(elements, axis):
    """The mean over `axis` (an int, several, None for all, () for none).

    loss = Σ_i e_i / N
    """
    averaged = range(len(elements.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for one in sorted(averaged, reverse=True):  # not `ops.mean`, which rounds float64 to float32 on PyTorch
        elements = ops.sum(elements, axis=one) / ops.cast(ops.shape(elements)[one], elements.dtype)
    return elements


# ----------------------------------------------------------------------------------- what the steps are written with


def constant(value, like):
    """A number in another tensor's dtype, rounded once."""
    return ops.convert_to_tensor(value, dtype=like.dtype)


def divide_or_zero(numerator, denominator):
    """The quotient a / b, and 0 where b is 0.

    Not `ops.divide_no_nan`, which rounds float64 to float32 on PyTorch.
    """
    nothing = ops.equal(denominator, 0)
    return ops.where(nothing, 0.0, numerator / ops.where(nothing, 1.0, denominator))


def product(targets, values):
    """t · v, where a target of 0 contributes 0 to value and gradient even if v is infinite."""
    absent = ops.logical_and(ops.equal(targets, 0), ops.isinf(values))
    return ops.multiply(targets, ops.where(absent, 0.0, values))


def class_ids(values, axis):
    """0 .. K-1 along the class axis."""
    return along_axis(ops.arange(ops.shape(values)[axis], dtype="int32"), values, axis)


def along_axis(vector, values, axis):
    """A vector with one entry per class, shaped to broadcast over `values`."""
    shape = [1] * len(values.shape)
    shape[axis] = -1
    return ops.reshape(vector, shape)

"""The focal factor: a confident prediction counts for less, by a power of the probability that it leaves to the rest."""

from keras import ops

from .tensors import FAR_BELOW, constant, product, smallest_normal

LIKELY = 0.5  # nats: whatever costs less has a probability above 0.6, so it is the top class, and there is no other


def cost(targets, log_probs):
    """What each class costs; a class with target 0 costs 0, even if it is impossible.

    e_k = -t_k log p_k
    """
    return -product(targets, log_probs)


def clipped_share(clipped, probs, saturated_gradient):
    """The clipped probability, as the focal factor sees it.

    `saturated_gradient="flow"` lets the gradient through the clip, unless p = 0; `"zero"` does not.

    q_k
    """
    passes = ops.equal(clipped, probs)
    if saturated_gradient == "flow":
        passes = ops.logical_or(passes, probs > 0)
    movement = ops.where(passes, probs - ops.stop_gradient(probs), 0.0)  # 0, but not to the gradient
    return ops.stop_gradient(clipped) + movement


def remainder(log_probs, others, log_denominator):
    """What a class leaves to the others; of a likely one it is what they add up to, so that nothing cancels.

    c_k = 1 - p_k,  which is r exp(-h) for the top class
    """
    return ops.where(log_probs > -LIKELY, others * ops.exp(-log_denominator), 1.0 - ops.exp(log_probs))


def remainder_of_target(losses):
    """What the target class leaves to the others, out of what it costs: as exact as that is, however little it is.

    c = 1 - p_y = -expm1(-loss)
    """
    return -ops.expm1(-losses)


def sigmoid(logits):
    """The probability of a yes, exact at both ends.

    p = σ(z) = 1 / (1 + exp(-z))
    """
    positive = logits > 0
    power = ops.exp(ops.where(positive, -logits, logits))
    return ops.where(positive, 1.0, power) / (1.0 + power)


def sigmoid_of_no(logits):
    """The probability of a no, exact at both ends.

    1 - p = σ(-z)
    """
    return sigmoid(-logits)


def complement(probs):
    """What a probability leaves to the others: that, or the target, of a no.

    1 - p
    """
    return 1.0 - probs


def expect_mistake(targets, no_targets, probs, complements):
    """The probability that an answer drawn from the prediction is not the target.

    c = t (1 - p) + (1 - t) p
    """
    return targets * complements + no_targets * probs


def expect_success(targets, no_targets, probs, complements):
    """The probability that it is.

    1 - c = t p + (1 - t) (1 - p)
    """
    return targets * probs + no_targets * complements


def share(log_probs):
    """The probability of a class, out of its logarithm.

    p_k = exp(log p_k)
    """
    return ops.exp(log_probs)


def share_of_target(losses):
    """The probability of the target class, out of what it costs.

    p_y = exp(-loss)
    """
    return ops.exp(-losses)


def modulate(costs, remainders, shares, gamma):
    """Makes easy examples count for less.

    What costs that much has probability 0, and its factor no slope: to the gradient it is a constant, as 0 · ∞ would be NaN.
    Nor does the factor of an infinite cost underflow to 0.

    e ← c^γ e
    """
    factor = raise_remainder(remainders, shares, gamma)
    smallest = smallest_normal(factor)
    underflown = ops.logical_and(ops.isinf(costs), factor < smallest)
    constant_factor = ops.stop_gradient(ops.where(underflown, smallest, factor))
    return ops.where(costs > -FAR_BELOW, constant_factor, factor) * costs


def raise_remainder(remainders, shares, gamma):
    """c^γ, also for a γ that enlarges the rounding of c = 1 - p: near 1 by way of p, which has more digits there."""
    if gamma <= 4.0:
        return raise_to(remainders, gamma)
    unlikely = shares < 0.5
    by_share = ops.exp(gamma * ops.log1p(-ops.where(unlikely, shares, 0.0)))
    return ops.where(unlikely, by_share, raise_to(ops.where(unlikely, 1.0, remainders), gamma))


def raise_to(base, exponent):
    """A power of numbers of at least 0, whose derivative at 0 is 0 also where the exponent is below 1."""
    if exponent == 1.0:
        return base
    if exponent == 2.0:
        return base * base
    nothing = ops.logical_and(base >= 0, base < smallest_normal(base))
    return ops.where(nothing, 0.0, ops.power(ops.where(nothing, 1.0, base), constant(exponent, base)))


def balance(costs, alpha):
    """Weighs by class.

    e_k ← α_k e_k
    """
    return product(alpha, costs)


def balance_answers(costs, targets, no_targets, alpha, alpha_of_no):
    """Weighs a yes by α, and a no by what is left.

    e ← (α t + (1 - α)(1 - t)) e
    """
    return product(alpha * targets + alpha_of_no * no_targets, costs)


def sum_costs(costs, axis):
    """The loss of each example.

    loss = Σ_k e_k
    """
    return ops.sum(costs, axis=axis)

"""How far a predicted distribution is from its target."""

from keras import ops

from .tensors import FAR_BELOW, constant

NEAR = 0.5  # closer than this to the target, q - p - p d would cancel; the series is exact in float64 up to here


def clip_targets(targets, epsilon):
    """Keeps target probabilities away from 0, so that their logarithms are finite.

    t_k ← min(max(t_k, ε), 1)
    """
    return clip_low(targets, epsilon)


def clip_low(probs, epsilon):
    """Keeps probabilities away from 0, so that their logarithms are finite.

    q_k = min(max(p_k, ε), 1)
    """
    low = constant(epsilon, probs)
    return ops.where(probs < low, low, ops.where(probs > 1.0, ops.ones_like(probs), probs))


def log_of_targets(targets):
    """The logarithm of the target probabilities; 0 where they are 0, as 0 log 0 is.

    log t_k
    """
    present = ops.not_equal(targets, 0)  # a negative target makes NaN
    return ops.where(present, ops.log(ops.where(present, targets, 1.0)), 0.0)


def measure_clipped_divergence(clipped_targets, targets, log_targets, log_probs, clipped, probs):
    """Each class's share of the divergence between clipped probabilities.

    To the gradient of a clipped probability, the target is the one that was given: a class of target 0 does not pull.

    e_k = t_k (log t_k - log q_k)
    """
    seen = ops.where(ops.equal(clipped, probs), clipped_targets, targets)
    value = ops.stop_gradient(log_probs)
    return clipped_targets * (log_targets - value) - seen * (log_probs - value)


def sum_targets(targets, axis):
    """What the targets add up to: 1, give or take their rounding.

    m = Σ_k t_k
    """
    return ops.sum(targets, axis=axis, keepdims=True)


def log_mass(mass):
    """The logarithm of what the targets add up to.

    log m
    """
    return log_of_targets(mass)


def spread_mass(log_probs, mass, log_mass):
    """The prediction, spread over what the targets add up to; nothing is left of it if that is nothing.

    log q_k = log p_k + log m
    """
    return ops.where(ops.equal(mass, 0), FAR_BELOW, log_probs + log_mass)


def share_mass(probs, mass):
    """The prediction, spread over what the targets add up to.

    q_k = m p_k
    """
    return mass * probs


def measure_kl_terms(targets, log_targets, log_probs, probs):
    """Each class's share of the divergence: at least 0, and as exact as d_k is, however close the two are.

    q_k - t_k - t_k d_k = t_k φ(d_k),  d_k = log q_k - log t_k,  φ(d) = e^d - 1 - d
    """
    present = ops.not_equal(targets, 0)
    ratio = ops.where(present, log_probs - ops.where(present, log_targets, 0.0), 0.0)
    near = ops.logical_and(present, ops.absolute(ratio) < NEAR)
    return ops.where(near, targets * excess_of_exp(ops.where(near, ratio, 0.0)), probs - targets - targets * ratio)


def excess_of_exp(d):
    """φ(d) = e^d - 1 - d >= 0 by its series, for |d| < NEAR.

    φ(d) = d²/2 + d³/6 + d⁴/24 + ... = d²/2 (1 + d/3 (1 + d/4 (1 + ...)))
    """
    series = ops.ones_like(d)
    for n in range(15, 2, -1):
        series = 1.0 + series * d / n
    return 0.5 * d * d * series


def sum_kl_terms(terms, targets, axis):
    """What the classes' shares add up to.

    Those of target 0 apart: each of 50,000 can be too small to change the share of the one class that has a target.

    s = Σ_k t_k φ(d_k)
    """
    absent = ops.equal(targets, 0)
    return ops.sum(ops.where(absent, 0.0, terms), axis=axis) + ops.sum(ops.where(absent, terms, 0.0), axis=axis)


def add_mass(sum_of_terms, mass, log_mass, axis):
    """The divergence.

    loss = s + m log m = Σ_k t_k log(t_k / p_k)
    """
    return sum_of_terms + ops.squeeze(mass * log_mass, axis)

"""Focal cross-entropy against distributions from probabilities, in one writing for every library of arrays.

With T = Σ p, q = p / T, c = min(max(q, ε), 1 - ε), s(q) the slope of log c as the saturated gradient has it, and

u_k = t_k ((1 - c_k)^γ s(q_k) - γ (1 - c_k)^(γ - 1) log c_k), of which the second is 0 where the clip stops the gradient:

loss = -Σ_k t_k (1 - c_k)^γ log c_k;  d loss / d p_k = (Σ_j u_j q_j - u_k) / T
"""

from .. import steps
from .probs_formula import Focus, Formula, inverse_slope, is_between
from .probs_shares import kept, reach_of, share, totals


def measure(lib, clip, probs, targets):
    """The losses; T, the factor and Σ_j u_j q_j, -u being the slope of a cost by q."""
    total, factor = totals(lib, probs)

    def costs(one, probs, targets, total, factor):
        clipped = lib.clip(share(probs, total, factor), *clip.bounds(one))
        return targets * (one - clipped) ** clip.gamma * lib.of.log(clipped)

    def pulls(one, probs, targets, reach, growth, total, factor):
        of_log = kept(lib, clip, one, probs, reach, total, factor)
        return targets * lib.arithmetic(by_arithmetic, by_choices)(one, probs, of_log, growth, total, factor)

    def by_arithmetic(one, probs, of_log, growth, total, factor):
        del factor
        prob = probs / growth * (one / total)  # not written as in the costs: XLA would write what two sums share
        clipped = lib.clip(prob, *clip.bounds(one))
        remainder = one - clipped
        passing = lib.clip(prob, 0.0 * one, float("inf")) if clip.flows else prob * of_log
        of_factor = (clip.gamma * one) * remainder ** (clip.gamma - 1.0) * lib.of.log(clipped)
        return remainder**clip.gamma * of_log - of_factor * passing

    def by_choices(one, probs, of_log, growth, total, factor):
        del one, growth
        prob = share(probs, total, factor)
        weight, of_factor = parts(lib, clip, prob)
        return weight * of_log + of_factor * prob

    losses = 0.0 - lib.summed(costs, probs, targets, total, factor)
    reach = reach_of(lib, clip, total, factor)
    return losses, (total, factor, lib.summed(pulls, probs, targets, reach, 1.0 / factor, total, factor))


def parts(lib, clip, prob):
    """(1 - c)^γ, and what its slope takes from that of a cost; with all derivatives, where there are any."""
    if lib.still is None:
        clipped = lib.clip(prob, *clip.bounds())
        remainder, log_prob = 1.0 - clipped, lib.of.log(clipped)
    else:
        clipped = steps.clip(prob, clip.low)
        remainder = 1.0 - steps.clipped_share(clipped, prob, clip.saturated_gradient)
        log_prob = clip.logarithm(steps.log, clipped, prob)
    passes = is_between(clip, prob) | (prob > 0.0) if clip.flows else is_between(clip, prob)
    of_factor = lib.of.where(passes, -clip.gamma * remainder ** (clip.gamma - 1.0) * log_prob, 0.0)
    return remainder**clip.gamma, of_factor


def slopes(lib, clip, measured, probs, targets):
    """d loss / d p."""
    total, factor, pull = measured
    prob = share(probs, total, factor)
    weight, of_factor = parts(lib, clip, prob)
    is_flat, inverse = inverse_slope(lib, clip, prob, prob)
    of_others = (pull - targets * of_factor) / total * factor
    return lib.of.where(is_flat, of_others, of_others - targets * weight / inverse / total * factor)


def target_slopes(lib, clip, measured, probs, targets):
    """d loss / d t."""
    del targets
    total, factor, _ = measured
    prob = share(probs, total, factor)
    clipped = steps.clip(prob, clip.low)
    remainder = 1.0 - steps.clipped_share(clipped, prob, clip.saturated_gradient)
    return 0.0 - remainder**clip.gamma * clip.logarithm(steps.log, clipped, prob)


FORMULA = Formula(measure, slopes, target_slopes, clip=Focus)

"""Cross-entropy against distributions from probabilities, in one writing for every library of arrays.

With T = Σ p, q = p / T, c = min(max(q, ε), 1 - ε), and s(q) the slope of log c as the saturated gradient has it:

loss = -Σ_k t_k log c_k;  d loss / d p_k = (Σ_j t_j s(q_j) q_j - t_k s(q_k)) / T
"""

from .. import steps
from .probs_formula import Formula, inverse_slope
from .probs_shares import kept, reach_of, share, totals


def measure(lib, clip, probs, targets):
    """The losses; T, the factor and Σ_j t_j s(q_j) q_j."""
    total, factor = totals(lib, probs)

    def log_likelihood(one, probs, targets, total, factor):
        return targets * lib.of.log(lib.clip(share(probs, total, factor), *clip.bounds(one)))

    def pull(one, probs, targets, reach, total, factor):
        return targets * kept(lib, clip, one, probs, reach, total, factor)

    losses = 0.0 - lib.summed(log_likelihood, probs, targets, total, factor)
    reach = reach_of(lib, clip, total, factor)
    return losses, (total, factor, lib.summed(pull, probs, targets, reach, total, factor))


def slopes(lib, clip, measured, probs, targets):
    """d loss / d p."""
    total, factor, pull = measured
    prob = share(probs, total, factor)
    is_flat, inverse = inverse_slope(lib, clip, prob, prob)
    # the choice comes last: what is arithmetic from a sum on, XLA's CPU leaves to its library, and writes what that cannot do
    return lib.of.where(is_flat, pull / total * factor, (pull - targets / inverse) / total * factor)


def target_slopes(lib, clip, measured, probs, targets):
    """d loss / d t."""
    del targets
    total, factor, _ = measured
    prob = share(probs, total, factor)
    return 0.0 - clip.logarithm(steps.log, steps.clip(prob, clip.low), prob)


FORMULA = Formula(measure, slopes, target_slopes)

"""The divergence of probabilities from probabilities, in one writing for every library of arrays.

With c and u the probabilities and targets, clipped to [ε, 1], and s(p) the slope of log c as the saturated gradient has it:

loss = Σ_k u_k (log u_k - log c_k);  d loss / d p_k = -u_k s(p_k), and -t_k s(p_k) where the clip of p binds
"""

from .. import steps
from .probs_formula import Formula, is_between, slope


def measure(lib, clip, probs, targets):
    """The losses; the slopes need nothing else."""

    def divergence(one, probs, targets):
        clipped_targets = lib.clip(targets, *clip.bounds(one))
        return clipped_targets * (lib.of.log(clipped_targets) - lib.of.log(lib.clip(probs, *clip.bounds(one))))

    return lib.summed(divergence, probs, targets), ()


def slopes(lib, clip, measured, probs, targets):
    """d loss / d p."""
    del measured
    clipped_targets = lib.of.where(targets < clip.low, clip.low, lib.of.where(targets > clip.high, clip.high, targets))
    seen = lib.of.where(is_between(clip, probs), clipped_targets, targets)
    return -seen * slope(lib, clip, probs, probs)


def target_slopes(lib, clip, measured, probs, targets):
    """d loss / d t."""
    del measured
    log_prob = clip.logarithm(steps.log, steps.clip_low(probs, clip.low), probs)
    value, moves = lib.still(log_prob), is_between(clip, targets)
    of_target = lib.of.where(moves, 1.0 + lib.of.log(lib.of.where(moves, targets, 1.0)) - value, 0.0)
    is_seen = moves | lib.of.logical_not(is_between(clip, probs))  # by the slope of a probability, see `steps`
    return of_target - lib.of.where(is_seen, log_prob - value, 0.0)


FORMULA = Formula(measure, slopes, target_slopes)

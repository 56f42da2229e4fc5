"""Cross-entropy of yes/no outputs from probabilities, in one writing for every library of arrays.

With c = min(max(p, ε), 1 - ε), s(p) the slope of log c as the saturated gradient has it, s(1 - p) that of log(1 - c) negated, w
the weight of a yes, n the outputs of a row:

loss = -Σ_i (w_i t_i log c_i + (1 - t_i) log(1 - c_i)) / n;  d loss / d p_i = ((1 - t_i) s(1 - p_i) - w_i t_i s(p_i)) / n
"""

from .. import steps
from .probs_formula import Formula, slope


def measure(lib, clip, probs, targets, weights):
    """The losses; the slopes need nothing else."""

    def log_likelihood(one, probs, targets, weights):
        clipped = lib.clip(probs, *clip.bounds(one))
        return weights * targets * lib.of.log(clipped) + (one - targets) * lib.of.log1p(-clipped)

    return (0.0 - lib.summed(log_likelihood, probs, targets, weights)) / probs.shape[-1], ()


def slopes(lib, clip, measured, probs, targets, weights):
    """d loss / d p."""
    del measured
    of_yes, of_no = slope(lib, clip, probs, probs), slope(lib, clip, probs, 1.0 - probs)
    return ((1.0 - targets) * of_no - weights * targets * of_yes) / probs.shape[-1]


def target_slopes(lib, clip, measured, probs, targets, weights):
    """d loss / d t."""
    del lib, measured, targets
    clipped = steps.clip(probs, clip.low)
    of_yes, of_no = (clip.logarithm(log, clipped, probs) for log in (steps.log, steps.log_complement))
    return (of_no - weights * of_yes) / probs.shape[-1]


FORMULA = Formula(measure, slopes, target_slopes, weighed=True)

"""Focal cross-entropy of yes/no outputs from probabilities, in one writing for every library of arrays.

With e what an answer costs, see `probs_answers`, and m = t (1 - p) + (1 - t) p, the probability of a mistake:

loss = Σ_i m_i^γ e_i / n;  d loss / d p_i = (m_i^γ d e_i / d p_i + γ m_i^(γ - 1) (1 - 2 t_i) e_i) / n
"""

from .. import steps
from . import probs_answers
from .probs_formula import Focus, Formula


def measure(lib, clip, probs, targets, weights):
    """The losses; the slopes need nothing else."""

    def log_likelihood(one, probs, targets, weights):
        clipped, of_no = lib.clip(probs, *clip.bounds(one)), one - targets
        mistake = targets * (one - probs) + of_no * probs
        return mistake**clip.gamma * (weights * targets * lib.of.log(clipped) + of_no * lib.of.log1p(-clipped))

    return (0.0 - lib.summed(log_likelihood, probs, targets, weights)) / probs.shape[-1], ()


def parts(lib, clip, probs, targets, weights):
    """m^γ, γ m^(γ - 1) and w t log c + (1 - t) log(1 - c), with all derivatives, where there are any."""
    if lib.still is None:
        clipped = lib.clip(probs, *clip.bounds())
        of_yes, of_no = lib.of.log(clipped), lib.of.log1p(-clipped)
    else:
        clipped = steps.clip(probs, clip.low)
        of_yes, of_no = (clip.logarithm(log, clipped, probs) for log in (steps.log, steps.log_complement))
    mistake = targets * (1.0 - probs) + (1.0 - targets) * probs
    return *powers(lib, mistake, clip.gamma), weights * targets * of_yes + (1.0 - targets) * of_no


def powers(lib, base, exponent):
    """b^γ and its slope, which is 0 where b is, unless γ is 1."""
    if exponent == 1.0:
        return base, lib.of.ones_like(base)
    if exponent == 2.0:
        return base * base, 2.0 * base
    is_nothing = (base >= 0.0) & (base < lib.tiny(base))
    safe = lib.of.where(is_nothing, 1.0, base)
    return [lib.of.where(is_nothing, 0.0, each) for each in (safe**exponent, exponent * safe ** (exponent - 1.0))]


def slopes(lib, clip, measured, probs, targets, weights):
    """d loss / d p."""
    factor, of_factor, log_likelihood = parts(lib, clip, probs, targets, weights)
    own = probs_answers.slopes(lib, clip, measured, probs, targets, weights) * factor
    return own - of_factor * (1.0 - 2.0 * targets) * log_likelihood / probs.shape[-1]


def target_slopes(lib, clip, measured, probs, targets, weights):
    """d loss / d t."""
    factor, of_factor, log_likelihood = parts(lib, clip, probs, targets, weights)
    of_costs = factor * probs_answers.target_slopes(lib, clip, measured, probs, targets, weights)
    return of_costs - of_factor * (1.0 - 2.0 * probs) * log_likelihood / probs.shape[-1]


FORMULA = Formula(measure, slopes, target_slopes, True, Focus)

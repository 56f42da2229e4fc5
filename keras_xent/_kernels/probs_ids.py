"""Cross-entropy against class ids from probabilities, in one writing for every library of arrays.

With T = Σ p, q = p / T, c = min(max(q, ε), 1 - ε), and s(q) the slope of log c as the saturated gradient has it:

loss = -log c_y;  d loss / d p_k = s(q_y) q_y / T, and s(q_y) (q_y - 1) / T of the target
"""

from .probs_formula import Formula, slope
from .probs_shares import share, totals


def measure(lib, clip, probs, ids):
    """The losses; T, the factor and q_y."""
    ids = ids[..., None]
    total, factor = totals(lib, probs)
    prob = share(lib.at(probs, ids), total, factor)
    return 0.0 - lib.of.log(lib.clip(prob, *clip.bounds())), (total, factor, prob)


def slopes(lib, clip, measured, probs, ids):
    """d loss / d p."""
    total, factor, prob = measured
    pull = slope(lib, clip, prob, prob) / total * factor
    return lib.placed(probs, ids[..., None], pull * (prob - 1.0), pull * prob)


FORMULA = Formula(measure, slopes)

"""The shares of a row's probabilities: q = p / T, with T = Σ p."""

from ..steps.probabilities import LARGE, SHRINK
from .probs_formula import inverse_slope, is_inside, slope


def totals(lib, probs):
    """T, infinite where there is nothing to divide, and a factor of the probabilities before, see `steps.renormalize`."""
    total = lib.summed(lambda _, probs: probs, probs)
    is_large = abs(total) > LARGE

    def of_less(probs, is_large, total):
        return lib.of.where(is_large, lib.summed(lambda one, probs: probs * (SHRINK * one), probs), total)

    total = lib.if_any(is_large, of_less, total, probs, is_large, total)
    factor = lib.of.where(is_large, SHRINK, lib.of.ones_like(total))
    nothing = abs(total) < lib.tiny(total)
    # by a quotient: numeric checks of TensorFlow object to a constant that is infinite
    infinite = 1.0 / lib.of.where(nothing, 0.0, lib.of.ones_like(total))
    return lib.of.where(nothing, infinite if lib.still is None else lib.still(infinite), total), factor


def share(probs, total, factor):
    """q."""
    return probs * factor / total


def reach_of(lib, clip, total, factor):
    """What a probability has to be multiplied with to be 1 where q is the least that has a slope of its own."""
    largest = 1.0 / lib.tiny(total)
    return lib.clip(factor / clip.floor / total, -largest, largest)


def kept(lib, clip, *rows):
    """s(q) q: 1 where the clip does not bind."""

    def by_arithmetic(one, probs, reach, total, factor):
        if clip.flows:
            return lib.clip(probs * reach, 0.0 * one, one)
        prob = share(probs, total, factor)
        return one - lib.of.sign(abs(prob - lib.clip(prob, *clip.bounds(one))))

    def by_choices(one, probs, reach, total, factor):
        del one, reach
        prob = share(probs, total, factor)
        if lib.still is not None:
            return lib.of.where(is_inside(clip, prob, prob), 1.0, prob * lib.still(slope(lib, clip, prob, prob)))
        is_flat, inverse = inverse_slope(lib, clip, prob, prob)
        return lib.of.where(is_flat, 0.0, prob / inverse)

    return lib.arithmetic(by_arithmetic, by_choices)(*rows)

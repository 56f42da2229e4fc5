"""Probabilities that are given as such: made to sum to 1, kept from 0 and 1, and logged."""

from keras import ops

from .tensors import constant, smallest_normal

SMOOTH = 2.0**-58  # from here on 1 / p² fits float32
LARGE = 2.0**96  # compilers multiply by the reciprocal of a row's number, which is to be none that they take for 0
SHRINK = 2.0**-32  # exact, and enough for the sum of billions of the largest numbers


def renormalize(probs, axis):
    """Scales `probs` so that they sum to 1 over `axis`; a row of zeros stays one.

    The derivative of a quotient divides by the square of the total, which underflows for a row of tiny numbers. So numerator
    and denominator are divided by a constant first, which leaves the value as it is: the denominator is then 1. A total below
    the smallest normal number is 0 to some backends, and 1 / total too large for the others; one that is large, or overflows,
    is taken of smaller numbers.

    q_k = p_k / Σ_j p_j
    """
    is_large = ops.absolute(ops.sum(ops.stop_gradient(probs), axis=axis, keepdims=True)) > LARGE
    probs = probs * ops.where(is_large, constant(SHRINK, probs), constant(1.0, probs))
    total = ops.sum(probs, axis=axis, keepdims=True)
    nothing = ops.absolute(total) < smallest_normal(total)
    scale = ops.where(nothing, 1.0, ops.stop_gradient(total))
    return ops.where(nothing, 0.0, (probs / scale) / ops.where(nothing, 1.0, total / scale))


def clip(probs, epsilon):
    """Keeps probabilities away from 0 and 1, so that their logarithms are finite.

    q_k = min(max(p_k, ε), 1 - ε)
    """
    low, high = constant(epsilon, probs), constant(1.0 - epsilon, probs)
    return ops.where(probs < low, low, ops.where(probs > high, high, probs))


def log(clipped, probs, saturated_gradient, slope_floor):
    """The logarithm of the clipped probability, with a gradient where the clip binds too (see `clipped_logarithm`).

    l_k = log q_k
    """
    return clipped_logarithm(ops.log, clipped, probs, probs, saturated_gradient, slope_floor)


def log_complement(clipped, probs, saturated_gradient, slope_floor):
    """The logarithm of the clipped probability's complement, with the same gradient at saturation as `log`.

    1 - q would be rounded to a multiple of 2**-24, so that a small loss would lose its digits; log1p takes q as it is.

    l = log(1 - q)
    """
    return clipped_logarithm(lambda q: ops.log1p(-q), clipped, probs, 1.0 - probs, saturated_gradient, slope_floor)


def clipped_logarithm(logarithm, clipped, probs, argument, saturated_gradient, slope_floor):
    """The `logarithm` of q, which is that of `argument` but for the clip.

    Where the clip binds, `saturated_gradient="flow"` gives the gradient of the unclipped logarithm of the argument a,
    1 / max(a, slope_floor) and 0 at a = 0; `"zero"` gives that of the clip. The second derivative is 0 there either way, and
    below 2**-58: 1 / a² would overflow.
    """
    inside = ops.equal(clipped, probs)
    if saturated_gradient == "flow":
        inside = ops.logical_and(inside, argument >= max(slope_floor, SMOOTH))
    value = logarithm(ops.where(inside, probs, ops.stop_gradient(clipped)))
    if saturated_gradient == "zero":
        return value
    floor, constant_argument = constant(slope_floor, probs), ops.stop_gradient(argument)
    slope = ops.where(constant_argument > 0, 1.0 / ops.where(constant_argument > floor, constant_argument, floor), 0.0)
    movement = ops.where(inside, 0.0, argument - constant_argument)  # 0, but not to the gradient
    return value + slope * movement

"""Generalised cross-entropy: between the cross-entropy and 1 - p, so that a wrong label pulls less."""

import math

from keras import ops

from .probabilities import log
from .tensors import FAR_BELOW

NEGLIGIBLE = 2.0**-54  # 1 - exp(-x) and x round to the same number of float64


def log_unclipped(target_prob, slope_floor):
    """The logarithm of a probability that is not clipped; its gradient is bounded as that of `log`, and 0 at p = 0.

    l = log p
    """
    impossible = ops.equal(target_prob, 0)
    possible = ops.where(impossible, 1.0, target_prob)
    return ops.where(impossible, FAR_BELOW, log(possible, possible, "flow", slope_floor))


def generalize(losses, q):
    """Bounds the loss by 1/q.

    Near 0 the difference would cancel; far from 0 the derivative of expm1 would, which is taken for expm1 + 1. A loss next to
    0 stays what it is: times q it might be taken for 0.

    loss ← (1 - exp(-q loss)) / q = (1 - p^q) / q
    """
    scaled = q * losses
    near, negligible = scaled < 0.5, ops.absolute(scaled) < NEGLIGIBLE
    bounded = ops.where(near, -ops.expm1(ops.where(near, -scaled, 0.0)), 1.0 - raise_target_prob(losses, q)) / q
    return ops.where(negligible, losses, bounded)


def raise_target_prob(losses, q):
    """A power of the probability that a loss stands for, without the rounding of q · loss, which the exponential enlarges.

    Eight bits of q times the whole part of the loss, of at most sixteen, are exact; what is left is small.

    p^q = exp(-q loss)
    """
    mantissa, power_of_2 = math.frexp(q)
    coarse = math.ldexp(round(256 * mantissa), power_of_2 - 8)
    whole = ops.cast(ops.floor(ops.stop_gradient(losses)), losses.dtype)  # PyTorch's is rounded to float32
    whole = ops.where(losses < 2.0**16, whole, 0.0)
    return ops.exp(-coarse * whole) * ops.exp(-((q - coarse) * whole + q * (losses - whole)))

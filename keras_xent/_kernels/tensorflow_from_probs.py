"""Losses from probabilities, on TensorFlow: the formulas of `from_probs`."""

import functools

import tensorflow as tf
from keras import ops

from . import from_probs, numpy_from_probs
from .probs_formula import Library
from .tensorflow_rows import RowLosses, at, places, serves, summed


def clip(values, low, high):
    """min(max(v, low), high); of NaN, which has neither to XLA's CPU, it is NaN."""
    return tf.where(values < low, low, tf.where(values > high, high, values))


def placed(like, ids, one, others):
    """Rows with `one` where the ids say, and `others` elsewhere."""
    return tf.where(places(like, ids) == ids, one, others)


TENSORFLOW = Library(
    ops,
    summed=lambda element, *rows: summed(functools.partial(element, 1.0), *rows),
    at=at,
    placed=placed,
    if_any=lambda condition, careful, otherwise, *rows: careful(*rows),
    clip=clip,
    tiny=lambda _: 2.0**-126,
    still=tf.stop_gradient,
)


def losses_of(name, clip, plain):
    """A function of probabilities, targets and weights."""
    del plain
    return differentiable(name, clip)


@functools.lru_cache(64)
def differentiable(name, clip):
    """The same, once for each clip."""
    formula = from_probs.FORMULAS[name]

    def measure(*rows):
        losses, measured = formula.measure(TENSORFLOW, clip, *rows)
        return losses, *measured

    def by(slopes):
        return slopes and (lambda upstream, measured, *rows: upstream * slopes(TENSORFLOW, clip, measured, *rows))

    def few(probs, targets, *weights):
        return numpy_from_probs.WORK[name](probs, targets, *clip.numbers, *weights)

    return RowLosses(measure, (by(formula.slopes), by(formula.target_slopes), *[None] * formula.weighed), few)


(
    BINARY_FROM_PROBS,
    BINARY_FOCAL_FROM_PROBS,
    DENSE_FROM_PROBS,
    FOCAL_FROM_PROBS,
    KL_FROM_PROBS,
    SPARSE_FROM_PROBS,
) = from_probs.kernels_of(losses_of, functools.partial(serves, logits="probs"))

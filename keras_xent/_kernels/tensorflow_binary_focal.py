"""Focal cross-entropy of yes/no outputs from logits, on TensorFlow.

With e the cost of an output as in `tensorflow_binary`, c the probability of a mistake, n the outputs of a row:

loss = Σ c^γ e / n,  c = t σ(-z) + (1 - t) σ(z);  d loss / dz = (c^γ e' + γ c^(γ - 1) c' e) / n,  c' = (1 - 2 t) σ(z) σ(-z)
"""

import functools

import tensorflow as tf

from . import numpy_binary_focal
from .exponents import serves_exponent
from .shortcuts import Kernel
from .tensorflow_binary import cost, sigmoid, slope_of_cost, slope_of_cost_by_target
from .tensorflow_powers import raised, slope_of_power
from .tensorflow_rows import RowLosses, serves, summed


def measure(gamma, logits, targets, pos_weight):
    """The losses; their gradient needs nothing else."""

    def focal_cost(logits, targets, pos_weight):
        return raised(mistake(logits, targets), gamma) * cost(logits, targets, pos_weight)

    return (summed(focal_cost, logits, targets, pos_weight) / logits.shape[-1],)


def mistake(logits, targets):
    """c."""
    yes, no = sigmoid(logits)
    return targets * no + (1.0 - targets) * yes


def slope_of_factor(gamma, slope, logits, targets, pos_weight):
    """γ c^(γ - 1) c' e, which is 0 at an infinite cost."""
    expected = cost(logits, targets, pos_weight)
    is_finite = tf.math.is_finite(expected)
    return tf.where(is_finite, slope_of_power(mistake(logits, targets), gamma) * slope * tf.where(is_finite, expected, 0.0), 0.0)


def slopes(gamma, upstream, measured, logits, targets, pos_weight):
    """d loss / dz."""
    del measured
    given = logits, targets, pos_weight
    yes, no = sigmoid(logits)
    of_factor = slope_of_factor(gamma, (1.0 - 2.0 * targets) * yes * no, *given)
    return upstream / logits.shape[-1] * (raised(mistake(logits, targets), gamma) * slope_of_cost(*given) + of_factor)


def target_slopes(gamma, upstream, measured, logits, targets, pos_weight):
    """d loss / dt."""
    del measured
    given = logits, targets, pos_weight
    yes, no = sigmoid(logits)
    of_factor = slope_of_factor(gamma, no - yes, *given)
    return upstream / logits.shape[-1] * (raised(mistake(logits, targets), gamma) * slope_of_cost_by_target(*given) + of_factor)


@functools.cache
def differentiable(gamma):
    """The function of logits, targets and the weight of a yes."""
    by_argument = functools.partial(slopes, gamma), functools.partial(target_slopes, gamma), None

    def few(logits, targets, pos_weight):
        return numpy_binary_focal.work(logits, targets, gamma, pos_weight)

    return RowLosses(functools.partial(measure, gamma), by_argument, few)


def binary_focal_losses(logits, targets, pos_weight, gamma):
    """The mean focal cross-entropy of each row's outputs: all steps at once.

    loss = Σ c^γ (w t softplus(-z) + (1 - t) softplus(z)) / n
    """
    return differentiable(gamma)(logits, targets, pos_weight)


BINARY_FOCAL = Kernel(binary_focal_losses, lambda quantities: serves(quantities) and serves_exponent(quantities), widens=True)

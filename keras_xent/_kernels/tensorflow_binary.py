"""Cross-entropy of yes/no outputs from logits, on TensorFlow.

With L = log1p(exp(-|z|)), w the weight of a yes, n the outputs of a row:

loss = Σ (w t (max(-z, 0) + L) + (1 - t) (max(z, 0) + L)) / n;  d loss / dz = ((1 - t) σ(z) - w t σ(-z)) / n

Nothing cancels. An answer with target 0 contributes nothing, even at an infinite logit.
"""

import tensorflow as tf

from . import numpy_binary
from .shortcuts import Kernel
from .tensorflow_rows import RowLosses, serves, summed


def measure(logits, targets, pos_weight):
    """The losses; their gradient needs nothing else."""
    return (summed(cost, logits, targets, pos_weight) / logits.shape[-1],)


def cost(logits, targets, pos_weight):
    """What an answer costs."""
    of_yes, of_no = costs_of_answers(logits, pos_weight)
    return tf.math.multiply_no_nan(of_yes, targets) + tf.math.multiply_no_nan(of_no, 1.0 - targets)


def costs_of_answers(logits, pos_weight):
    """What a yes and what a no would cost."""
    near_zero = tf.math.log1p(power(logits))
    of_yes = pos_weight * (tf.where(logits > 0.0, 0.0, -logits) + near_zero)
    return of_yes, tf.where(logits > 0.0, logits, 0.0) + near_zero


def power(logits):
    """exp(-|z|), not of |z| itself, which has no second derivative at 0."""
    return tf.exp(tf.where(logits > 0.0, -logits, logits))


def sigmoid(logits):
    """The probabilities of a yes and of a no, exact at both ends."""
    positive, smaller = logits > 0.0, power(logits)
    scale = 1.0 / (1.0 + smaller)
    return tf.where(positive, 1.0, smaller) * scale, tf.where(positive, smaller, 1.0) * scale


def slope_of_cost(logits, targets, pos_weight):
    """(1 - t) σ(z) - w t σ(-z)."""
    yes, no = sigmoid(logits)
    return (1.0 - targets) * yes - pos_weight * targets * no


def slope_of_cost_by_target(logits, targets, pos_weight):
    """What a yes costs more than a no; of infinite costs of an answer that is no target nothing."""
    of_yes, of_no = costs_of_answers(logits, pos_weight)
    of_yes = tf.where((targets == 0.0) & tf.math.is_inf(of_yes), 0.0, of_yes)
    return of_yes - tf.where((targets == 1.0) & tf.math.is_inf(of_no), 0.0, of_no)


def slopes(upstream, measured, logits, targets, pos_weight):
    """d loss / dz."""
    del measured
    return slope_of_cost(logits, targets, pos_weight) * (upstream / logits.shape[-1])


def target_slopes(upstream, measured, logits, targets, pos_weight):
    """d loss / dt."""
    del measured
    return slope_of_cost_by_target(logits, targets, pos_weight) * (upstream / logits.shape[-1])


differentiable = RowLosses(measure, (slopes, target_slopes, None), numpy_binary.work)


def binary_losses(logits, targets, pos_weight):
    """The mean cross-entropy of each row's outputs: all steps at once.

    loss = Σ (w t softplus(-z) + (1 - t) softplus(z)) / n
    """
    return differentiable(logits, targets, pos_weight)


BINARY = Kernel(binary_losses, serves, widens=True)

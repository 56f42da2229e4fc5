"""Cross-entropy against distributions from logits, on TensorFlow.

With m the largest logit, S = Σ_k exp(z_k - m), M = Σ_k t_k:

loss = Σ_k t_k (m - z_k) + M log S;  d loss / dz_k = M exp(z_k - m) / S - t_k;  d loss / dt_k = m - z_k + log S

Where S < 2 there is one top class, which has most of the prediction, and r = S - 1 is summed without it: log S is log1p(r). If it
also has most of the target, its gradient is U - M r / S, U being the other classes' targets: 1 is not taken from 1.
"""

import tensorflow as tf

from . import numpy_dense
from .shortcuts import Kernel
from .tensorflow_rows import RowLosses, largest, log_denominator, serves, summed_together, sums


def measure(logits, targets):
    """The losses; m, M, U, S, r and log S."""
    top_logit, mass = largest(logits), sums(targets)
    total, others, log_total = log_denominator(tf.subtract, logits, top_logit)
    height, rest = summed_together(height_and_rest, logits, targets, top_logit)
    return mass * log_total - height, top_logit, mass, rest, total, others, log_total


def height_and_rest(logits, targets, top_logit):
    """t_k (z_k - m), of a class with target 0 nothing, even at logit -inf; and t_k of a class that is not at the top."""
    heights = logits - top_logit
    return tf.math.multiply_no_nan(heights, targets), tf.where(heights < 0.0, targets, 0.0)


def slopes(upstream, measured, logits, targets):
    """d loss / dz."""
    top_logit, mass, rest, total, others, _ = measured
    leads = (logits >= top_logit) & (total < 2.0) & (2.0 * targets > mass)
    of_leader = rest - mass * others / total
    return upstream * tf.where(leads, of_leader, tf.exp(logits - top_logit) * (mass / total) - targets)


def target_slopes(upstream, measured, logits, targets):
    """d loss / dt; of an impossible class without target 0."""
    top_logit, *_, log_total = measured
    costs = top_logit - logits + log_total
    return upstream * tf.where((targets == 0) & tf.math.is_inf(costs), 0.0, costs)


differentiable = RowLosses(measure, (slopes, target_slopes), numpy_dense.work)


def dense_losses(logits, targets):
    """The expected -log p under the targets: all steps at once.

    loss = Σ_k t_k (m - z_k) + (Σ_k t_k) log S
    """
    return differentiable(logits, targets)


DENSE = Kernel(dense_losses, serves, widens=True)

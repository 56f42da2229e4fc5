"""Cross-entropy against class ids from logits, on TensorFlow.

With y the target, m the largest logit, r = Σ_{k ≠ y} exp(z_k - m), e = exp(z_y - m):

loss = m - z_y + log(r + e);  d loss / d z_k = exp(z_k - m) / (r + e), and -r / (r + e) for the target
"""

import tensorflow as tf

from . import numpy_sparse
from .shortcuts import Kernel
from .tensorflow_rows import RowLosses, at, largest, places, serves, summed


def measure(logits, labels):
    """The losses, the largest logits, the gaps between them and the targets', the sums of the others."""
    target, top_logit = tf.expand_dims(labels, -1), largest(logits)
    gap = top_logit - at(logits, target)
    others = summed(power_of_others, logits, places(logits, target), target, top_logit)
    return gap + tf.math.log1p(others + tf.math.expm1(-gap)), top_logit, gap, others


def power_of_others(logits, place, target, top_logit):
    """exp(z_k - m), and 0 for the target."""
    return tf.where(place == target, 0.0, tf.exp(logits - top_logit))


def slopes(upstream, measured, logits, labels):
    """d loss / d z."""
    target, (top_logit, gap, others) = tf.expand_dims(labels, -1), measured
    scale = upstream / (others + tf.exp(-gap))
    return tf.where(places(logits, target) == target, -others, tf.exp(logits - top_logit)) * scale


differentiable = RowLosses(measure, (slopes, None), numpy_sparse.work)


def sparse_losses(logits, labels):
    """-log p of the target class: all steps at once.

    loss = g + log1p(r + expm1(-g)),  g = m - z_y
    """
    return differentiable(logits, labels)


SPARSE = Kernel(sparse_losses, serves, widens=True)

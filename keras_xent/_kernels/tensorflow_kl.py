"""The divergence of a student from a teacher, both tempered, on TensorFlow.

With p and q the softmax of the teacher's and of the student's logits over T, and d_k = log q_k - log p_k:

loss = Σ_k p_k φ(d_k) = Σ_k (q_k - p_k - p_k d_k),  φ(d) = e^d - 1 - d;  d loss / d s_k = (q_k - p_k) / T

Where D is not small, -Σ_k p_k d_k takes one exponential per class less. A class that has most of both has the gradient
(r_R - r_S) / (S R) / T, with S and R the softmax denominators of student and teacher and r the sums without it.
"""

import numpy as np
import tensorflow as tf

from . import numpy_kl
from .shortcuts import Kernel
from .tensorflow_rows import RowLosses, largest, log_denominator, serves, summed, sums_parts

CLOSE = 2.0**-4  # smaller divergences would be differences of larger numbers
NEAR = 0.5  # closer than this to the teacher, q - p - p d would cancel; the series is exact in float32 up to here


def measure(student, teacher, scale):
    """The divergences; of student and teacher the largest logits, the softmax denominators, the same without the top class."""
    of_student, of_teacher = denominator(student, scale), denominator(teacher, scale)
    return divergence(student, teacher, scale, of_student, of_teacher), *of_student, *of_teacher


def divergence(student, teacher, scale, of_student, of_teacher):
    """Σ_k p_k φ(d_k); of many logits, where it is not small, what is left of the sum when Σ_k (q_k - p_k) = 0 is left out."""

    def share_of_class(student, teacher):
        return share(log_softmax(student, scale, *of_student), log_softmax(teacher, scale, *of_teacher))

    if not sums_parts(student):
        return summed(share_of_class, student, teacher)
    expected = expected_gap(student, teacher, scale, of_student, of_teacher)
    constant, *logits = map(tf.stop_gradient, (expected, student, teacher))
    is_plain = (constant > CLOSE) & (constant < float("inf"))

    def where_needed():
        return tf.where(is_plain, constant, summed(share_of_class, *logits))

    value = tf.stop_gradient(tf.cond(tf.reduce_all(is_plain), lambda: constant, where_needed))
    # TensorFlow cannot differentiate a condition everywhere; both sides are the same function, with the same derivatives.
    return value + tf.where(constant < float("inf"), expected - constant, 0.0)


def expected_gap(student, teacher, scale, of_student, of_teacher):
    """-Σ_k p_k d_k."""
    (top, total, *_), (teacher_top, teacher_total, *_) = of_student, of_teacher

    def gap(student, teacher):
        height, teacher_height = (student - top) * scale, (teacher - teacher_top) * scale
        return tf.math.multiply_no_nan(teacher_height - height, tf.exp(teacher_height))

    return summed(gap, student, teacher) / teacher_total + tf.math.log(total / teacher_total)


def denominator(logits, scale):
    """The largest logit m, Σ exp((z_k - m) / T), the same without a top class that has most of it, and the logarithm."""
    top_logit = largest(logits)
    return top_logit, *log_denominator(lambda logits: (logits - top_logit) * scale, logits)


def log_softmax(logits, scale, top_logit, total, others, log_total):
    """log p_k."""
    del total, others
    return (logits - top_logit) * scale - log_total


def share(log_q, log_p):
    """p φ(d), 0 where there is no p."""
    q, p = tf.exp(log_q), tf.exp(log_p)
    ratio = tf.where(p > 0.0, log_q - tf.where(p > 0.0, log_p, 0.0), 0.0)
    is_near = (p > 0.0) & (tf.abs(ratio) < NEAR)
    return tf.where(is_near, p * excess_of_exp(ratio), q - p - p * tf.where(is_near, 0.0, ratio))


def excess_of_exp(d):
    """φ(d) = d²/2 (1 + d/3 (1 + d/4 (1 + ...))), to the precision of float32 for |d| up to NEAR."""
    series = tf.ones_like(d)
    for n in range(9, 2, -1):
        series = 1.0 + series * d * (1.0 / n)
    return 0.5 * d * d * series


def slopes(upstream, measured, student, teacher, scale):
    """d loss / d s."""
    top, total, others, _, teacher_top, teacher_total, teacher_others, _ = measured
    leads = (student >= top) & (teacher >= teacher_top) & (total < 2.0) & (teacher_total < 2.0)
    power, teacher_power = tf.exp((student - top) * scale), tf.exp((teacher - teacher_top) * scale)
    of_leader = (power * teacher_others - others) / (total * teacher_total)
    return upstream * scale * tf.where(leads, of_leader, power * (1.0 / total) - teacher_power * (1.0 / teacher_total))


def few(student, teacher, scale):
    """The losses and slopes of a few numbers."""
    return numpy_kl.work(student, teacher, 1.0 / np.float64(scale))


differentiable = RowLosses(measure, (slopes, None, None), few)


def kl_losses(soft_logits, soft_targets, temperature):
    """KL(softmax(t / T), softmax(s / T)): all steps at once.

    loss = Σ_k p_k φ(d_k)
    """
    return differentiable(soft_logits, tf.stop_gradient(soft_targets), tf.constant(1.0 / temperature, tf.float32))


def is_served(quantities):
    """Whether the temperature is a number, too: a tensor may want a gradient."""
    return serves(quantities, "soft_logits", "soft_targets") and not tf.is_tensor(quantities["temperature"])


KL = Kernel(kl_losses, is_served, gives="divergence")

"""The divergence of a student from a teacher, both tempered, on TensorFlow.

With p and q the softmax of the teacher's and of the student's logits over T, and d_k = log q_k - log p_k:

loss = Σ_k p_k φ(d_k) = Σ_k (q_k - p_k - p_k d_k),  φ(d) = e^d - 1 - d;  d loss / d s_k = (q_k - p_k) / T

Where both are sure of the same class, its gradient is what those of the others add up to, negated.
"""

import tensorflow as tf

from .shortcuts import Kernel
from .tensorflow_rows import RowLosses, largest, log_denominator, serves, summed

NEAR = 0.5  # closer than this to the teacher, q - p - p d would cancel; the series is exact in float32 up to here


def measure(student, teacher, scale):
    """The divergences; the softmax denominators of both; by how much q exceeds p outside the class that both are sure of."""
    of_student, of_teacher = denominator(student, scale), denominator(teacher, scale)
    q, p, ratio, near = compared(student, teacher, scale, of_student, of_teacher)
    terms = tf.where(near, 0.5 * p * ratio * ratio * series(ratio, 3), q - p - p * tf.where(near, 0.0, ratio))
    is_sure = both_are_sure(student, teacher, of_student, of_teacher)
    excess = summed(tf.where(is_sure, 0.0, difference(q, p, ratio, near)))
    return summed(terms), *of_student, *of_teacher, excess


def denominator(logits, scale):
    """The largest logit m, Σ exp((z_k - m) / T), the same without a top class that has most of it, and the logarithm."""
    top_logit = largest(logits)
    return top_logit, *log_denominator((logits - top_logit) * scale)


def compared(student, teacher, scale, of_student, of_teacher):
    """q, p, d, or 0 where there is no p, and whether q is near p."""
    q, log_q = softmax(student, scale, *of_student)
    p, log_p = softmax(teacher, scale, *of_teacher)
    present = p > 0.0
    ratio = tf.where(present, log_q - tf.where(present, log_p, 0.0), 0.0)
    return q, p, ratio, present & (tf.abs(ratio) < NEAR)


def softmax(logits, scale, top_logit, total, others, log_total):
    """The probabilities and their logarithms."""
    del others
    heights = (logits - top_logit) * scale
    return tf.exp(heights) * (1.0 / total), heights - log_total


def difference(q, p, ratio, near):
    """q - p, with the digits that d has."""
    return tf.where(near, p * ratio * series(ratio, 2), q - p)


def both_are_sure(student, teacher, of_student, of_teacher):
    """Whether a class has most of both."""
    (top, total, *_), (teacher_top, teacher_total, *_) = of_student, of_teacher
    return (student >= top) & (teacher >= teacher_top) & (total < 2.0) & (teacher_total < 2.0)


def series(d, first):
    """1 + d/n (1 + d/(n + 1) (1 + ...)) from the first n: e^d - 1 = d (1 + d/2 (...)), φ(d) = d²/2 (1 + d/3 (...))."""
    value = tf.ones_like(d)
    for n in range(9, first - 1, -1):
        value = 1.0 + value * d / n
    return value


def slopes(upstream, measured, student, teacher, scale):
    """d loss / d s."""
    *both, excess = measured
    of_student, of_teacher = both[:4], both[4:]
    compare = compared(student, teacher, scale, of_student, of_teacher)
    is_sure = both_are_sure(student, teacher, of_student, of_teacher)
    return upstream * scale * tf.where(is_sure, -excess, difference(*compare))


differentiable = RowLosses(measure, (slopes, None, None))


def kl_losses(soft_logits, soft_targets, temperature):
    """KL(softmax(t / T), softmax(s / T)): all steps at once.

    loss = Σ_k p_k φ(d_k)
    """
    return differentiable(soft_logits, tf.stop_gradient(soft_targets), tf.constant(1.0 / temperature, tf.float32))


def is_served(quantities):
    """Whether the temperature is a number, too: a tensor may want a gradient."""
    return serves(quantities, "soft_logits", "soft_targets") and not tf.is_tensor(quantities["temperature"])


KL = Kernel(kl_losses, is_served, gives="divergence")

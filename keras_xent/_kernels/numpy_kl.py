"""The divergence of a student from a teacher, both tempered, from a few logits, in NumPy and float64.

With p and q the softmax of the teacher's and of the student's logits over T, and d_k = log q_k - log p_k:

loss = Σ_k p_k φ(d_k),  φ(d) = expm1(d) - d;  d loss / d s_k = p_k expm1(d_k) / T = (q_k - p_k) / T

A class that both are sure of has the slope that the others' add up to, negated.
"""

import numpy as np

from .numpy_rows import balance, quietly

FLOOR = -600.0  # exp(d) is finite in float64 for d down to here, and what has less than exp(-600) has nothing


@quietly
def work(student, teacher, temperature):
    """The losses and their slopes."""
    heights, teacher_heights = tempered(student, temperature), np.maximum(tempered(teacher, temperature), FLOOR)
    impossible = np.isneginf(heights)
    if impossible.any():  # what both rule out differs by nothing
        heights[impossible & (teacher_heights == FLOOR)] = FLOOR
    probs = np.exp(teacher_heights)
    teacher_total, total = probs.sum(-1, keepdims=True), np.exp(heights).sum(-1, keepdims=True)
    probs /= teacher_total
    log_ratios = heights - teacher_heights + np.log(teacher_total / total)
    differences = np.expm1(log_ratios)  # q / p - 1
    losses = (probs * (differences - log_ratios)).sum(-1)
    slopes = probs * differences
    balance(slopes, teacher_heights.argmax(-1), True)
    return losses.astype(student.dtype), (slopes / temperature).astype(student.dtype)


def tempered(logits, temperature):
    """(z_k - m) / T."""
    logits = logits.astype("float64")
    return (logits - logits.max(-1, keepdims=True)) / temperature

"""How far a student is from its teacher: one recipe per divergence.

Each starts from `teacher` and `teacher_log_probs` (both tempered) and from `tempered_student`, and ends in `divergence`: nats,
one per example.
"""

from keras import ops

from .. import steps
from .._recipe import Step
from ..losses._common import below_top

NEAR = 0.5  # closer than this to the teacher, q - p - p d would cancel; the series is exact in float64 up to here


def measure_kl_terms(teacher, teacher_log_probs, student_log_probs):
    """Each class's share of the divergence: at least 0, and as exact as d_k is, however close the two are.

    q_k - p_k - p_k d_k = p_k φ(d_k),  d_k = log q_k - log p_k,  φ(d) = e^d - 1 - d
    """
    present, student = teacher > 0, ops.exp(student_log_probs)
    ratio = ops.where(present, student_log_probs - ops.where(present, teacher_log_probs, 0.0), 0.0)
    near = ops.logical_and(present, ops.absolute(ratio) < NEAR)
    return ops.where(near, teacher * excess_of_exp(ops.where(near, ratio, 0.0)), student - teacher - teacher * ratio)


def excess_of_exp(d):
    """φ(d) = e^d - 1 - d >= 0 by its series, for |d| < NEAR.

    φ(d) = d²/2 + d³/6 + d⁴/24 + ... = d²/2 (1 + d/3 (1 + d/4 (1 + ...)))
    """
    series = ops.ones_like(d)
    for n in range(15, 2, -1):
        series = 1.0 + series * d / n
    return 0.5 * d * d * series


def sum_terms(terms, mass, axis):
    """KL(teacher ‖ student); 0 for a row in which the teacher says nothing.

    D = Σ_k q_k - p_k - p_k (log q_k - log p_k) = Σ_k p_k log(p_k / q_k)
    """
    return ops.sum(mass * terms, axis=axis)


def weigh_teacher(teacher, mass):
    """Leaves out a row in which the teacher says nothing.

    t_k = p_k
    """
    return mass * teacher


DIVERGENCES = {
    "kl": (
        *below_top("tempered_student", leads="no_lead"),
        Step("student_log_probs", steps.log_softmax),
        Step("terms", measure_kl_terms),
        Step("divergence", sum_terms),
    ),
    "crossentropy": (
        Step("targets", weigh_teacher),
        *below_top("tempered_student"),
        Step("divergence", steps.expect_loss),
    ),
}

"""How far a student is from its teacher: one recipe per divergence.

Each starts from `teacher` and `teacher_log_probs` (both tempered) and from `tempered_student`, and ends in `divergence`: nats,
one per example.
"""

from keras import ops

from .. import steps
from .._recipe import Step
from ..losses._common import below_top

NEAR = 0.25  # below it, the difference e^d - 1 - d would cancel, and ten terms of its series are exact in float64


def measure_kl_terms(teacher, teacher_log_probs, student_log_probs):
    """Each class's share of the divergence; never negative, and exact when the two agree closely.

    p_k φ(d_k) = q_k - p_k - p_k d_k,  d_k = log q_k - log p_k,  φ(d) = e^d - 1 - d;  q_k where p_k = 0
    """
    present = teacher > 0
    ratio = ops.where(present, student_log_probs - ops.where(present, teacher_log_probs, 0.0), 0.0)
    return ops.where(present, teacher * excess_of_exp(ratio), ops.exp(student_log_probs))


def excess_of_exp(d):
    """φ(d) = e^d - 1 - d >= 0, by its series where the difference would cancel.

    φ(d) = d²/2 + d³/6 + d⁴/24 + ...
    """
    near = ops.absolute(d) < NEAR
    small = ops.where(near, d, 0.0)
    series = ops.ones_like(d)
    for n in range(12, 2, -1):
        series = 1.0 + series * small / n
    return ops.where(near, 0.5 * small * small * series, ops.expm1(ops.where(near, 1.0, d)) - d)


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

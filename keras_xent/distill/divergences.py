"""How far a student is from its teacher: one recipe per divergence.

Each starts from `teacher` and `teacher_log_probs` (both tempered) and from `tempered_student`, and ends in `divergence`: nats,
one per example.
"""

from .. import steps
from .._recipe import Step
from ..losses._common import below_top


def leave_out(values, mass):
    """What is computed of a row in which the teacher says nothing is 0.

    v_k ← 0 if p_k = 0 for all k
    """
    return mass * values


KL_TERMS = {
    "targets": "teacher",
    "log_targets": "teacher_log_probs",
    "log_probs": "student_log_probs",
    "probs": "student_probs",
}
DIVERGENCES = {
    "kl": (
        *below_top("tempered_student", leads="no_lead"),
        Step("student_log_probs", steps.log_softmax),
        Step("student_probs", steps.softmax),
        Step("terms", steps.measure_kl_terms, **KL_TERMS),
        Step("terms", leave_out, values="terms"),
        Step("divergence", steps.sum_kl_terms, targets="teacher"),
    ),
    "crossentropy": (
        Step("targets", leave_out, values="teacher"),
        *below_top("tempered_student"),
        Step("divergence", steps.expect_loss),
    ),
}

"""How far a student is from its teacher: one recipe per divergence.

Each starts from `teacher` and `teacher_log_probs` (both tempered) and from `tempered_student`, and ends in `divergence`: nats,
one per example.
"""

import math

from keras import ops

from .. import steps
from .._recipe import Step
from ..losses._common import below_top


def leave_out(values, mass):
    """What is computed of a row in which the teacher says nothing is 0.

    v_k ← 0 if p_k = 0 for all k
    """
    return mass * values


def mix_distributions(teacher, student_probs, beta):
    """A distribution between the two.

    m_k = β p_k + (1 - β) q_k
    """
    return beta * teacher + (1.0 - beta) * student_probs


def mix_log_probs(teacher_log_probs, student_log_probs, beta):
    """The logarithm of the mixture, also where both probabilities underflow.

    log m_k = log(exp(log β + log p_k) + exp(log(1 - β) + log q_k))
    """
    one, other = math.log(beta) + teacher_log_probs, math.log1p(-beta) + student_log_probs
    swap = other > one
    larger, smaller = ops.where(swap, other, one), ops.where(swap, one, other)
    impossible = ops.isinf(larger)
    gap = ops.where(impossible, 0.0, smaller - ops.where(impossible, 0.0, larger))
    return ops.where(impossible, larger, larger + ops.log1p(ops.exp(gap)))


def mix_terms(teacher_terms, student_terms, beta):
    """Each class's share of how far both are from their mixture.

    β p_k φ(log m_k - log p_k) + (1 - β) q_k φ(log m_k - log q_k)
    """
    return beta * teacher_terms + (1.0 - beta) * student_terms


TEACHER = {"targets": "teacher", "log_targets": "teacher_log_probs"}
STUDENT = {"log_probs": "student_log_probs", "probs": "student_probs"}
STUDENT_SOFTMAX = (Step("student_log_probs", steps.log_softmax), Step("student_probs", steps.softmax))
# Where the student's probabilities weigh the terms, those of its top class cancel in its gradient unless it leads.
SOFTMAX_OF_WEIGHTS = (*below_top("tempered_student", leads="top_leads"), *STUDENT_SOFTMAX)
LEAVE_OUT = Step("terms", leave_out, values="terms")
AS_TARGETS = {"targets": "student_probs", "log_targets": "student_log_probs"}
MIXTURE = {"log_probs": "log_mixture", "probs": "mixture"}
DIVERGENCES = {
    "kl": (
        *below_top("tempered_student", leads="no_lead"),
        *STUDENT_SOFTMAX,
        Step("terms", steps.measure_kl_terms, **TEACHER, **STUDENT),
        LEAVE_OUT,
        Step("divergence", steps.sum_kl_terms, targets="teacher"),
    ),
    "reverse_kl": (
        *SOFTMAX_OF_WEIGHTS,
        Step("terms", steps.measure_kl_terms, **AS_TARGETS, log_probs="teacher_log_probs", probs="teacher"),
        LEAVE_OUT,
        Step("divergence", steps.sum_kl_terms, targets="student_probs"),
    ),
    "jsd": (
        *SOFTMAX_OF_WEIGHTS,
        Step("mixture", mix_distributions),
        Step("log_mixture", mix_log_probs),
        Step("teacher_terms", steps.measure_kl_terms, **TEACHER, **MIXTURE),
        Step("student_terms", steps.measure_kl_terms, **AS_TARGETS, **MIXTURE),
        Step("terms", mix_terms),
        LEAVE_OUT,
        Step("divergence", steps.sum_kl_terms, targets="mixture"),
    ),
    "crossentropy": (
        Step("targets", leave_out, values="teacher"),
        *below_top("tempered_student"),
        Step("divergence", steps.expect_loss),
    ),
}

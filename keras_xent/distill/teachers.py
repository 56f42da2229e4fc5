"""From what a teacher left behind to its tempered distribution: one recipe per form.

Each starts from `soft_targets` (a top-k from what `split_pairs` made of them, and from `tempered_student`, which it may replace
by the student as that teacher sees it) and ends in `teacher` and `teacher_log_probs`; `mass` is 1, or 0 for rows of zero
probabilities, in which the teacher says nothing.
"""

from keras import ops

from .. import steps
from .._recipe import Step
from ..losses._common import below_top
from .top_k import TAIL_RECIPES


def find_mass(soft_targets, axis):
    """Whether a row holds a teacher at all.

    1, or 0 if p_k = 0 for all k
    """
    return ops.cast(ops.any(soft_targets != 0, axis=axis, keepdims=True), soft_targets.dtype)


def take_log(soft_targets, mass):
    """The logarithm of a teacher's probabilities, which stand in for its logits: p^(1/T) / Σ p^(1/T) = softmax(log p / T).

    z_k = log p_k
    """
    return ops.log(ops.where(ops.equal(mass, 0), 1.0, soft_targets))


def assume_mass():
    """A softmax always says something.

    1
    """
    return 1.0


def take_logits(soft_targets):
    """The teacher's logits, or its log-probabilities, which are logits too.

    z_k
    """
    return soft_targets


SOFTMAX = (
    *below_top("tempered_teacher", prefix="teacher_", leads="no_lead"),
    Step("teacher_log_probs", steps.log_softmax, depths="teacher_depths", log_denominator="teacher_log_denominator"),
    Step("teacher", steps.softmax, depths="teacher_depths", log_denominator="teacher_log_denominator"),
)
MASS = Step("mass", assume_mass)
TEMPER = Step("tempered_teacher", steps.temper, logits="teacher_logits")
FROM_LOGITS = (MASS, Step("teacher_logits", take_logits), TEMPER, *SOFTMAX)
FROM_PROBS = (Step("mass", find_mass), Step("teacher_logits", take_log), TEMPER, *SOFTMAX)
FROM_TOP_K = {tail: (MASS, *tail_recipe, *SOFTMAX) for tail, tail_recipe in TAIL_RECIPES.items()}


def teacher_recipe(options):
    """The steps from `soft_targets` to the teacher."""
    kind = options["targets"]
    return FROM_TOP_K[options["tail"]] if kind == "top_k" else FROM_PROBS if kind == "probs" else FROM_LOGITS


TARGETS = ("logits", "probs", "log_probs", "top_k")

"""A teacher of whom the k largest log-probabilities are known: how its student is compared with it.

`soft_targets` holds pairs of a class id and a log-probability at the loss's temperature; one of -inf lists nothing, which pads
what has fewer than k. The classes that are not listed are the rest, whose tail is a model of them.
"""

from typing import Any

import numpy as np
from keras import ops

from .. import _backend, _checks, steps
from .._recipe import Step, run
from ..losses._common import below_top
from ..steps.tensors import FAR_BELOW, at_least
from .packing import LARGEST_EXACT_ID

REST = 2.0**-40  # what is left to the rest is at least this: less is lost in the rounding of the log-probabilities
NEGLIGIBLE = 2.0**-20  # a rest up to this may be nothing but the rounding of float32 log-probabilities
TAILS = ("bucket", "renormalize", "uniform")


def top_k_targets(logits: Any, k: int, *, temperature: float) -> Any:
    """The k largest of a teacher's log-probabilities, with their class ids, for `DistillationLoss(targets="top_k")`.

    log p = log softmax(z / T), over all classes.

    Args:
        logits: The teacher's logits, or its log-probabilities, of shape (..., num_classes), with up to 2**24 + 1 classes.
        k: How many to keep, from 1 to num_classes.
        temperature: T > 0, that of the loss.

    Returns:
        Pairs of a class id and its log-probability in nats, the largest first, of shape (..., k, 2) in float32: a NumPy array,
        unless `logits` is a tensor. Keep them in float32: narrower floats lose class ids.

    Raises:
        ValueError: A k or a temperature out of its range, one class, or more classes than float32 has ids for.
        TypeError: An argument or array of the wrong type.

    Differs from Keras:
        Keras has nothing of the kind.

    Example:
        >>> pairs = keras_xent.distill.top_k_targets([[2.0, -1.0, 0.5, 3.0]], 2, temperature=2.0)
        >>> pairs[0, :, 0].tolist(), pairs[0, :, 1].astype(float).round(4).tolist()
        ([3.0, 0.0], [-0.7072, -1.2072])

    Source:
        The definition: `keras_xent.reference.top_k_targets`.
    """
    temperature = _checks.number("temperature", temperature, 0.0, open_low=True)
    as_array = not ops.is_tensor(logits)
    logits = _checks.float_tensor("logits", logits)
    if ops.dtype(logits) in _checks.HALF_PRECISION:
        logits = ops.cast(logits, "float32")
    axis = _checks.resolve_axis(-1, logits, name="logits")
    _checks.several_classes(logits, axis, name="logits")
    num_classes = logits.shape[-1]
    k = _checks.count("k", k, num_classes, f"the classes of logits.shape={tuple(logits.shape)}")
    if num_classes - 1 > LARGEST_EXACT_ID:
        raise ValueError(
            f"`logits` has {num_classes} classes; the ids of at most {LARGEST_EXACT_ID + 1} are exact in float32. "
            "Targets of more classes have to be dense."
        )
    quantities = {"logits": steps.temper(logits, temperature, axis), "axis": axis, "no_lead": False}
    log_probs = run((*below_top(leads="no_lead"), Step("log_probs", steps.log_softmax)), quantities)
    _, ids = ops.top_k(log_probs, k, sorted=True)
    log_probs = ops.take_along_axis(log_probs, ids, axis=-1)  # XLA sorts all classes where the values of a top-k are used
    pairs = ops.stack([ops.cast(ids, "float32"), ops.cast(log_probs, "float32")], axis=-1)
    return np.asarray(ops.convert_to_numpy(pairs)) if as_array else pairs


def read_pairs(soft_targets, num_classes, dtype):
    """Class ids that are safe to index with, log-probabilities, and how often each class is listed."""
    ids, log_probs = soft_targets[..., 0], ops.cast(soft_targets[..., 1], dtype)
    is_listed = log_probs > FAR_BELOW
    valid = _checks.valid_labels(ids, num_classes)
    safe = ops.cast(ops.where(ops.logical_and(is_listed, valid), ids, 0.0), "int32")
    times = _backend.scatter_add(safe, ops.cast(is_listed, dtype), num_classes)
    right = ops.all(ops.logical_or(valid, ops.logical_not(is_listed)), axis=-1)
    pairs = {"ids": safe, "listed_log_probs": log_probs, "times_listed": times, "is_listed": is_listed}
    return pairs, ops.logical_and(right, ops.all(times <= 1.0, axis=-1))


def split_pairs(soft_targets, num_classes, dtype):
    """What `read_pairs` makes of them; raises now if they are found to be wrong now."""
    pairs, right = read_pairs(soft_targets, num_classes, dtype)
    _checks.invalid_labels(soft_targets[..., 0], num_classes, pairs["is_listed"])
    _checks.each_class_once(pairs["times_listed"])
    return pairs, right


def right_pairs(soft_targets, num_classes):
    """Where each id that is listed is that of a class, and is listed once."""
    return read_pairs(soft_targets, num_classes, soft_targets.dtype)[1]


def pick_listed(tempered_student, ids, is_listed):
    """The student's logits of the listed classes.

    z_i of each listed i
    """
    return ops.where(is_listed, ops.take_along_axis(tempered_student, ids, axis=-1), FAR_BELOW)


def measure_rest(listed_log_probs):
    """The probability that the teacher leaves to the rest, its largest taken away first, so that nothing cancels.

    r = 1 - Σ_i p_i, at least 2⁻⁴⁰
    """
    probs = ops.exp(listed_log_probs)
    is_top = steps.mark_top(listed_log_probs, len(listed_log_probs.shape) - 1)
    others = ops.sum(ops.where(is_top, 0.0, probs), axis=-1)
    rest = -ops.sum(ops.where(is_top, ops.expm1(listed_log_probs), 0.0), axis=-1) - others
    return at_least(rest, REST)


def count_others(times_listed, tempered_student, rest):
    """How many classes are not listed.

    None, where the student rules all of these out and the rest may be nothing but rounding: so does the teacher then.

    n = K - k
    """
    unlisted = ops.logical_not(times_listed > 0)
    others = ops.sum(ops.where(unlisted, ops.ones_like(times_listed), 0.0), axis=-1)
    some_possible = ops.any(ops.logical_and(unlisted, tempered_student > -float("inf")), axis=-1)
    return ops.where(ops.logical_or(some_possible, rest > NEGLIGIBLE), others, 0.0)


def log_of_rest(rest, others):
    """The logarithm of what the rest holds, if there is one.

    log r
    """
    return ops.where(others > 0, ops.log(rest), FAR_BELOW)


def append_rest(listed_log_probs, log_rest):
    """The teacher's log-probabilities of the listed classes, and of a class that holds the rest.

    log p_1, ..., log p_k, log r
    """
    return ops.concatenate([at_least(listed_log_probs, FAR_BELOW), log_rest[..., None]], axis=-1)


def collect_rest(tempered_student, times_listed, others):
    """The student's logit of a class that holds the rest.

    log Σ_j exp(z_j) over all j that are not listed
    """
    possible = ops.logical_and(ops.logical_not(times_listed > 0), tempered_student > -float("inf"))
    logits = ops.where(possible, tempered_student, FAR_BELOW)
    top = ops.stop_gradient(steps.find_top_logit(logits, -1))
    total = ops.sum(ops.where(possible, ops.exp(logits - top[..., None]), 0.0), axis=-1)
    ruled_out = ops.equal(total, 0)
    logit = top + ops.log(ops.where(ruled_out, 1.0, total))
    return ops.where(ops.equal(others, 0), FAR_BELOW, ops.where(ruled_out, -float("inf"), logit))


def append_logit(listed_student, rest_of_student):
    """The student's logits of the listed classes, and of a class that holds the rest.

    z_1, ..., z_k, z of the rest
    """
    return ops.concatenate([listed_student, rest_of_student[..., None]], axis=-1)


def take_listed(listed_log_probs):
    """The teacher's log-probabilities of the listed classes, which are logits of a teacher that knows no others.

    log p_1, ..., log p_k
    """
    return at_least(listed_log_probs, FAR_BELOW)


def spread_rest(ids, listed_log_probs, is_listed, times_listed, log_rest, others):
    """The teacher's log-probabilities of all classes, the rest in even shares.

    log p_j, or log r - log n where j is not listed
    """
    known = _backend.scatter_add(ids, ops.where(is_listed, listed_log_probs, 0.0), ops.shape(times_listed)[-1])
    share = ops.where(others > 0, log_rest - ops.log(ops.where(others > 0, others, 1.0)), FAR_BELOW)
    return ops.where(times_listed > 0, known, share[..., None])


REST_OF_TEACHER = (
    Step("rest", measure_rest),
    Step("others", count_others),
    Step("log_rest", log_of_rest),
)
TAIL_RECIPES = {
    "bucket": (
        *REST_OF_TEACHER,
        Step("tempered_teacher", append_rest),
        Step("listed_student", pick_listed),
        Step("rest_of_student", collect_rest),
        Step("tempered_student", append_logit),
    ),
    "renormalize": (Step("tempered_teacher", take_listed), Step("tempered_student", pick_listed)),
    "uniform": (*REST_OF_TEACHER, Step("tempered_teacher", spread_rest)),
}

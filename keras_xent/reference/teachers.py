"""What a teacher said, as a distribution at a temperature: of all classes, or of a few and what is left."""

import numpy as np

from . import _arithmetic as a

REST = 2.0**-40  # what is left of a top-k is at least this: less is lost in the rounding of its log-probabilities
NEGLIGIBLE = 2.0**-20  # what is left may be nothing but rounding: it is nothing to a student that rules these classes out


def teach(y_true, targets, temperature, tail, teacher_classes, axis, student):
    """The teacher's log p, where it says anything, and for a top-k the student as it is then seen.

    `student` holds its tempered logits, classes last.
    """
    y_true = np.asarray(y_true, "float64")
    if targets == "top_k":
        return _top_k(y_true, tail, student)
    y_true = np.moveaxis(y_true, axis, -1)[..., :teacher_classes]
    if targets != "probs":
        return a.log_softmax((y_true - y_true.max(axis=-1, keepdims=True)) / temperature, -1), np.ones(y_true.shape[:-1]), None
    # p^(1/T) / Σ p^(1/T), which is softmax(t / T) without the logits; a row of zero probabilities has no teacher in it
    says = np.sum(y_true != 0, axis=-1, keepdims=True) > 0
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.where(says, y_true, 1.0))
    log_p = np.where(says, a.log_softmax(log_probs / temperature, -1), -np.inf)
    return log_p, np.asarray(says[..., 0], "float64"), None


class Bucket:
    """The student's logits of the k listed classes and, with a rest, of one class that holds all others."""

    def __init__(self, ids: np.ndarray, listed: np.ndarray, student: np.ndarray, with_rest: bool):
        self.ids, self.listed, self.with_rest = ids, listed, with_rest
        gathered = np.where(listed, np.take_along_axis(student, ids, -1), -np.inf)
        unlisted = student.copy()
        for row in np.ndindex(student.shape[:-1]):
            unlisted[row][ids[row][listed[row]]] = -np.inf
        if not with_rest:
            self.logits, self.within = gathered, np.zeros_like(student)
            return
        top = unlisted.max(axis=-1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)  # there may be no others
        powers = np.exp(unlisted - top)
        total = powers.sum(axis=-1, keepdims=True)
        self.within = powers / np.where(total == 0, 1.0, total)
        with np.errstate(divide="ignore"):
            self.logits = np.concatenate([gathered, top + np.log(total)], -1)

    def spread(self, pull):
        """From a gradient by `logits` to that by the student's: the others share that of their class, by softmax."""
        spread = pull[..., -1:] * self.within if self.with_rest else np.zeros_like(self.within)
        for row in np.ndindex(spread.shape[:-1]):
            listed = self.listed[row]
            spread[row][self.ids[row][listed]] += pull[row][: len(listed)][listed]
        return spread


def _top_k(y_true, tail, student):
    """Pairs of id and log-probability; one of -inf lists nothing."""
    ids, log_probs = y_true[..., 0].astype(int), y_true[..., 1]
    listed, num_classes, says = np.asarray(log_probs > -np.inf), student.shape[-1], np.ones(y_true.shape[:-2])
    if tail == "renormalize":
        return a.log_softmax(log_probs, -1), says, Bucket(ids, listed, student, with_rest=False)
    rest, possible = _rest(log_probs), student > -np.inf
    for row in np.ndindex(possible.shape[:-1]):
        possible[row][ids[row][listed[row]]] = False
    others = np.where(possible.any(axis=-1) | (rest > NEGLIGIBLE), num_classes - listed.sum(axis=-1), 0)
    log_rest = np.where(others > 0, np.log(rest), -np.inf)
    if tail == "bucket":
        log_p = a.log_softmax(np.concatenate([log_probs, log_rest[..., None]], -1), -1)
        return log_p, says, Bucket(ids, listed, student, with_rest=True)
    dense = np.tile((log_rest - np.log(np.maximum(others, 1)))[..., None], num_classes)
    for row in np.ndindex(dense.shape[:-1]):
        dense[row][ids[row][listed[row]]] = log_probs[row][listed[row]]
    return a.log_softmax(dense, -1), says, None


def _rest(log_probs):
    """1 - Σ_k p_k, the largest taken away first, so that nothing cancels; at least `REST`."""
    top = np.argmax(log_probs, axis=-1, keepdims=True)
    others = np.exp(log_probs)
    np.put_along_axis(others, top, 0.0, -1)
    return np.maximum(-np.expm1(np.take_along_axis(log_probs, top, -1))[..., 0] - others.sum(axis=-1), REST)


def top_k_targets(logits, k, *, temperature):
    """The k classes that a teacher holds most likely, the largest first.

    Pairs of a class id and log softmax(z / T), in nats; the softmax is over all classes.

    Args:
        logits: The teacher's logits z, of shape (..., num_classes).
        k: How many to keep, from 1 to num_classes.
        temperature: T > 0, that of the loss.

    Returns:
        float64, of shape (..., k, 2); of equals, the first class comes first.

    Raises:
        ValueError: By NumPy, for logits without a class.

    Differs from Keras:
        Keras has nothing of the kind.

    Example:
        >>> pairs = keras_xent.reference.top_k_targets([2.0, -1.0, 0.5, 3.0], 2, temperature=2.0)
        >>> pairs[:, 0].tolist(), np.exp(pairs[:, 1]).sum().round(4).item()  # what they have of the whole
        ([3.0, 0.0], 0.792)

    Source:
        `keras_xent.distill.top_k_targets`, whose definition it is.
    """
    log_probs = a.log_softmax(np.asarray(logits, "float64") / temperature, -1)
    ids = np.argsort(-log_probs, axis=-1, kind="stable")[..., :k]
    return np.stack([ids, np.take_along_axis(log_probs, ids, -1)], -1)

"""The inputs of a case as rows: what it predicts, and what the targets are."""

import keras
import numpy as np
from keras import ops

from ...reference import _arithmetic as a
from ..cases import KINDS, one_hot
from ..running import tensor


def last(x, axis):
    """Moves the classes to the end."""
    return ops.moveaxis(x, axis, -1)


def epsilon_of(case):
    """Where probabilities are clipped."""
    epsilon = case.arguments.get("epsilon")
    return keras.config.epsilon() if epsilon is None else epsilon


def num_classes(case):
    """The length of the class axis."""
    return case.y_pred.shape[case.axis]


def logits(case, rows):
    """Of probabilities their logarithms, which a softmax scales so that they add up to 1."""
    return rows if case.arguments["from_logits"] else ops.log(rows)


def log_probs(case, rows):
    """Of probabilities their logarithms as they are."""
    return ops.log_softmax(rows, axis=-1) if case.arguments["from_logits"] else ops.log(rows)


def ids(case):
    """Class ids, one for each row."""
    return tensor(case.y_true.reshape(-1), "int64")


def dense(case):
    """Targets as an array of rows, neither smoothed nor weighed."""
    if KINDS[case.loss] == "ids":
        return one_hot(case.y_true.reshape(-1), num_classes(case))
    return in_rows(case.y_true, case.axis)


def hard_labels(case):
    """Those beside a teacher, in the same form, or None."""
    labels = case.hard_labels
    if labels is None:
        return None
    return in_rows(labels, case.axis) if case.arguments["labels"] == "dense" else one_hot(labels.reshape(-1), num_classes(case))


def in_rows(array, axis):
    """An array with its classes last, in two axes."""
    return np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])


def smoothed(case):
    """The same, smoothed."""
    return a.smooth(dense(case), case.arguments.get("label_smoothing", 0.0), -1)


def weights(case):
    """The weight of each class, or None."""
    given = case.arguments.get("class_weight")
    return None if given is None else a.class_weights(given, num_classes(case))


def weighed(case):
    """w_k t_k, an array."""
    return a.class_weights(case.arguments.get("class_weight"), num_classes(case)) * smoothed(case)


def plain_ids(case):
    """Whether the targets are class ids that are neither smoothed nor weighed."""
    return KINDS[case.loss] == "ids" and not case.arguments.get("label_smoothing") and weights(case) is None


def answers(case):
    """Targets of the binary losses, smoothed: an array."""
    smoothing = case.arguments.get("label_smoothing", 0.0)
    return (1.0 - smoothing) * case.y_true + 0.5 * smoothing

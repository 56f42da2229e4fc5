"""Targets: what is known of an example."""

from keras import ops

from .target_class import mark_target
from .tensors import along_axis


def smooth(targets, label_smoothing, axis):
    """Takes the share s from the targets and spreads it evenly over the K classes.

    t_k ← (1 - s) t_k + s / K
    """
    num_classes = ops.cast(ops.shape(targets)[axis], targets.dtype)
    return targets * (1.0 - label_smoothing) + label_smoothing / num_classes


def smooth_binary(targets, label_smoothing):
    """Pulls yes/no targets towards one half.

    t ← (1 - s) t + s / 2
    """
    return targets * (1.0 - label_smoothing) + 0.5 * label_smoothing


def smooth_no(targets, label_smoothing):
    """The smoothed target of a no, out of the target as it was given: 1 - t of the smoothed one would lose a small s.

    1 - t ← (1 - s) (1 - t) + s / 2
    """
    return (1.0 - targets) * (1.0 - label_smoothing) + 0.5 * label_smoothing


def spread_evenly(scores, label_smoothing, axis):
    """The smoothed share of the targets, the same for every class: a vector, not a row per example.

    t_k = s / K
    """
    num_classes = ops.shape(scores)[axis]
    share = label_smoothing / ops.cast(num_classes, scores.dtype)
    return along_axis(share * ops.ones((num_classes,), dtype=scores.dtype), scores, axis)


def place_target(scores, labels, axis):
    """The target distribution of a class id.

    t_k = 1 if k = y else 0
    """
    return ops.cast(mark_target(scores, labels, axis), scores.dtype)


def weigh(targets, class_weight):
    """Gives each class its weight, inside the sum over classes.

    t_k ← w_k t_k
    """
    return targets * class_weight

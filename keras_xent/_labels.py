"""Class ids: which of them count, which are wrong, and what is done about it."""

import functools

from keras import ops

from . import _checks


def counted(labels, num_classes, ignore_class, invalid_labels):
    """Where a label counts: a bool tensor, or None if every one does."""
    counts = None
    for class_id in [] if ignore_class is None else ignore_class if isinstance(ignore_class, list) else [ignore_class]:
        differs = labels != class_id
        counts = differs if counts is None else ops.logical_and(counts, differs)
    if invalid_labels == "ignore":
        valid = _checks.valid_labels(labels, num_classes)
        counts = valid if counts is None else ops.logical_and(counts, valid)
    return counts


class CheckedLabels:
    """Labels made safe to index with, and the verdict on them.

    `ids`: int32, 0 where a label does not count or is wrong. `counts`: where labels count, None for everywhere.
    """

    def __init__(self, labels, num_classes, ignore_class, invalid_labels):
        self.counts = counted(labels, num_classes, ignore_class, invalid_labels)
        self._wrong = None if invalid_labels == "ignore" else _checks.invalid_labels(labels, num_classes, self.counts)
        self._labels, self._num_classes = labels, num_classes
        ids = labels
        for removed in (self._wrong, None if self.counts is None else ops.logical_not(self.counts)):
            if removed is not None:
                ids = ops.where(removed, ops.zeros_like(ids), ids)
        self.ids = _checks.of_dtype(ids, "int32")

    def settle(self, losses):
        """Where labels are wrong a runtime error or, where there is none, NaN."""
        if self._wrong is not None:
            culprits = functools.partial(_checks.first_invalid_label, self._labels, self._wrong, self._num_classes)
            losses = _checks.fail_where_wrong(losses, ops.logical_not(self._wrong), _checks.INVALID_LABELS, culprits)
        return losses

"""Class ids: which are none, found now if they can be read now."""

import numpy as np
from keras import ops

from .. import _backend
from .tensors import NO_ID


def invalid_labels(labels, num_classes, considered=None):
    """Where a label that counts is not one of the classes: a bool tensor, or None if it is known to be so nowhere.

    Raises now, naming the first such label, if labels can be read now; `considered` marks those that count.
    """
    known = _backend.read(labels)
    classes = num_classes if isinstance(num_classes, int) else _backend.read(num_classes)
    if known is not None and known.size and known.dtype.kind in "iu" and known.view(f"u{known.itemsize}").max() < classes:
        return None  # as a rule; a negative number is a large one
    counted = True if considered is None else _backend.read(considered)
    if known is not None and counted is not None and classes is not None:
        wrong = counted & ~_known_to_be_valid(known, classes)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(_invalid_label_message(known[where].item(), where, int(classes)))
        return None
    wrong = ops.logical_not(valid_labels(labels, num_classes))
    return wrong if considered is None else ops.logical_and(wrong, considered)


def each_class_once(times):
    """How often each row lists each class, at most once, as far as it can be read now."""
    known = _backend.read(times)
    if known is not None and (known > 1).any():
        where = tuple(int(i) for i in np.argwhere(known > 1)[0])
        raise ValueError(_listed_again_message(where[-1], int(known[where]), where[:-1]))


def each_id_once(ids, listed):
    """The same of the ids themselves, of which `listed` count."""
    known, listed = _backend.read(ids), _backend.read(listed)
    if known is None or listed is None:
        return
    ordered = np.sort(np.where(listed, known, np.nan), axis=-1)  # NaN differs from itself
    again = ordered[..., 1:] == ordered[..., :-1]
    if again.any():
        where = tuple(int(i) for i in np.argwhere(again)[0])
        times = int((ordered[where[:-1]] == ordered[where]).sum())
        raise ValueError(_listed_again_message(int(ordered[where]), times, where[:-1]))


def _listed_again_message(class_id, times, where):
    position = where[0] if len(where) == 1 else where
    return (
        f"`y_true` lists class {class_id} {times} times at position {position}; expected each class once. To fill up rows that "
        "list fewer than k classes, give the others a log-probability of -inf."
    )


def exact_ids(labels, largest):
    """Class ids (or negative marks to ignore) that a float32 holds exactly, as far as they can be read now."""
    known = _backend.read(labels)
    if known is None:
        return
    wrong = ~((np.abs(known) <= largest) & (known == np.floor(known)))
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0][:-1])
        raise ValueError(
            f"`labels` must hold class ids: whole numbers up to {largest}, which float32 holds exactly. Received: "
            f"{known[wrong][0].item()} at position {where[0] if len(where) == 1 else where}."
        )


def valid_labels(labels, num_classes):
    """Where a label is a whole number from 0 to num_classes - 1."""
    if "float" not in str(labels.dtype):
        return (labels >= 0) & (labels < ops.cast(num_classes, labels.dtype))
    # not `ops.floor`, which rounds float64 to float32 on PyTorch
    whole = (labels >= 0) & (labels <= ops.cast(num_classes, labels.dtype)) & ops.equal(labels % 1.0, 0.0)
    # compared as integers: from 2**24 on float32 does not hold every number of classes
    ids = ops.cast(ops.where(whole, labels, -1.0), "int32")
    return (ids >= 0) & (ids < ops.cast(num_classes, "int32"))


def _known_to_be_valid(labels, num_classes):
    """The same of a NumPy array."""
    exact = labels.astype("float64") if labels.dtype.kind == "f" else labels
    return (exact >= 0) & (exact < num_classes) & (exact == np.floor(exact))


INVALID_LABELS = "`y_true` holds a label that is not a class id: label, number of classes"


def first_invalid_label(labels, wrong, num_classes):
    """What the running program adds to that message."""
    # one more, as there is no first of an empty batch
    labels = ops.concatenate([ops.reshape(labels, (-1,)), ops.zeros((1,), dtype=labels.dtype)])
    wrong = ops.concatenate([ops.reshape(wrong, (-1,)), ops.ones((1,), dtype="bool")])
    return ops.take(labels, ops.argmax(ops.cast(wrong, "int32"))), num_classes


def _invalid_label_message(label, where, num_classes):
    position = where[0] if len(where) == 1 else where
    if label != label or label % 1:
        return (
            f"`y_true` holds {label} at position {position}, which is not a class id; expected whole numbers from 0 to "
            f"{num_classes - 1}. "
            "Probabilities and other soft targets go to `CategoricalCrossentropy` or `CategoricalFocalCrossentropy`."
        )
    label = int(label)
    if label == NO_ID:
        return (
            f"`y_true` holds an integer of more than 32 bits at position {position}, which is not a class id; expected 0 to "
            f'{num_classes - 1}. To skip every label out of range pass `invalid_labels="ignore"`.'
        )
    return (
        f"`y_true` holds class {label} at position {position}, but `y_pred` has {num_classes} classes (0 to "
        f'{num_classes - 1}). To skip such positions pass `ignore_class={label}`, or `invalid_labels="ignore"` to skip every '
        "label out of range."
    )

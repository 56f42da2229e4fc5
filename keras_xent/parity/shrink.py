"""The smallest input on which two implementations still differ."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from .cases import KINDS, Case
from .running import rounded

PER_CLASS = ("alpha", "class_weight", "pos_weight")  # arguments that may hold one number per class
PACKED = {"labels", "teacher_classes"}  # arguments by which targets have other classes than the predictions


def shrunk(case: Case, fails: Callable[[Case], bool], seconds=20.0) -> Case:
    """The case made smaller as long as it fails: fewer arguments, examples and classes, rounder numbers."""
    deadline = time.monotonic() + seconds
    found = True
    while found and time.monotonic() < deadline:
        found = False
        for smaller in simpler(case):
            if time.monotonic() > deadline:
                break
            if still(smaller, fails):
                case, found = smaller, True
                break
    return case


def still(case, fails):
    """Whether it fails as before; what cannot even be asked does not."""
    try:
        return fails(case)
    except Exception:
        return False


def simpler(case: Case) -> Iterator[Case]:
    """What is one step simpler, the largest steps first."""
    if case.sample_weight is not None:
        yield case.with_(sample_weight=None)
    if case.reduction != "none":
        yield case.with_(reduction="none")
    yield from fewer_examples(case)
    yield from fewer_arguments(case)
    yield from fewer_classes(case)
    yield from rounder(case)


def fewer_arguments(case):
    """Without one of its arguments; what the inputs are, and what a loss cannot be made without, stays."""
    for name in case.arguments:
        if name not in ("from_logits", "axis", "targets", "labels"):
            yield case.with_(arguments={key: value for key, value in case.arguments.items() if key != name})


def fewer_examples(case):
    """Half of an axis, one of an axis, or none of its first."""
    classes = class_axes(case)
    for axis, size in enumerate(case.y_pred.shape):
        if axis in classes:
            continue
        for kept in (slice(0, size // 2), slice(size // 2, size), slice(0, size - 1)) if size > 1 else ():
            yield picked(case, axis, kept)
    if case.y_pred.ndim > 1 and len(case.y_pred) == 1 and 0 not in classes and case.arguments.get("axis", -1) == -1:
        if case.sample_weight is None and KINDS[case.loss] != "answers" and case.y_pred.ndim > 2:
            yield case.with_(y_true=case.y_true[0], y_pred=case.y_pred[0])


def picked(case, axis, kept):
    """Some of an axis that is not the class axis."""
    index = (slice(None),) * axis + (kept,)
    weight = case.sample_weight
    if weight is not None and np.ndim(weight) > axis and np.shape(weight)[axis] == case.y_pred.shape[axis]:
        weight = weight[index]
    of_labels = axis - sum(of_class < axis for of_class in class_axes(case)) if KINDS[case.loss] == "ids" else axis
    y_true = case.y_true[(slice(None),) * of_labels + (kept,)]
    hard = case.hard_labels if case.hard_labels is None else case.hard_labels[index]
    return case.with_(y_true=y_true, y_pred=case.y_pred[index], sample_weight=weight, hard_labels=hard)


def class_axes(case):
    """The axes that are not examples."""
    if KINDS[case.loss] == "answers":
        return set()
    return {case.axis % case.y_pred.ndim}


def fewer_classes(case):
    """Without half of the classes, or one; never fewer than two, and never a class that is a label."""
    axes = class_axes(case)
    if not axes or not PACKED.isdisjoint(case.arguments) or case.arguments.get("targets") == "top_k":
        return
    (axis,) = axes
    size = case.y_pred.shape[axis]
    for dropped in [np.arange(size // 2, size), np.arange(size // 2), *([k] for k in reversed(range(min(size, 8))))]:
        kept = np.setdiff1d(np.arange(size), dropped)
        if len(kept) >= 2:
            smaller = with_classes(case, axis, kept)
            if smaller is not None:
                yield smaller


def with_classes(case, axis, kept):
    """Some of the classes, numbered anew; None if that cannot be."""
    y_pred = np.take(case.y_pred, kept, axis)
    if KINDS[case.loss] == "ids":
        if not np.isin(case.y_true, kept).all():
            return None
        y_true = np.searchsorted(kept, case.y_true)
    else:
        y_true = np.take(case.y_true, kept, axis)
    arguments = dict(case.arguments)
    for name in PER_CLASS:
        if isinstance(arguments.get(name), list):
            arguments[name] = [arguments[name][k] for k in kept]
    return case.with_(y_true=y_true, y_pred=y_pred, arguments=arguments)


def rounder(case):
    """Numbers with fewer digits, as the dtype holds them.

    A prediction does not become 0 or 1: these are inputs of a kind of their own, on which something else may be wrong.
    """
    for digits in (0, 1, 2):
        for name in ("y_pred", "y_true"):
            values = getattr(case, name)
            if values.dtype.kind != "f":
                continue
            rounder_values = rounded(np.round(values, digits), case.dtype)
            if name == "y_pred":
                rounder_values = np.where(np.isin(rounder_values, (0.0, 1.0)), values, rounder_values)
            if not np.array_equal(rounder_values, values, equal_nan=True) and shorter(rounder_values, values):
                yield case.with_(**{name: rounder_values})


def shorter(one, other):
    """Whether numbers take fewer characters, so that rounding ends."""
    return sum(len(str(np.float32(x))) for x in one.ravel()) < sum(len(str(np.float32(x))) for x in other.ravel())

"""One output, its targets, its weights and the loss between them: all that a check looks at, read once."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .finding import found
from .heads import Head
from .meaning import ANSWERS, CLASS_IDS, TEACHER, Meaning

TOLERANCE = {"float16": 5e-3, "bfloat16": 3e-2}  # by which a row of probabilities misses 1, as it was rounded
USUAL_TOLERANCE = 1e-3


@dataclass
class Situation:
    """What checks look at. `y_true` and `weights` are of all examples, `y_pred` and `mask` of the first ones."""

    place: str  # "" or which output and loss it is
    meaning: Meaning
    y_true: np.ndarray
    true_dtype: str
    y_pred: np.ndarray
    pred_dtype: str
    head: Head = field(default_factory=Head)
    mask: np.ndarray | None = None
    weights: np.ndarray | None = None
    x: Any = None
    model: Any = None
    network: Any = None  # the model that predicts: of a distiller, the student
    behind: bool = False  # whether the backend looks behind the activation, for its logits
    taught: np.ndarray | None = None  # what the teacher says, beside the labels
    live: bool = False  # whether a teacher is asked for `y_true`
    packed: bool = False  # whether this is the label's part of packed targets
    unheard: bool = False  # whether weights and masks are dropped on the way to the loss

    def found(self, code, evidence, remedy):
        """A finding that says where."""
        if self.place:
            evidence = f"{self.place}: {evidence}"
        elif evidence.split()[0] in ("the", "at"):  # the other first words are names
            evidence = evidence[0].upper() + evidence[1:]
        return found(code, evidence, remedy)

    @property
    def usable(self):
        """Whether there is a class axis, which is not that of the batch."""
        axis = self.meaning.options["axis"]
        if self.y_pred.ndim < 1 or self.y_pred.size == 0:
            return False
        rank = self.y_pred.ndim
        return self.meaning.kind == ANSWERS or (isinstance(axis, int) and -rank <= axis < rank and axis % rank > 0)

    @cached_property
    def axis(self):
        """The class axis, counted from the front; the last one where there is none."""
        return self.meaning.options["axis"] % self.y_pred.ndim if self.meaning.over_classes else self.y_pred.ndim - 1

    @cached_property
    def num_classes(self):
        """How many classes, or yes/no outputs, there are."""
        return self.y_pred.shape[self.axis] if self.y_pred.ndim > self.axis else 1

    @cached_property
    def losses_shape(self):
        """The shape of the losses of the examples that were looked at."""
        shape, axis = self.y_pred.shape, self.meaning.options["axis"]
        if self.meaning.over_classes:
            return shape[: self.axis] + shape[self.axis + 1 :]
        axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        reduced = {one % max(len(shape), 1) for one in axes}
        return tuple(size for place, size in enumerate(shape) if place not in reduced)

    @cached_property
    def has_class_axis(self):
        """Whether the targets have the shape of the predictions."""
        return self.y_true.ndim == self.y_pred.ndim and self.y_true.shape[1:] == self.y_pred.shape[1:]

    @cached_property
    def has_ids(self):
        """Whether the targets have one number per row of predictions."""
        return self.num_classes > 1 and self._without_singleton(self.y_true) is not None

    def _without_singleton(self, y_true):
        rows = self.losses_shape[1:]
        if y_true.shape[1:] == rows:
            return y_true
        if y_true.ndim == self.y_pred.ndim:
            for axis in (self.axis, y_true.ndim - 1):
                if y_true.shape[axis] == 1 and np.squeeze(y_true, axis).shape[1:] == rows:
                    return np.squeeze(y_true, axis)
        return None

    @cached_property
    def ids(self):
        """The class ids of all examples; None where targets are something else."""
        return self._without_singleton(self.y_true) if self.meaning.kind == CLASS_IDS and self.has_ids else None

    @cached_property
    def aligned_weights(self):
        """The weights, with the axes that the losses of all examples have; None if there are none, or if they do not fit."""
        if self.weights is None:
            return None
        shape = (len(self.y_true), *self.losses_shape[1:])
        return aligned(self.weights, shape)

    @cached_property
    def unmasked(self):
        """Where losses are not masked; everywhere, if the mask does not fit."""
        everywhere = np.ones((len(self.y_true), *self.losses_shape[1:]), bool)
        kept = None if self.mask is None else aligned(self.mask.astype(bool), everywhere.shape)
        return everywhere if kept is None else kept

    @cached_property
    def counts(self):
        """Where the losses of all examples count: not where they are masked, ignored or of weight 0."""
        counts = np.ones((len(self.y_true), *self.losses_shape[1:]), bool)
        if self.aligned_weights is not None:
            counts &= self.aligned_weights != 0
        if self.ids is not None and self.meaning.ignored:
            counts &= ~np.isin(self.ids, self.meaning.ignored)
        return counts & self.unmasked

    @cached_property
    def rows(self):
        """The predictions that count, with one row for each, in float64."""
        return self._rows(self.y_pred)

    def _rows(self, values):
        """Of the shape of the predictions, or of more examples: the rows that count."""
        values = np.asarray(values, "float64")
        if not self.meaning.over_classes:
            kept = self.counts[: len(values)]
            return values[kept].reshape(-1) if kept.ndim and kept.shape == values.shape[: kept.ndim] else values.reshape(-1)
        return np.moveaxis(values, self.axis, -1)[self.counts[: len(values)]]

    @cached_property
    def all_targets(self):
        """The rows of targets that count, of all examples; None unless they have a class axis."""
        return self._rows(self.y_true) if self.has_class_axis else None

    @cached_property
    def targets(self):
        """The same of the examples that were looked at."""
        return self._rows(self.y_true[: len(self.y_pred)]) if self.has_class_axis else None

    @cached_property
    def right(self):
        """The class id of each row of predictions that counts and has a valid one, else -1; None without class ids."""
        if self.ids is not None:
            ids = self.ids[: len(self.y_pred)][self.counts[: len(self.y_pred)]]
            return np.where((ids >= 0) & (ids < self.num_classes), ids, -1).astype(int)
        if self.meaning.over_classes and self.meaning.kind != TEACHER and self.targets is not None:
            top = self.targets.argmax(-1)
            leads = np.take_along_axis(self.targets, top[:, None], -1)[:, 0] > 0.5 * self.targets.sum(-1)
            return np.where(leads, top, -1)
        return None

    @cached_property
    def tolerance(self):
        """By how much a row of probabilities may miss 1."""
        return TOLERANCE.get(self.pred_dtype, USUAL_TOLERANCE)

    @cached_property
    def are_probs(self):
        """Whether all rows of predictions are distributions over the classes."""
        return are_distributions(self.rows, self.tolerance)


def aligned(values, shape):
    """Weights or a mask, spread over losses whose leading axes they have; None if they do not fit."""
    extra = values.shape[len(shape) :]
    if any(size != 1 for size in extra) or any(size not in (1, want) for size, want in zip(values.shape, shape, strict=False)):
        return None
    return np.broadcast_to(values.reshape(values.shape[: len(shape)] + (1,) * (len(shape) - values.ndim)), shape)


def are_distributions(rows, tolerance=USUAL_TOLERANCE):
    """Whether there are rows, and all of them hold probabilities that sum to 1."""
    if rows.ndim < 2 or rows.shape[-1] < 2 or not len(rows):
        return False
    return bool(in_range(rows, tolerance) and (np.abs(rows.sum(-1) - 1) <= tolerance).all())


def in_range(values, tolerance=USUAL_TOLERANCE):
    """Whether all numbers lie between 0 and 1."""
    return bool(((values >= -tolerance) & (values <= 1 + tolerance)).all())


def short(number):
    """A number for people."""
    return f"{float(number):.4g}"


def share(wrong):
    """How many of a bool array, for people."""
    return f"{int(np.sum(wrong)):,} of {math.prod(np.shape(wrong)):,}"

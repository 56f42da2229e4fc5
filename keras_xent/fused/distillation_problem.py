"""A teacher beside a student's features and kernel: what of them has to fit, and what a chunk of them is told."""

from dataclasses import dataclass
from typing import Any

from keras import ops

from .. import _checks, _labels
from .._reduction import blank
from ..distill.packing import check_precision, unpack_targets
from ..distill.targets import blank_soft
from ..steps.tensors import FAR_BELOW
from .distillation_slopes import Distillation, rows
from .problem import FromFeatures, check_shapes


@dataclass(frozen=True)
class Teacher:
    """The teacher's output layer."""

    kernel: Any
    bias: Any = None
    transposed: bool = False
    logit_softcap: float | None = None


class DistillationProblem(FromFeatures):
    """What the teacher said, or its features and its output layer, and hard labels, beside the student's features and kernel."""

    def __init__(self, y_true, features, kernel, bias, teacher, options, transposed=False):
        super().__init__(features, kernel, bias, transposed, options["chunk_size"])
        soft, hard = split_targets(y_true, self.features, self.num_classes, options)
        self.fits = _checks.same_sizes(ops.shape(soft)[: len(self.shape)], self.shape)
        if options["ignore_class"] is not None:
            self.counts = _labels.counted(hard, None, options["ignore_class"], "error")
            soft = blank_soft(soft, self.counts, len(soft.shape) - 1, options)
            hard = blank(hard, self.counts, ())
        if options["label_weight"] > 0.0:
            _checks.invalid_labels(hard, self.num_classes)
        if options["targets"] == "top_k":
            check_pairs(soft, self.num_classes)
            caps, shared = {}, ()
        else:
            caps = {"teacher_softcap": teacher.logit_softcap, "teacher_transposed": teacher.transposed}
            shared = checked_teacher(soft, teacher, self.num_classes)
        told = dict(options) | {"from_logits": True, "teacher_classes": None, "ignore_class": None, "axis": -1}
        told |= {"targets": "top_k" if options["targets"] == "top_k" else "logits"}
        loss = Distillation(tuple((name, told[name]) for name in TOLD), options["logit_softcap"], **caps)
        targets = [ops.reshape(ops.stop_gradient(soft), (-1, *soft.shape[len(self.shape) :]))]
        targets += [] if hard is None else [ops.reshape(hard, (-1,))]
        self._compute(loss, tuple(targets), shared)


TOLD = ("temperature", "targets", "from_logits", "divergence", "beta", "label_weight", "labels", "scale_by_temperature_squared")
TOLD += ("tail", "teacher_classes", "ignore_class", "axis")


def split_targets(y_true, features, num_classes, options):
    """The teacher's numbers, of shape (..., k, 2) or (..., its hidden), and the class ids of shape (...) or None."""
    top_k, packed = options["targets"] == "top_k", options["labels"] is not None
    if top_k or packed:
        check_precision(y_true)
    y_true = _checks.float_tensor("y_true", y_true)
    shape, leading = tuple(y_true.shape), tuple(features.shape[:-1])
    fits = len(shape) == len(leading) + (1 if packed or not top_k else 2)
    fits = fits and _checks.shapes_agree(shape[: len(leading)], leading)
    numbers = None if not fits else shape[len(leading)]
    if numbers is not None and top_k:
        k, rest = divmod(numbers - 1, 2) if packed else (numbers, 0)
        fits = rest == 0 and 1 <= k <= num_classes and (packed or shape[-1] == 2)
    if not fits or (numbers is not None and numbers < (2 if packed else 1)):
        said = f"2 k numbers, k at most {num_classes}," if top_k else "the teacher's features"
        told = f"{said} and the class id, as `keras_xent.pack_targets` puts them" if packed else "the teacher's features"
        if top_k and not packed:
            told = f"(k, 2) numbers with k at most {num_classes}, as `keras_xent.distill.top_k_targets` returns them"
        raise ValueError(
            f"`y_true` must hold, behind the rows {leading} of `features`, {told}. Received: y_true.shape={shape}, "
            f"features.shape={tuple(features.shape)}, targets={options['targets']!r}, labels={options['labels']!r}."
        )
    soft, hard = unpack_targets(y_true, "sparse", None) if packed else (y_true, None)
    if top_k and packed:
        k = -1 if soft.shape[-1] is None else soft.shape[-1] // 2  # -1 would hide it from a graph of unknown rows
        soft = ops.reshape(soft, (*ops.shape(soft)[:-1], k, 2))
    return soft, hard


def check_pairs(pairs, num_classes):
    """Raises now if a top-k is found now to list what is no class, or a class twice; else a chunk finds it."""
    ids, listed = pairs[..., 0], pairs[..., 1] > FAR_BELOW
    _checks.invalid_labels(ids, num_classes, listed)
    _checks.each_id_once(ids, listed)


def right_pairs(pairs, num_classes):
    """Where each id that is listed is that of a class, and is listed once: without a number for each class."""
    ids, listed = pairs[..., 0], pairs[..., 1] > FAR_BELOW
    valid = ops.logical_or(_checks.valid_labels(ids, num_classes), ops.logical_not(listed))
    others = -1.0 - ops.arange(ops.shape(ids)[-1], dtype=ids.dtype)  # each differs from all ids
    ordered = ops.sort(ops.where(listed, ids, others), axis=-1)
    return ops.logical_and(ops.all(valid, axis=-1), ops.all(ordered[..., 1:] != ordered[..., :-1], axis=-1))


def checked_teacher(features, teacher, num_classes):
    """The teacher's kernel and bias, which have no gradient, in the dtype to multiply them in."""
    kernel = _checks.float_tensor("teacher_kernel", teacher.kernel)
    bias = None if teacher.bias is None else _checks.float_tensor("teacher_bias", teacher.bias)
    teacher_classes = check_shapes(features, kernel, bias, teacher.transposed, of="teacher_")
    if teacher_classes != num_classes:
        raise ValueError(
            f"The teacher has {teacher_classes} classes, the student {num_classes}; expected the same classes. Received: "
            f"teacher_kernel.shape={tuple(kernel.shape)}. Cut off the columns of classes that the student does not have, or pass "
            "a top-k of those that it has."
        )
    kernel = ops.cast(ops.stop_gradient(kernel), rows.factor_dtype(features))
    return kernel, None if bias is None else ops.stop_gradient(bias)

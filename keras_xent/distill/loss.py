"""The distillation loss: a student against its teacher, at a temperature, and against the hard labels."""

from collections.abc import Collection
from typing import Any

from keras import ops

from .. import _checks, _labels, steps
from .._base import blank, evaluate, finite_rows, register
from .._recipe import Step, run
from ..domain import DOMAIN
from ..losses import categorical, sparse
from ..losses._common import CLIPPED_LOG, RENORMALIZE, common_quantities
from ..losses._kinds import OverClasses
from .divergences import DIVERGENCES
from .packing import check_packed, check_precision, unpack_targets
from .teachers import TEACHERS


def scale_divergence(divergence, temperature, label_weight, scale_by_temperature_squared):
    """The soft part of the loss; T² keeps its gradient's size independent of the temperature.

    (1 - λ) T² D
    """
    scale = temperature**2 if scale_by_temperature_squared else 1.0
    return (1.0 - label_weight) * scale * divergence


def add_label_loss(losses, label_losses, label_weight):
    """The two parts together.

    loss = soft loss + λ label loss
    """
    return losses + label_weight * label_losses


STUDENT_FROM_PROBS = (RENORMALIZE, *CLIPPED_LOG)  # their logarithms are logits
TEMPER = Step("tempered_student", steps.temper)
SCALE = Step("losses", scale_divergence)
ADD = Step("losses", add_label_loss)


def recipe(options):
    """The steps from the teacher's targets and the student's logits to the soft part of the loss."""
    return (*TEACHERS[options["targets"]], TEMPER, *DIVERGENCES[options["divergence"]], SCALE)


def per_example(y_true, y_pred, options, dtype, listener=None):
    """The losses in `dtype`, without the class axis."""
    axis = _checks.resolve_axis(options["axis"], y_pred)
    if options["labels"] is not None:
        check_precision(y_true)
    soft, hard = split_targets(_checks.float_tensor("y_true", y_true), y_pred, axis, options["labels"])
    counts = None
    if options["ignore_class"] is not None:
        counts = _labels.counted(hard, None, options["ignore_class"], "error")
        soft, y_pred = blank(soft, counts, (axis,)), blank(y_pred, counts, (axis,))
    quantities = common_quantities(y_pred, options, axis, dtype)
    if not options["from_logits"]:
        quantities["logits"] = run(STUDENT_FROM_PROBS, quantities, listener)
    quantities["soft_targets"] = ops.stop_gradient(ops.cast(soft, dtype))
    quantities |= {name: options[name] for name in ("temperature", "label_weight", "scale_by_temperature_squared")}
    if options["label_weight"] < 1.0:
        losses = run(recipe(options), quantities, listener)
        losses = losses if counts is None else ops.where(counts, losses, 0.0)
    else:  # an infinite divergence would survive the weight 0
        losses = 0.0
    if options["label_weight"] == 0.0:
        return losses
    quantities["losses"] = losses
    quantities["label_losses"] = label_loss(hard, quantities["logits"], options, dtype, listener)
    return run((ADD,), quantities, listener)


def label_loss(hard, logits, options, dtype, listener=None):
    """The cross-entropy of the student, at temperature 1, with the hard labels."""
    if options["labels"] == "dense":
        label_options = categorical.checked(True, 0.0, options["axis"], None, None, "flow")
        return categorical.per_example(ops.stop_gradient(hard), logits, label_options, dtype, listener)
    label_options = sparse.checked(True, options["ignore_class"], options["axis"], 0.0, None, "error", None, "flow")
    return sparse.per_example(hard, logits, label_options, dtype, listener)


def split_targets(y_true, y_pred, axis, labels):
    """The teacher's numbers, of `y_pred`'s shape, and the hard labels or None."""
    _checks.several_classes(y_pred, axis)
    if labels is None:
        _checks.same_shape(y_true, y_pred, " For hard labels in `y_true`, see `keras_xent.pack_targets` and `labels`.")
        return y_true, None
    check_packed(y_true, y_pred, axis, labels)
    soft, hard = unpack_targets(y_true, labels)
    return ops.moveaxis(soft, -1, axis), ops.moveaxis(hard, -1, axis) if labels == "dense" else hard


def checked(
    temperature,
    targets,
    from_logits,
    divergence,
    label_weight,
    labels,
    scale_by_temperature_squared,
    ignore_class,
    axis,
):
    """The options, each checked."""
    options = {
        "temperature": _checks.number("temperature", temperature, 0.0, open_low=True),
        "targets": _checks.choice("targets", targets, tuple(TEACHERS)),
        "from_logits": _checks.flag("from_logits", from_logits),
        "divergence": _checks.choice("divergence", divergence, tuple(DIVERGENCES)),
        "label_weight": _checks.number("label_weight", label_weight, 0.0, 1.0),
        "labels": _checks.choice("labels", labels, (None, "sparse", "dense")),
        "scale_by_temperature_squared": _checks.flag("scale_by_temperature_squared", scale_by_temperature_squared),
        "ignore_class": _checks.class_ids("ignore_class", ignore_class),
        "axis": _checks.class_axis(axis),
    }
    if options["label_weight"] > 0.0 and labels is None:
        raise ValueError(
            f"label_weight={label_weight} needs hard labels, but labels=None says that `y_true` holds none. Make `y_true` with "
            '`keras_xent.pack_targets(targets, labels)` and pass labels="sparse" or labels="dense".'
        )
    if options["ignore_class"] is not None and labels != "sparse":
        raise ValueError(
            f"ignore_class={ignore_class} needs class ids, but labels={labels!r} says that `y_true` holds none. Make `y_true` "
            'with `keras_xent.pack_targets(targets, class_ids)` and pass labels="sparse", or use `sample_weight`.'
        )
    return options


@register
def distillation_loss(
    y_true: Any,
    y_pred: Any,
    temperature: float = 4.0,
    *,
    targets: str,
    from_logits: bool = True,
    divergence: str = "kl",
    label_weight: float = 0.0,
    labels: str | None = None,
    scale_by_temperature_squared: bool = True,
    ignore_class: int | Collection[int] | None = None,
    axis: int = -1,
) -> Any:
    """How far a student is from its teacher at a temperature, one loss per example, in nats.

    loss = (1 - λ) T² D(softmax(t / T), softmax(s / T)) + λ CE(label, softmax(s)), where D(p, q) is Σ_k p_k log(p_k / q_k)
    ("kl") or -Σ_k p_k log q_k ("crossentropy"), and softmax(t / T) is p^(1/T) / Σ p^(1/T) for probabilities p.

    Args:
        y_true: What the teacher said, of the shape of `y_pred`; with `labels`, what `pack_targets` returned. No gradient
            flows into it.
        y_pred: The student's logits, or probabilities; `axis` holds the two or more classes.
        temperature: T > 0. Above 1 it softens both distributions, below 1 it sharpens them.
        targets: `"logits"`, `"probs"` or `"log_probs"`: what `y_true` holds of the teacher.
        from_logits: Whether `y_pred` holds logits. Probabilities are renormalised, clipped and logged, and the logarithms
            taken for logits.
        divergence: `"kl"` or `"crossentropy"`; they differ by the teacher's entropy, and have the same gradient.
        label_weight: λ in [0, 1], the share of the hard labels' cross-entropy, which is taken at temperature 1.
        labels: None, or `"sparse"` or `"dense"`: `y_true` was made by `pack_targets` from such labels.
        scale_by_temperature_squared: Whether T² is there. It keeps the size of the gradient independent of T.
        ignore_class: A class id, or several: positions whose sparse label it is cost 0, for both parts, and, in the class,
            leave the denominator.
        axis: The class axis of `y_pred`, and of `y_true` unless it is packed.

    Returns:
        The losses, of the shape of `y_pred` without `axis` and in its dtype; half precision is summed in float32. `"kl"` is
        at least 0. A row of zero probabilities holds no teacher: its soft part is 0.

    Raises:
        ValueError: Shapes that do not fit, an axis out of range, one class, a temperature that is not positive and finite,
            a `label_weight` without `labels`, packed targets in half precision, labels that are no class ids.
        TypeError: An argument or array of the wrong type.

    Differs from Keras:
        `keras.distillation.LogitsDistillation()` with its default loss applies KL divergence to the raw logits, without
        softmax and without T²; with `KLDivergence()` it clips the teacher's probabilities to ε. It ignores sample weights
        and masks.

    Example:
        >>> teacher, student = [[1.0, -2.0, 3.0, 0.5]], [[0.2, -1.0, 1.0, 0.1]]
        >>> losses = keras_xent.distillation_loss(teacher, student, temperature=3.0, targets="logits")
        >>> round(float(losses[0]), 5)
        0.47697

    Source:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015); the definition:
        `keras_xent.reference.distillation_loss`.
    """
    options = checked(
        temperature,
        targets,
        from_logits,
        divergence,
        label_weight,
        labels,
        scale_by_temperature_squared,
        ignore_class,
        axis,
    )
    return evaluate(per_example, y_true, y_pred, options)


@register
class DistillationLoss(OverClasses):
    """`distillation_loss`, weighed and reduced: a loss for `compile` and for hand-written loops.

    loss = Σ_i v_i loss_i / N in nats, with v the sample weights; N is the number of losses that are neither masked nor
    ignored.

    Args:
        temperature, targets, from_logits, divergence, label_weight, labels, scale_by_temperature_squared, ignore_class,
            axis: As in `distillation_loss`.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses that are neither masked nor
            ignored), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those neither masked
            nor ignored), `"none"`.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, y_pred, sample_weight=None)`: a scalar, or one loss per example without reduction.

    Raises:
        ValueError, TypeError: As `distillation_loss`; also weights or a mask that fit no leading axes.

    Differs from Keras:
        As `distillation_loss`.

    Example:
        >>> loss = keras_xent.DistillationLoss(temperature=3.0, targets="logits")
        >>> round(float(loss([[1.0, -2.0, 3.0, 0.5]], [[0.2, -1.0, 1.0, 0.1]])), 5)
        0.47697

    Source:
        As `distillation_loss`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    domain = DOMAIN["DistillationLoss"]
    _per_example = staticmethod(per_example)

    def __init__(
        self,
        temperature: float = 4.0,
        *,
        targets: str,
        from_logits: bool = True,
        divergence: str = "kl",
        label_weight: float = 0.0,
        labels: str | None = None,
        scale_by_temperature_squared: bool = True,
        ignore_class: int | Collection[int] | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "distillation_loss",
        dtype: Any = None,
    ) -> None:
        options = checked(
            temperature,
            targets,
            from_logits,
            divergence,
            label_weight,
            labels,
            scale_by_temperature_squared,
            ignore_class,
            axis,
        )
        self._configure(name, reduction, dtype, options)

    def _match(self, y_true, y_pred):
        if self.labels is not None:
            check_precision(y_true)
        y_true = self._floats("y_true", y_true)
        split_targets(y_true, y_pred, _checks.resolve_axis(self.axis, y_pred), self.labels)
        return y_true, y_pred

    def _counted(self, y_true, y_pred):
        if self.ignore_class is None:
            return None
        axis = _checks.resolve_axis(self.axis, y_pred)
        _, hard = split_targets(y_true, y_pred, axis, self.labels)
        return _labels.counted(hard, None, self.ignore_class, "error")

    def _unusable(self, y_true, y_pred, axes):
        usable = ops.logical_and(finite_rows(y_pred, axes), finite_rows(y_true, self._target_axes(y_true, axes)))
        if self.labels == "sparse":
            valid = _checks.valid_labels(unpack_targets(y_true, "sparse")[1], ops.shape(y_pred)[axes[0]])
            usable = ops.logical_and(usable, valid)
        return ops.logical_not(usable)

    def _blank(self, y_true, kept, axes):
        return blank(y_true, kept, self._target_axes(y_true, axes))

    def _target_axes(self, y_true, axes):
        """The class axis of `y_true`: that of the predictions, or the last if the targets are packed."""
        return axes if self.labels is None else (len(y_true.shape) - 1,)

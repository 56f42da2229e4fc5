"""The distillation loss: a student against its teacher, at a temperature, and against the hard labels."""

from collections.abc import Collection
from typing import Any

from keras import ops

from .. import _checks, _labels, steps
from .._base import evaluate, finite_rows, register
from .._recipe import Step, run
from .._reduction import BLANK, DROP_UNCOUNTED
from ..domain import DOMAIN
from ..losses import categorical, sparse
from ..losses._common import CLIPPED_LOG, RENORMALIZE, common_quantities, keep_half
from ..losses._kinds import OverClasses, run_or_shorten
from ..steps.tensors import move_axis
from .divergences import DIVERGENCES
from .packing import check_precision
from .targets import blank_soft, blank_targets, fits_when_run, hear, split_targets, target_axes
from .teachers import FROM_LOGITS, TARGETS, teacher_recipe
from .top_k import TAILS, right_pairs, split_pairs


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
TEMPER = Step("tempered_student", steps.temper, logits="soft_logits")
SCALE = Step("losses", scale_divergence)
ADD = Step("losses", add_label_loss)
SHORTCUT = (TEMPER, *FROM_LOGITS, *DIVERGENCES["kl"]), "KL"


def recipe(options):
    """The steps from the teacher's targets and the student's logits to the soft part of the loss."""
    return (TEMPER, *teacher_recipe(options), *DIVERGENCES[options["divergence"]], SCALE)


def per_example(y_true, y_pred, options, dtype, listener=None):
    """The losses in `dtype`, without the class axis."""
    axis = _checks.resolve_axis(options["axis"], y_pred)
    if needs_precision(options):
        check_precision(y_true)
    y_true = _checks.float_tensor("y_true", y_true)
    soft, hard = split_targets(y_true, y_pred, axis, options)
    counts, fits = None, fits_when_run(y_true, y_pred, axis, options)
    if options["ignore_class"] is not None:
        counts = _labels.counted(hard, None, options["ignore_class"], "error")
        soft = blank_soft(soft, counts, axis, options)
        y_pred = run((BLANK,), {"y_pred": y_pred, "kept": counts, "axes": (axis,)}, listener)
    losses = both_parts(soft, hard, y_pred, options, axis, dtype, listener, counts)
    losses = _checks.fail_unless_fits(losses, fits)
    return _checks.several_classes_when_run(losses, y_pred, axis)


def both_parts(soft, hard, y_pred, options, axis, dtype, listener=None, counts=None):
    """The losses from what the teacher said and the hard labels, or None; of what does not count the soft part is 0."""
    quantities = common_quantities(y_pred, options, axis, dtype)
    if not options["from_logits"]:
        quantities["logits"] = run(STUDENT_FROM_PROBS, quantities, listener)
    quantities |= {name: options[name] for name in ("label_weight", "scale_by_temperature_squared", "beta")}
    temperature = options["temperature"]
    quantities["temperature"] = ops.cast(temperature, dtype) if ops.is_tensor(temperature) else temperature
    if options["label_weight"] < 1.0:
        losses = soft_loss(ops.stop_gradient(soft), quantities, options, axis, dtype, listener)
        if counts is not None:
            losses = run((DROP_UNCOUNTED,), {"losses": losses, "kept": counts}, listener)
    else:  # an infinite divergence would survive the weight 0
        losses = 0.0
    if options["label_weight"] > 0.0:
        quantities["losses"] = losses
        quantities["label_losses"] = label_loss(hard, quantities["logits"], options, dtype, listener)
        losses = run((ADD,), quantities, listener)
    return losses


def soft_loss(soft, quantities, options, axis, dtype, listener=None):
    """The teacher's part of the losses."""
    logits = hear(quantities["logits"], axis, options["teacher_classes"])
    if options["targets"] != "top_k":
        taken = {"soft_logits": logits, "soft_targets": keep_half(hear(soft, axis, options["teacher_classes"]), dtype)}
        return run_or_shorten(recipe(options), quantities | taken, listener, SHORTCUT, dtype)
    logits = move_axis(ops.cast(logits, dtype), axis, len(logits.shape) - 1)
    pairs, right = split_pairs(soft, ops.shape(logits)[-1], dtype)
    taken = {"soft_logits": logits, "axis": len(logits.shape) - 1, **pairs}
    losses = run(recipe(options), quantities | taken, listener)
    return _checks.fail_where_wrong(losses, right, "`y_true` lists an id that is no class, or a class twice")


def needs_precision(options):
    """Whether `y_true` holds class ids, which half precision would round."""
    return options["labels"] is not None or options["targets"] == "top_k"


def label_loss(hard, logits, options, dtype, listener=None):
    """The cross-entropy of the student, at temperature 1, with the hard labels."""
    if options["labels"] == "dense":
        label_options = categorical.checked(True, 0.0, options["axis"], None, None, "flow")
        return categorical.per_example(ops.stop_gradient(hard), logits, label_options, dtype, listener)
    label_options = sparse.checked(True, options["ignore_class"], options["axis"], 0.0, None, "error", None, "flow")
    return sparse.per_example(hard, logits, label_options, dtype, listener)


def checked(
    temperature,
    targets,
    from_logits,
    divergence,
    beta,
    label_weight,
    labels,
    scale_by_temperature_squared,
    tail,
    teacher_classes,
    ignore_class,
    axis,
):
    """The options, each checked."""
    options = {
        "temperature": _checks.number("temperature", temperature, 0.0, open_low=True),
        "targets": _checks.choice("targets", targets, TARGETS),
        "from_logits": _checks.flag("from_logits", from_logits),
        "divergence": _checks.choice("divergence", divergence, tuple(DIVERGENCES)),
        "beta": _checks.number("beta", beta, 0.0, 1.0, open_low=True, open_high=True),
        "label_weight": _checks.number("label_weight", label_weight, 0.0, 1.0),
        "labels": _checks.choice("labels", labels, (None, "sparse", "dense")),
        "scale_by_temperature_squared": _checks.flag("scale_by_temperature_squared", scale_by_temperature_squared),
        "tail": _checks.choice("tail", tail, TAILS),
        "teacher_classes": _checks.optional_count("teacher_classes", teacher_classes, 2),
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
    beta: float = 0.5,
    label_weight: float = 0.0,
    labels: str | None = None,
    scale_by_temperature_squared: bool = True,
    tail: str = "bucket",
    teacher_classes: int | None = None,
    ignore_class: int | Collection[int] | None = None,
    axis: int = -1,
) -> Any:
    """How far a student is from its teacher at a temperature, one loss per example, in nats.

    loss = (1 - λ) T² D(softmax(t / T), softmax(s / T)) + λ CE(label, softmax(s)), where softmax(t / T) is p^(1/T) / Σ p^(1/T) for
    probabilities p, and D(p, q) is Σ_k p_k log(p_k / q_k) ("kl"), Σ_k q_k log(q_k / p_k) ("reverse_kl"),
    β KL(p, m) + (1 - β) KL(q, m) with m = β p + (1 - β) q ("jsd"), or -Σ_k p_k log q_k ("crossentropy").

    Args:
        y_true: What the teacher said, of the shape of `y_pred`, or (..., k, 2) for a top-k; with `labels`, what `pack_targets`
            returned. No gradient flows into it.
        y_pred: The student's logits, or probabilities; `axis` holds the two or more classes.
        temperature: T > 0. Above 1 it softens both distributions, below 1 it sharpens them.
        targets: `"logits"`, `"probs"`, `"log_probs"` or `"top_k"`: what `y_true` holds of the teacher. A top-k, of shape
            (..., k, 2), holds pairs of a class id and its log-probability at temperature T, as `top_k_targets` makes them; one
            of -inf lists nothing.
        from_logits: Whether `y_pred` holds logits. Probabilities are renormalised, clipped and logged, and the logarithms
            taken for logits.
        divergence: `"kl"`, `"reverse_kl"`, `"jsd"` or `"crossentropy"`. The first and the last differ by the teacher's
            entropy, and have the same gradient; the second is infinite, with a gradient of NaN, where the teacher rules out a
            class that the student does not; the third at most log 2 (before T²).
        beta: β in (0, 1), of `"jsd"`: the teacher's share of the mixture. At 1/2 the divergence is symmetric.
        label_weight: λ in [0, 1], the share of the hard labels' cross-entropy, which is taken at temperature 1.
        labels: None, or `"sparse"` or `"dense"`: `y_true` was made by `pack_targets` from such labels.
        scale_by_temperature_squared: Whether T² is there. It keeps the size of the gradient independent of T.
        tail: What a top-k says of the classes that it does not list. `"bucket"`: one class holds them all, for teacher and
            student; of `"kl"` this is a lower bound. `"renormalize"`: nothing, both are renormalised over the k.
            `"uniform"`: the teacher gives each of them the same, also those that the student rules out. Where the student rules
            all of them out and less than 1e-6 is left to them, they count for nothing: so does the teacher then.
        teacher_classes: The soft part looks at the first so many classes of both, which may have more, such as the padding of
            a vocabulary; the label's part at all of the student's. None: both have the same classes, and all count.
        ignore_class: A class id, or several: positions whose sparse label it is cost 0, for both parts, and, in the class,
            leave the denominator.
        axis: The class axis of `y_pred`, and of `y_true` unless it is packed.

    Returns:
        The losses, of the shape of `y_pred` without `axis` and in its dtype; half precision is summed in float32. Divergences are
        at least 0. A row of zero probabilities holds no teacher: its soft part is 0.

    Raises:
        ValueError: Shapes that do not fit, an axis out of range, one class, a temperature that is not positive and finite,
            a `label_weight` without `labels`, packed or top-k targets in half precision, ids that are no classes or
            listed twice.
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
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015); for the reverse and the generalised
        Jensen-Shannon divergence Agarwal et al., "On-Policy Distillation of Language Models" (2023), equation 1; the
        definition: `keras_xent.reference.distillation_loss`.
    """
    options = checked(
        temperature,
        targets,
        from_logits,
        divergence,
        beta,
        label_weight,
        labels,
        scale_by_temperature_squared,
        tail,
        teacher_classes,
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
        temperature, targets, from_logits, divergence, beta, label_weight, labels, scale_by_temperature_squared, tail,
            teacher_classes, ignore_class, axis: As in `distillation_loss`.
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
    _checked = staticmethod(checked)

    def __init__(
        self,
        temperature: float = 4.0,
        *,
        targets: str,
        from_logits: bool = True,
        divergence: str = "kl",
        beta: float = 0.5,
        label_weight: float = 0.0,
        labels: str | None = None,
        scale_by_temperature_squared: bool = True,
        tail: str = "bucket",
        teacher_classes: int | None = None,
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
            beta,
            label_weight,
            labels,
            scale_by_temperature_squared,
            tail,
            teacher_classes,
            ignore_class,
            axis,
        )
        self._configure(name, reduction, dtype, options)

    def _match(self, y_true, y_pred):
        if needs_precision(self._options):
            check_precision(y_true)
        y_true = self._floats("y_true", y_true)
        split_targets(y_true, y_pred, _checks.resolve_axis(self.axis, y_pred), self._options)
        return y_true, y_pred

    def _fits_when_run(self, y_true, y_pred):
        return fits_when_run(y_true, y_pred, _checks.resolve_axis(self.axis, y_pred), self._options)

    def _counted(self, y_true, y_pred):
        if self.ignore_class is None:
            return None
        _, hard = split_targets(y_true, y_pred, _checks.resolve_axis(self.axis, y_pred), self._options)
        return _labels.counted(hard, None, self.ignore_class, "error")

    def _unusable(self, y_true, y_pred, axes):
        soft, hard = split_targets(y_true, y_pred, axes[0], self._options)
        num_classes = ops.shape(y_pred)[axes[0]]
        usable = ops.logical_and(
            self._usable_predictions(y_pred, axes), finite_rows(y_true, target_axes(y_true, axes, self._options))
        )
        if self.labels == "sparse":
            usable = ops.logical_and(usable, _checks.valid_labels(hard, num_classes))
        if self.targets == "top_k":
            usable = ops.logical_and(usable, right_pairs(soft, self.teacher_classes or num_classes))
        return ops.logical_not(usable)

    def _blank(self, y_true, y_pred, kept, axes):
        return blank_targets(y_true, kept, axes, self._options, ops.shape(y_pred)[axes[0]])

"""Focal cross-entropy against class ids."""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .. import _checks, steps
from .._base import register
from .._recipe import Step
from ..domain import DOMAIN
from . import categorical_focal, sparse
from ._common import TARGET_FROM_LOGITS, TARGET_FROM_PROBS, common_options, focal_options, label_options
from ._kinds import ClassIdLoss, against_class_ids, evaluate_class_ids

SHARE = Step("shares", steps.clipped_share, clipped="clipped_prob", probs="target_prob")
REMAINDER_FROM_PROBS = SHARE, categorical_focal.COMPLEMENT
REMAINDER_FROM_LOGITS = Step("remainders", steps.remainder_of_target), Step("shares", steps.share_of_target)
MODULATE = Step("losses", steps.modulate, costs="losses")
WEIGH_BY_ALPHA = Step("losses", steps.weigh_loss, class_weight="alpha")
BALANCE = Step("losses", steps.balance, costs="losses")


def recipe(options):
    """The steps from labels and predictions to one loss per example."""
    from_logits = options["from_logits"]
    if options["label_smoothing"]:  # a smoothed target has a share of every class, so that what all of them cost is needed
        place = Step("targets", steps.place_target, scores="logits" if from_logits else "probs")
        return (place, *categorical_focal.recipe(options))
    taken = TARGET_FROM_LOGITS if from_logits else TARGET_FROM_PROBS
    taken += categorical_focal.focus(options, REMAINDER_FROM_PROBS, REMAINDER_FROM_LOGITS, MODULATE)
    taken += (WEIGH_BY_ALPHA if isinstance(options["alpha"], list) else BALANCE,)
    return taken if options["class_weight"] is None else (*taken, sparse.WEIGH_LOSS)


per_example = functools.partial(against_class_ids, recipe)


def checked(
    alpha, gamma, from_logits, ignore_class, axis, label_smoothing, class_weight, invalid_labels, epsilon, saturated_gradient
):
    """The options, each checked."""
    return {
        **focal_options(alpha, gamma),
        **common_options(from_logits, label_smoothing, _checks.class_axis(axis), epsilon, saturated_gradient),
        **label_options(ignore_class, invalid_labels),
        "class_weight": _checks.class_weight(class_weight),
    }


@register
def sparse_categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    ignore_class: int | Collection[int] | None = None,
    axis: int = -1,
    *,
    label_smoothing: float = 0.0,
    class_weight: Mapping[int, float] | Sequence[float] | None = None,
    invalid_labels: str = "error",
    epsilon: float | None = None,
    saturated_gradient: str = "flow",
) -> Any:
    """Focal cross-entropy between class ids and predictions, one loss per position, in nats.

    loss = α_y (1 - p_y)^γ w_y (-log p_y), where p is softmax(z) from logits z, and clip(p / Σ p, ε, 1 - ε) from probabilities.
    With label smoothing s: that of `categorical_focal_crossentropy` with smoothed one-hot targets.

    Args:
        y_true: Class ids from 0 to K - 1, of the shape of `y_pred` without `axis`; an axis of size 1, last or where `axis`
            says, is dropped. Integers stay integers; floats must be whole numbers.
        y_pred: Probabilities, or logits; `axis` holds the two or more classes.
        alpha: A number from 0, or one per class, that weighs the classes.
        gamma: γ >= 0: how much less a confident prediction counts. At 0 the loss is α times the cross-entropy.
        from_logits: Whether `y_pred` holds logits.
        ignore_class: A class id, or several: positions with such a label cost 0 and, in the class, leave the denominator.
        axis: The class axis, anywhere.
        label_smoothing: The share s in [0, 1] of the target that is spread evenly.
        class_weight: None, a mapping from class id to weight (classes left out weigh 1), or one weight per class.
        invalid_labels: `"error"` or `"ignore"`, for labels that are no class id, as in `sparse_categorical_crossentropy`.
        epsilon: Where probabilities are clipped; None is `keras.config.epsilon()`.
        saturated_gradient: `"flow"` or `"zero"`, as in `categorical_focal_crossentropy`.

    Returns:
        The losses, of the shape of `y_true` and in the dtype of `y_pred`; half precision is summed in float32.

    Raises:
        ValueError: Shapes that do not fit, an axis out of range, one class, labels that are no class ids, or an argument
            out of its range.
        TypeError: An argument or array of the wrong type, such as strings for labels.

    Differs from Keras:
        Keras has no focal loss for class ids.

    Example:
        >>> losses = keras_xent.sparse_categorical_focal_crossentropy([1, 2], [[0.05, 0.9, 0.05], [0.1, 0.85, 0.05]])
        >>> [round(float(loss), 5) for loss in losses]
        [0.00026, 0.67591]

    Source:
        Lin et al., "Focal Loss for Dense Object Detection" (2017), equation 5; the definition:
        `keras_xent.reference.sparse_categorical_focal_crossentropy`.
    """
    options = checked(
        alpha, gamma, from_logits, ignore_class, axis, label_smoothing, class_weight, invalid_labels, epsilon, saturated_gradient
    )
    return evaluate_class_ids(per_example, y_true, y_pred, options)


@register
class SparseCategoricalFocalCrossentropy(ClassIdLoss):
    """`sparse_categorical_focal_crossentropy`, weighed and reduced.

    loss = Σ_i v_i loss_i / N in nats, with v the sample weights; N is the number of losses that are neither masked nor
    ignored.

    Args:
        alpha, gamma, from_logits, ignore_class, axis, label_smoothing, class_weight, invalid_labels, epsilon,
            saturated_gradient: As in `sparse_categorical_focal_crossentropy`.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses that are neither masked nor
            ignored), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those
            neither masked nor ignored), `"none"`.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, y_pred, sample_weight=None)`: a scalar, or one loss per position without reduction.

    Raises:
        ValueError, TypeError: As `sparse_categorical_focal_crossentropy`; also weights or a mask that fit no leading axes.

    Differs from Keras:
        Keras has no focal loss for class ids.

    Example:
        >>> loss = keras_xent.SparseCategoricalFocalCrossentropy(ignore_class=-1)
        >>> round(float(loss([1, 2, -1], [[0.05, 0.95, 0], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])), 5)
        0.23315

    Source:
        As `sparse_categorical_focal_crossentropy`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    domain = DOMAIN["SparseCategoricalFocalCrossentropy"]
    _per_example = staticmethod(per_example)
    _checked = staticmethod(checked)

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        ignore_class: int | Collection[int] | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_focal_crossentropy",
        dtype: Any = None,
        *,
        label_smoothing: float = 0.0,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        invalid_labels: str = "error",
        epsilon: float | None = None,
        saturated_gradient: str = "flow",
    ) -> None:
        options = checked(
            alpha,
            gamma,
            from_logits,
            ignore_class,
            axis,
            label_smoothing,
            class_weight,
            invalid_labels,
            epsilon,
            saturated_gradient,
        )
        self._configure(name, reduction, dtype, options)

"""Focal cross-entropy against a distribution over classes."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from .. import _checks, steps
from .._base import evaluate, register
from .._recipe import Step
from ..domain import DOMAIN
from ._common import CLIPPED_LOG, RENORMALIZE, SMOOTH, WEIGH, below_top, common_options, focal_options
from ._kinds import DistributionLoss, against_distributions

COST = Step("costs", steps.cost)
FROM_PROBS = RENORMALIZE, *CLIPPED_LOG, COST
FROM_LOGITS = *below_top(), Step("log_probs", steps.log_softmax), COST
COMPLEMENT = Step("remainders", steps.complement, probs="shares")
REMAINDERS_FROM_PROBS = Step("shares", steps.clipped_share), COMPLEMENT
REMAINDERS_FROM_LOGITS = Step("remainders", steps.remainder), Step("shares", steps.share)
MODULATE = Step("costs", steps.modulate)
WEIGH_BY_ALPHA = Step("targets", steps.weigh, class_weight="alpha")
SUM = Step("losses", steps.sum_costs)


def focus(options, from_probs=REMAINDERS_FROM_PROBS, from_logits=REMAINDERS_FROM_LOGITS, modulate=MODULATE):
    """The focal factor's steps; none if γ = 0."""
    if options["gamma"] == 0.0:
        return ()
    return (*(from_logits if options["from_logits"] else from_probs), modulate)


def recipe(options):
    """The steps from targets and predictions to one loss per example."""
    taken = (SMOOTH,) if options["label_smoothing"] else ()
    if options["class_weight"] is not None:
        taken += (WEIGH,)
    from_y_pred = FROM_LOGITS if options["from_logits"] else FROM_PROBS
    return (*taken, WEIGH_BY_ALPHA, *from_y_pred, *focus(options), SUM)


SHORTCUTS = {
    True: ((*FROM_LOGITS, *REMAINDERS_FROM_LOGITS, MODULATE, SUM), "FOCAL"),
    False: ((*FROM_PROBS, *REMAINDERS_FROM_PROBS, MODULATE, SUM), "FOCAL_FROM_PROBS"),
}
per_example = functools.partial(against_distributions, recipe, shortcuts=SHORTCUTS)


def checked(alpha, gamma, from_logits, label_smoothing, axis, class_weight, epsilon, saturated_gradient):
    """The options, each checked."""
    return {
        **focal_options(alpha, gamma),
        **common_options(from_logits, label_smoothing, _checks.class_axis(axis), epsilon, saturated_gradient),
        "class_weight": _checks.class_weight(class_weight),
    }


@register
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    *,
    class_weight: Mapping[int, float] | Sequence[float] | None = None,
    epsilon: float | None = None,
    saturated_gradient: str = "flow",
) -> Any:
    """Cross-entropy in which a confident prediction counts for less, one loss per example, in nats.

    loss = Σ_k α_k (1 - p_k)^γ w_k t_k (-log p_k), where p is softmax(z) from logits z, and clip(p / Σ p, ε, 1 - ε) from
    probabilities.

    Args:
        y_true: Target distributions, of the shape of `y_pred`: one-hot or soft, floats or integers.
        y_pred: Probabilities, or logits; `axis` holds the two or more classes.
        alpha: A number from 0, or one per class, that weighs the classes.
        gamma: γ >= 0: how much less a confident prediction counts. At 0 the loss is α times the cross-entropy.
        from_logits: Whether `y_pred` holds logits.
        label_smoothing: The share s in [0, 1] of the target that is spread evenly: t_k ← (1 - s) t_k + s / K.
        axis: The class axis.
        class_weight: None, a mapping from class id to weight (classes left out weigh 1), or one weight per class.
        epsilon: Where probabilities are clipped; None is `keras.config.epsilon()`.
        saturated_gradient: `"flow"` lets the gradient through the clip: that of the unclipped logarithm, as in
            `categorical_crossentropy`, and of the focal factor, taken at the clip; both 0 at p = 0. `"zero"` stops it, as Keras
            does.

    Returns:
        The losses, of the shape of `y_pred` without `axis` and in its dtype; half precision is summed in float32.

    Raises:
        ValueError: Shapes that differ, an axis out of range, one class, or an argument out of its range.
        TypeError: An argument or array of the wrong type.

    Differs from Keras:
        1. From logits there is no clip, and nothing cancels; Keras clips the softmax, so that the loss of a wrong confident
           prediction stops growing and its gradient is 0, and those of a right one are rounded away.
        2. The gradient does not die where the clip binds (see `saturated_gradient`).
        3. Label smoothing and `alpha` count the classes along `axis`; Keras along the last axis.
        4. A row of zero probabilities costs -α log ε; Keras gives NaN.
        5. One class is an error, not a warning, and so are class ids (of shape (B, 1)), which Keras broadcasts.

    Example:
        >>> losses = keras_xent.categorical_focal_crossentropy([[0, 1, 0], [0, 0, 1]], [[0.05, 0.9, 0.05], [0.1, 0.85, 0.05]])
        >>> [round(float(loss), 5) for loss in losses]
        [0.00026, 0.67591]

    Source:
        Lin et al., "Focal Loss for Dense Object Detection" (2017), equation 5; the definition:
        `keras_xent.reference.categorical_focal_crossentropy`.
    """
    options = checked(alpha, gamma, from_logits, label_smoothing, axis, class_weight, epsilon, saturated_gradient)
    return evaluate(per_example, y_true, y_pred, options)


@register
class CategoricalFocalCrossentropy(DistributionLoss, keras.losses.CategoricalFocalCrossentropy):
    """`categorical_focal_crossentropy`, weighed and reduced: a drop-in for `keras.losses.CategoricalFocalCrossentropy`.

    loss = Σ_i v_i loss_i / N in nats, with v the sample weights; N is the number of losses under the mask.

    Args:
        alpha, gamma, from_logits, label_smoothing, axis, class_weight, epsilon, saturated_gradient: As in
            `categorical_focal_crossentropy`.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses, of those under the mask if there
            is one), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those under the mask),
            `"none"`.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, y_pred, sample_weight=None)`: a scalar, or one loss per example without reduction.

    Raises:
        ValueError, TypeError: As `categorical_focal_crossentropy`; also weights or a mask that fit no leading axes.

    Differs from Keras:
        As `categorical_focal_crossentropy`, and: weights of shape (B,) on losses of shape (B, T) weigh the batch; a weight of
        0 and a mask remove a position even if it holds NaN; the config holds all arguments.

    Example:
        >>> loss = keras_xent.CategoricalFocalCrossentropy()
        >>> round(float(loss([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]])), 5)
        0.23315

    Source:
        As `categorical_focal_crossentropy`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    domain = DOMAIN["CategoricalFocalCrossentropy"]
    _per_example = staticmethod(per_example)
    _checked = staticmethod(checked)

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
        *,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        epsilon: float | None = None,
        saturated_gradient: str = "flow",
    ) -> None:
        options = checked(alpha, gamma, from_logits, label_smoothing, axis, class_weight, epsilon, saturated_gradient)
        self._configure(name, reduction, dtype, options)

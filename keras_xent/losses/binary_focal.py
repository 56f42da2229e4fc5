"""Focal cross-entropy of independent yes/no outputs."""

import functools
from collections.abc import Sequence
from typing import Any

import keras

from .. import _checks, steps
from .._base import evaluate, register
from .._recipe import Step
from ..domain import DOMAIN
from . import binary
from ._common import common_options
from ._kinds import YesNoLoss, against_answers

ANSWERS_FROM_LOGITS = Step("probs", steps.sigmoid), Step("complements", steps.sigmoid_of_no)
ANSWERS_FROM_PROBS = (Step("complements", steps.complement),)
FOCUS = (
    Step("mistakes", steps.expect_mistake),
    Step("successes", steps.expect_success),
    Step("elements", steps.modulate, costs="elements", remainders="mistakes", shares="successes"),
)
BALANCE = Step("elements", steps.balance_answers, costs="elements")


def recipe(options):
    """The steps from targets and predictions to one loss per example."""
    *taken, average = binary.recipe(options)
    if options["gamma"] != 0.0:
        taken += (*(ANSWERS_FROM_LOGITS if options["from_logits"] else ANSWERS_FROM_PROBS), *FOCUS)
    if options["apply_class_balancing"]:
        taken.append(BALANCE)
    return (*taken, average)


SHORTCUTS = {
    True: ((*binary.KEEP, *binary.FROM_LOGITS, *ANSWERS_FROM_LOGITS, *FOCUS, binary.AVERAGE), "BINARY_FOCAL"),
    False: ((*binary.KEEP, *binary.FROM_PROBS, *ANSWERS_FROM_PROBS, *FOCUS, binary.AVERAGE), "BINARY_FOCAL_FROM_PROBS"),
}
per_example = functools.partial(against_answers, recipe, shortcuts=SHORTCUTS)


def checked(apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis, pos_weight, epsilon, saturated_gradient):
    """The options, each checked."""
    return {
        "apply_class_balancing": _checks.flag("apply_class_balancing", apply_class_balancing),
        "alpha": _checks.alpha_of_yes(alpha),
        "gamma": _checks.number("gamma", gamma, 0.0),
        **common_options(from_logits, label_smoothing, _checks.mean_axis(axis), epsilon, saturated_gradient),
        "pos_weight": _checks.pos_weight(pos_weight),
    }


@register
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int | Sequence[int] | None = -1,
    *,
    pos_weight: float | Sequence[float] | None = None,
    epsilon: float | None = None,
    saturated_gradient: str = "flow",
) -> Any:
    """Cross-entropy of yes/no outputs in which a confident answer counts for less, averaged over `axis`, in nats.

    loss = mean of b c^γ e, with e = -w t log p - (1 - t) log(1 - p) as in `binary_crossentropy`, c = t (1 - p) + (1 - t) p, and
    b = α t + (1 - α)(1 - t) with `apply_class_balancing`, else 1. From probabilities, p is clipped in the logarithms alone.

    Args:
        y_true: Targets in [0, 1], of the shape of `y_pred`.
        y_pred: Probabilities, or logits.
        apply_class_balancing: Whether a yes weighs α and a no 1 - α.
        alpha: α in [0, 1], or one number per output (the last axis).
        gamma: γ >= 0: how much less a confident answer counts. At 0 the loss is the cross-entropy.
        from_logits: Whether `y_pred` holds logits.
        label_smoothing: The share s in [0, 1] that pulls targets towards one half: t ← (1 - s) t + s / 2.
        axis: The axis of the mean: an int, several ints, None for all, or () for none (one loss per element).
        pos_weight: None, a number, or one number per output (the last axis): the weight w of the yes.
        epsilon: Where probabilities are clipped; None is `keras.config.epsilon()`.
        saturated_gradient: `"flow"` gives clipped probabilities the gradient of the unclipped logarithms, as in
            `binary_crossentropy`; `"zero"` gives the logarithms none, as Keras does. The factor c^γ is not clipped either way;
            where c is 0 its gradient is, unless γ = 1.

    Returns:
        The losses, of the shape of `y_pred` without `axis` and in its dtype; half precision is summed in float32.

    Raises:
        ValueError: Shapes that differ, an axis out of range, or an argument out of its range.
        TypeError: An argument or array of the wrong type.

    Differs from Keras:
        1. From logits there is no clip, and nothing cancels; Keras on JAX and PyTorch clips the sigmoid, so that the loss of a
           wrong confident answer stops growing and its gradient is next to 0, and those of a right one are rounded away.
        2. With γ below 1 the gradient of a right confident answer is finite; Keras gives NaN.
        3. The gradient does not die where the clip binds (see `saturated_gradient`).
        4. A logit of -inf for a no, or inf for a yes, costs 0; Keras gives 0 or NaN.
        5. On TensorFlow, Keras takes logits from behind a sigmoid; we use the probabilities that we are given.
        6. In float16 a certain right answer costs next to 0, where Keras gives NaN on TensorFlow and JAX.
        7. An α above 1, which would weigh a no negatively, is an error.

    Example:
        >>> losses = keras_xent.binary_focal_crossentropy([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], gamma=2.0)
        >>> [round(float(loss), 5) for loss in losses]
        [0.32986, 0.2058]

    Source:
        Lin et al., "Focal Loss for Dense Object Detection" (2017), equations 4 and 5; the definition:
        `keras_xent.reference.binary_focal_crossentropy`.
    """
    options = checked(
        apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis, pos_weight, epsilon, saturated_gradient
    )
    return evaluate(per_example, y_true, y_pred, options)


@register
class BinaryFocalCrossentropy(YesNoLoss, keras.losses.BinaryFocalCrossentropy):
    """`binary_focal_crossentropy`, weighed and reduced: a drop-in for `keras.losses.BinaryFocalCrossentropy`.

    loss = Σ_i v_i loss_i / N in nats, with v the sample weights; N is the number of losses under the mask.

    Args:
        apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis, pos_weight, epsilon, saturated_gradient: As
            in `binary_focal_crossentropy`.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses, of those under the mask if there
            is one), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those under the mask),
            `"none"`.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, y_pred, sample_weight=None)`: a scalar, or one loss per example without reduction. As in
        Keras, one of the two may have an additional last axis of size 1.

    Raises:
        ValueError, TypeError: As `binary_focal_crossentropy`; also weights or a mask that fit no leading axes.

    Differs from Keras:
        As `binary_focal_crossentropy`, and: weights of shape (B,) on losses of shape (B, T) weigh the batch; a weight of 0 and
        a mask remove a position even if it holds NaN; the config holds all arguments.

    Example:
        >>> loss = keras_xent.BinaryFocalCrossentropy(gamma=3.0, from_logits=True)
        >>> round(float(loss([0, 1, 0, 0], [-18.6, 0.51, 2.94, -12.8])), 5)
        0.64699

    Source:
        As `binary_focal_crossentropy`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    domain = DOMAIN["BinaryFocalCrossentropy"]
    _per_example = staticmethod(per_example)
    _checked = staticmethod(checked)

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int | Sequence[int] | None = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
        *,
        pos_weight: float | Sequence[float] | None = None,
        epsilon: float | None = None,
        saturated_gradient: str = "flow",
    ) -> None:
        options = checked(
            apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis, pos_weight, epsilon, saturated_gradient
        )
        self._configure(name, reduction, dtype, options)

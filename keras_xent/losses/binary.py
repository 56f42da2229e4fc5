"""Cross-entropy of independent yes/no outputs."""

import functools
from collections.abc import Sequence
from typing import Any

import keras

from .. import _checks, steps
from .._base import evaluate, register
from .._recipe import Step
from ..domain import DOMAIN
from ._common import common_options
from ._kinds import YesNoLoss, against_answers

SMOOTH = Step("no_targets", steps.smooth_no), Step("targets", steps.smooth_binary)
KEEP = (Step("no_targets", steps.complement, probs="targets"),)
FROM_PROBS = (
    Step("clipped", steps.clip),
    Step("log_probs", steps.log),
    Step("log_complements", steps.log_complement),
    Step("elements", steps.choose_log),
)
FROM_LOGITS = (
    Step("costs_of_yes", steps.cost_of_yes),
    Step("costs_of_no", steps.cost_of_no),
    Step("elements", steps.choose_cost),
)
AVERAGE = Step("losses", steps.average)


def recipe(options):
    """The steps from targets and predictions to one loss per example."""
    targets = SMOOTH if options["label_smoothing"] else KEEP
    return (*targets, *(FROM_LOGITS if options["from_logits"] else FROM_PROBS), AVERAGE)


SHORTCUTS = {
    True: ((*KEEP, *FROM_LOGITS, AVERAGE), "BINARY"),
    False: ((*KEEP, *FROM_PROBS, AVERAGE), "BINARY_FROM_PROBS"),
}
per_example = functools.partial(against_answers, recipe, shortcuts=SHORTCUTS)


def checked(from_logits, label_smoothing, axis, pos_weight, epsilon, saturated_gradient):
    """The options, each checked."""
    axis = _checks.mean_axis(axis)
    return common_options(from_logits, label_smoothing, axis, epsilon, saturated_gradient) | {
        "pos_weight": _checks.pos_weight(pos_weight)
    }


@register
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int | Sequence[int] | None = -1,
    *,
    pos_weight: float | Sequence[float] | None = None,
    epsilon: float | None = None,
    saturated_gradient: str = "flow",
) -> Any:
    """Cross-entropy of independent yes/no outputs, averaged over `axis`, in nats.

    loss = mean of -w t log p - (1 - t) log(1 - p), where p is σ(z) from logits z and clip(p, ε, 1 - ε) from probabilities.

    Args:
        y_true: Targets in [0, 1], of the shape of `y_pred`.
        y_pred: Probabilities, or logits.
        from_logits: Whether `y_pred` holds logits.
        label_smoothing: The share s in [0, 1] that pulls targets towards one half: t ← (1 - s) t + s / 2.
        axis: The axis of the mean: an int, several ints, None for all, or () for none (one loss per element).
        pos_weight: None, a number, or one number per output (the last axis): the weight w of the yes.
        epsilon: Where probabilities are clipped; None is `keras.config.epsilon()`.
        saturated_gradient: `"flow"` gives clipped probabilities the gradient of the unclipped logarithms, bounded by
            8.3e34 (4096 in float16) and 0 at p = 0 (1 - p = 0 for the no); `"zero"` gives them none, as Keras does.

    Returns:
        The losses, of the shape of `y_pred` without `axis` and in its dtype; half precision is summed in float32.

    Raises:
        ValueError: Shapes that differ, an axis out of range, or an argument out of its range.
        TypeError: An argument or array of the wrong type.

    Differs from Keras:
        1. The gradient does not die where the clip binds (see `saturated_gradient`).
        2. In float16, where 1 - 1e-7 rounds to 1, Keras gives NaN for a right prediction; we compute in float32.
        3. On TensorFlow, Keras takes logits from behind a sigmoid (and a softmax); we use the probabilities that we are given.
        4. On PyTorch, Keras rounds the loss of a confident right logit, and its gradient, to 0.
        5. A logit of -inf for a no, or inf for a yes, costs 0; Keras gives NaN.

    Example:
        >>> losses = keras_xent.binary_crossentropy([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]])
        >>> [round(float(loss), 5) for loss in losses]
        [0.91629, 0.71356]

    Source:
        The definition: `keras_xent.reference.binary_crossentropy`.
    """
    options = checked(from_logits, label_smoothing, axis, pos_weight, epsilon, saturated_gradient)
    return evaluate(per_example, y_true, y_pred, options)


@register
class BinaryCrossentropy(YesNoLoss, keras.losses.BinaryCrossentropy):
    """`binary_crossentropy`, weighed and reduced: a drop-in for `keras.losses.BinaryCrossentropy`.

    loss = Σ_i v_i loss_i / N in nats, with v the sample weights; N is the number of losses under the mask.

    Args:
        from_logits, label_smoothing, axis, pos_weight, epsilon, saturated_gradient: As in `binary_crossentropy`.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses, of those under the mask if there
            is one), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those under the mask),
            `"none"`.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, y_pred, sample_weight=None)`: a scalar, or one loss per example without reduction. As in
        Keras, one of the two may have an additional last axis of size 1.

    Raises:
        ValueError, TypeError: As `binary_crossentropy`; also weights or a mask that fit no leading axes.

    Differs from Keras:
        As `binary_crossentropy`, and: weights of shape (B,) on losses of shape (B, T) weigh the batch; a weight of 0 and a
        mask remove a position even if it holds NaN; the config holds all arguments.

    Example:
        >>> loss = keras_xent.BinaryCrossentropy(from_logits=True)
        >>> round(float(loss([[0.0, 1.0]], [[-2.0, 3.0]])), 5)
        0.08776

    Source:
        As `binary_crossentropy`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    domain = DOMAIN["BinaryCrossentropy"]
    _per_example = staticmethod(per_example)
    _checked = staticmethod(checked)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int | Sequence[int] | None = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        *,
        pos_weight: float | Sequence[float] | None = None,
        epsilon: float | None = None,
        saturated_gradient: str = "flow",
    ) -> None:
        options = checked(from_logits, label_smoothing, axis, pos_weight, epsilon, saturated_gradient)
        self._configure(name, reduction, dtype, options)

"""Cross-entropy against a distribution over classes."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from .. import _checks
from .._base import evaluate, register
from ..domain import DOMAIN
from ._common import DISTRIBUTION_FROM_LOGITS, DISTRIBUTION_FROM_PROBS, SMOOTH, WEIGH, common_options
from ._kinds import DistributionLoss, against_distributions


def recipe(options):
    """The steps from targets and predictions to one loss per example."""
    targets = (SMOOTH,) if options["label_smoothing"] else ()
    if options["class_weight"] is not None:
        targets += (WEIGH,)
    return targets + (DISTRIBUTION_FROM_LOGITS if options["from_logits"] else DISTRIBUTION_FROM_PROBS)


per_example = functools.partial(against_distributions, recipe)


def checked(from_logits, label_smoothing, axis, class_weight, epsilon, saturated_gradient):
    """The options, each checked."""
    axis = _checks.class_axis(axis)
    return common_options(from_logits, label_smoothing, axis, epsilon, saturated_gradient) | {
        "class_weight": _checks.class_weight(class_weight)
    }


@register
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    *,
    class_weight: Mapping[int, float] | Sequence[float] | None = None,
    epsilon: float | None = None,
    saturated_gradient: str = "flow",
) -> Any:
    """Cross-entropy between target distributions and predictions, one loss per example, in nats.

    loss = -Σ_k w_k t_k log p_k, where p is softmax(z) from logits z, and clip(p / Σ p, ε, 1 - ε) from probabilities.

    Args:
        y_true: Target distributions, of the shape of `y_pred`: one-hot or soft, floats or integers.
        y_pred: Probabilities, or logits; `axis` holds the two or more classes.
        from_logits: Whether `y_pred` holds logits.
        label_smoothing: The share s in [0, 1] of the target that is spread evenly: t_k ← (1 - s) t_k + s / K.
        axis: The class axis.
        class_weight: None, a mapping from class id to weight (classes left out weigh 1), or one weight per class.
        epsilon: Where probabilities are clipped; None is `keras.config.epsilon()`.
        saturated_gradient: `"flow"` gives clipped probabilities the gradient of the unclipped logarithm,
            -t / max(p, 1.2e-35) and 0 at p = 0 (2.4e-4 in float16, whose gradients must fit it too); `"zero"` gives them none,
            as Keras does.

    Returns:
        The losses, of the shape of `y_pred` without `axis` and in its dtype; half precision is summed in float32.

    Raises:
        ValueError: Shapes that differ, an axis out of range, one class, or an argument out of its range.
        TypeError: An argument or array of the wrong type.

    Differs from Keras:
        1. From logits nothing cancels: a confident prediction keeps its small loss and gradient.
        2. The gradient does not die where the clip binds (see `saturated_gradient`).
        3. Label smoothing counts the classes along `axis`; Keras along the last axis.
        4. A class with target 0 contributes 0 even at logit -inf, where Keras gives NaN.
        5. A row of zero probabilities costs -log ε; Keras gives NaN.
        6. On TensorFlow, Keras takes logits from behind a softmax; we use the probabilities that we are given.
        7. Targets need not sum to 1: the gradient is (Σ t) p - t, where Keras on TensorFlow gives p - t.
        8. One class is an error, not a warning.

    Example:
        >>> y_true = [[0, 1, 0], [0, 0, 1]]
        >>> y_pred = [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]]
        >>> losses = keras_xent.categorical_crossentropy(y_true, y_pred)
        >>> [round(float(loss), 5) for loss in losses]
        [0.05129, 2.30259]

    Source:
        The definition: `keras_xent.reference.categorical_crossentropy`. The form from logits follows Blanchard, Higham
        and Higham, "Accurately computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 41 (2021).
    """
    options = checked(from_logits, label_smoothing, axis, class_weight, epsilon, saturated_gradient)
    return evaluate(per_example, y_true, y_pred, options)


@register
class CategoricalCrossentropy(DistributionLoss, keras.losses.CategoricalCrossentropy):
    """`categorical_crossentropy`, weighed and reduced: a drop-in for `keras.losses.CategoricalCrossentropy`.

    loss = Σ_i v_i loss_i / N in nats, with v the sample weights; N is the number of losses under the mask.

    Args:
        from_logits, label_smoothing, axis, class_weight, epsilon, saturated_gradient: As in `categorical_crossentropy`.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses, of those under the mask if there
            is one), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those under the mask),
            `"none"`.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, y_pred, sample_weight=None)`: a scalar, or one loss per example without reduction.

    Raises:
        ValueError, TypeError: As `categorical_crossentropy`; also weights or a mask that fit no leading axes.

    Differs from Keras:
        As `categorical_crossentropy`, and: weights of shape (B,) on losses of shape (B, T) weigh the batch; a weight of 0
        and a mask remove a position even if it holds NaN; the config holds all arguments.

    Example:
        >>> loss = keras_xent.CategoricalCrossentropy()
        >>> round(float(loss([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])), 5)
        1.17694

    Source:
        As `categorical_crossentropy`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    domain = DOMAIN["CategoricalCrossentropy"]
    _per_example = staticmethod(per_example)
    _checked = staticmethod(checked)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        *,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        epsilon: float | None = None,
        saturated_gradient: str = "flow",
    ) -> None:
        options = checked(from_logits, label_smoothing, axis, class_weight, epsilon, saturated_gradient)
        self._configure(name, reduction, dtype, options)

"""Generalised cross-entropy against class ids."""

import functools
from collections.abc import Collection
from typing import Any

import keras

from .. import _checks, steps
from .._base import register
from .._recipe import Step
from ..domain import DOMAIN
from ._common import TARGET_FROM_LOGITS, label_options
from ._kinds import ClassIdLoss, against_class_ids, evaluate_class_ids

FROM_PROBS = (
    Step("target_prob", steps.pick, values="probs"),
    Step("log_prob", steps.log_unclipped),
    Step("losses", steps.negate),
)
GENERALIZE = Step("losses", steps.generalize)


def recipe(options):
    """The steps from labels and predictions to one loss per example."""
    return (*(TARGET_FROM_LOGITS if options["from_logits"] else FROM_PROBS), GENERALIZE)


per_example = functools.partial(against_class_ids, recipe)


def checked(q, from_logits, axis, ignore_class, invalid_labels):
    """The options, each checked."""
    return {
        "q": _checks.exponent_q(q),
        "from_logits": _checks.flag("from_logits", from_logits),
        "axis": _checks.class_axis(axis),
        **label_options(ignore_class, invalid_labels),
    }


@register
def categorical_generalized_cross_entropy(
    y_true: Any,
    y_pred: Any,
    q: float,
    *,
    from_logits: bool = False,
    axis: int = -1,
    ignore_class: int | Collection[int] | None = None,
    invalid_labels: str = "error",
) -> Any:
    """Cross-entropy that a wrong label cannot dominate, one loss per position, at most 1/q.

    loss = (1 - p_y^q) / q, where p is softmax(z) from logits z, and the probabilities as they are (neither renormalised nor
    clipped) without. As q approaches 0 it becomes -log p_y, in nats; as q approaches 1 it becomes 1 - p_y.

    Args:
        y_true: Class ids from 0 to K - 1, of the shape of `y_pred` without `axis`; an axis of size 1, last or where `axis`
            says, is dropped. Integers stay integers; floats must be whole numbers.
        y_pred: Probabilities, or logits; `axis` holds the two or more classes.
        q: The exponent, in the open interval (0, 1).
        from_logits: Whether `y_pred` holds logits.
        axis: The class axis, anywhere.
        ignore_class: A class id, or several: positions with such a label cost 0 and, in the class, leave the denominator.
        invalid_labels: `"error"` or `"ignore"`, for labels that are no class id, as in `sparse_categorical_crossentropy`.

    Returns:
        The losses, of the shape of `y_true` and in the dtype of `y_pred`; half precision is summed in float32.

    Raises:
        ValueError: Shapes that do not fit, an axis out of range, one class, labels that are no class ids, or a q out of its
            range.
        TypeError: An argument or array of the wrong type, such as strings for labels.

    Differs from Keras:
        1. `from_logits`, `axis`, `ignore_class` and `invalid_labels` are not in Keras.
        2. The gradient at p = 0 is 0 where Keras's is infinite, and bounded for p below 1.2e-35 (2.4e-4 in float16).
        3. A label out of range is an error; Keras gives 1/q.
        4. Labels of shape (B, 1) are one per row; Keras compares every label with every row.
        5. Near p = 1 nothing cancels, nor at a small q.
        6. A label that is no whole number is an error, and so is a single class.

    Example:
        >>> losses = keras_xent.categorical_generalized_cross_entropy([0, 1], [[0.7, 0.3], [0.2, 0.8]], q=0.5)
        >>> [round(float(loss), 5) for loss in losses]
        [0.32668, 0.21115]

    Source:
        Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels" (2018),
        equation 6; the definition: `keras_xent.reference.categorical_generalized_cross_entropy`.
    """
    return evaluate_class_ids(per_example, y_true, y_pred, checked(q, from_logits, axis, ignore_class, invalid_labels))


@register
class CategoricalGeneralizedCrossEntropy(ClassIdLoss, keras.losses.CategoricalGeneralizedCrossEntropy):
    """`categorical_generalized_cross_entropy`, weighed and reduced: a drop-in for Keras's class of this name.

    loss = Σ_i v_i loss_i / N, with v the sample weights; N is the number of losses that are neither masked nor ignored. It is
    in nats as q approaches 0, and a share of the probability as q approaches 1.

    Args:
        q, from_logits, axis, ignore_class, invalid_labels: As in `categorical_generalized_cross_entropy`.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses that are neither masked nor
            ignored), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those
            neither masked nor ignored), `"none"`.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, y_pred, sample_weight=None)`: a scalar, or one loss per position without reduction.

    Raises:
        ValueError, TypeError: As `categorical_generalized_cross_entropy`; also weights or a mask that fit no leading axes.

    Differs from Keras:
        As `categorical_generalized_cross_entropy`, and: weights of shape (B,) on losses of shape (B, T) weigh the batch; a
        weight of 0 and a mask remove a position even if it holds NaN or an invalid label; labels stay integers, which Keras
        casts to its dtype; the config holds all arguments.

    Example:
        >>> loss = keras_xent.CategoricalGeneralizedCrossEntropy()
        >>> round(float(loss([0, 1, 0, 1], [[0.7, 0.3], [0.2, 0.8], [0.6, 0.4], [0.4, 0.6]])), 5)
        0.35986

    Source:
        As `categorical_generalized_cross_entropy`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    domain = DOMAIN["CategoricalGeneralizedCrossEntropy"]
    _per_example = staticmethod(per_example)
    _checked = staticmethod(checked)

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
        *,
        from_logits: bool = False,
        axis: int = -1,
        ignore_class: int | Collection[int] | None = None,
        invalid_labels: str = "error",
    ) -> None:
        self._configure(name, reduction, dtype, checked(q, from_logits, axis, ignore_class, invalid_labels))

"""Cross-entropy against class ids."""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras

from .. import _checks, steps
from .._base import register
from .._recipe import Step
from ..domain import DOMAIN
from . import categorical
from ._common import CLIPPED_LOG, TARGET_FROM_LOGITS, TARGET_FROM_PROBS, WEIGH, common_options, label_options
from ._kinds import ClassIdLoss, against_class_ids, evaluate_class_ids

PLACE_FROM_LOGITS = Step("targets", steps.place_target, scores="logits")
WEIGH_LOSS = Step("losses", steps.weigh_loss)

# Smoothed targets are the label's share and an even share for every class. The loss of each part is computed, so that no
# smoothed one-hot tensor is needed.
EVEN_FROM_PROBS = (
    *CLIPPED_LOG,
    Step("products", steps.multiply),
    Step("even_losses", steps.sum_over_classes),
)
EVEN_FROM_LOGITS = (Step("even_losses", steps.expect_even_loss),)
MIX = Step("losses", steps.mix)


def recipe(options):
    """The steps from labels and predictions to one loss per example."""
    weighed, from_logits = options["class_weight"] is not None, options["from_logits"]
    if weighed and from_logits and options["label_smoothing"]:
        # a label of weight 0 leaves the even share, whose digits are not those of a sum that is centred on the label
        return (PLACE_FROM_LOGITS, *categorical.recipe(options))
    steps_taken = TARGET_FROM_LOGITS if from_logits else TARGET_FROM_PROBS
    if weighed:
        steps_taken += (WEIGH_LOSS,)
    if options["label_smoothing"]:
        steps_taken += (Step("targets", steps.spread_evenly, scores="logits" if from_logits else "probs"),)
        if weighed:
            steps_taken += (WEIGH,)
        steps_taken += (*(EVEN_FROM_LOGITS if from_logits else EVEN_FROM_PROBS), MIX)
    return steps_taken


per_example = functools.partial(against_class_ids, recipe)


def checked(from_logits, ignore_class, axis, label_smoothing, class_weight, invalid_labels, epsilon, saturated_gradient):
    """The options, each checked."""
    axis = _checks.class_axis(axis)
    options = common_options(from_logits, label_smoothing, axis, epsilon, saturated_gradient)
    return options | label_options(ignore_class, invalid_labels) | {"class_weight": _checks.class_weight(class_weight)}


@register
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
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
    """Cross-entropy between class ids and predictions, one loss per position, in nats.

    loss = -w_y log p_y, where p is softmax(z) from logits z, and clip(p / Σ p, ε, 1 - ε) from probabilities. With label
    smoothing s: loss = -(1 - s) w_y log p_y - (s / K) Σ_k w_k log p_k.

    Args:
        y_true: Class ids from 0 to K - 1, of the shape of `y_pred` without `axis`; an axis of size 1, last or where `axis`
            says, is dropped. Integers stay integers; floats must be whole numbers.
        y_pred: Probabilities, or logits; `axis` holds the two or more classes.
        from_logits: Whether `y_pred` holds logits.
        ignore_class: A class id, or several: positions with such a label cost 0 and, in the class, leave the denominator.
        axis: The class axis, anywhere.
        label_smoothing: The share s in [0, 1] of the target that is spread evenly.
        class_weight: None, a mapping from class id to weight (classes left out weigh 1), or one weight per class.
        invalid_labels: `"error"` or `"ignore"`, for labels that are no class id. An error is a `ValueError` where labels can
            be read without waiting for a device, a runtime error in a TensorFlow graph on a CPU, and NaN for that
            position in other compiled programs. `"ignore"` treats them as `ignore_class`.
        epsilon: Where probabilities are clipped; None is `keras.config.epsilon()`.
        saturated_gradient: `"flow"` gives a clipped probability the gradient of the unclipped logarithm,
            -1 / max(p, 1.2e-35) and 0 at p = 0 (2.4e-4 in float16, whose gradients must fit it too); `"zero"` gives it none,
            as Keras does.

    Returns:
        The losses, of the shape of `y_true` and in the dtype of `y_pred`; half precision is summed in float32.

    Raises:
        ValueError: Shapes that do not fit, an axis out of range, one class, labels that are no class ids, or an argument
            out of its range.
        TypeError: An argument or array of the wrong type, such as strings for labels.

    Differs from Keras:
        1. From logits nothing cancels: a confident prediction keeps its small loss and gradient, which Keras loses on all
           backends.
        2. Labels stay integers: Keras's class casts them to its dtype, and class 257 becomes 256 in bfloat16.
        3. A label out of range is an error on all backends; Keras on JAX gives loss 0.
        4. Probabilities are renormalised on all backends; Keras on TensorFlow takes log-probabilities for logits after
           the clip, and looks behind a softmax for its logits.
        5. `axis` may be any axis on all backends.
        6. The gradient does not die where the clip binds (see `saturated_gradient`).
        7. One class is an error.

    Example:
        >>> losses = keras_xent.sparse_categorical_crossentropy([1, 2], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
        >>> [round(float(loss), 5) for loss in losses]
        [0.05129, 2.30259]

    Source:
        The definition: `keras_xent.reference.sparse_categorical_crossentropy`. The form from logits follows Blanchard,
        Higham and Higham, "Accurately computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 41 (2021);
        label smoothing is that of Szegedy et al., "Rethinking the Inception Architecture" (2016).
    """
    options = checked(from_logits, ignore_class, axis, label_smoothing, class_weight, invalid_labels, epsilon, saturated_gradient)
    return evaluate_class_ids(per_example, y_true, y_pred, options)


@register
class SparseCategoricalCrossentropy(ClassIdLoss, keras.losses.SparseCategoricalCrossentropy):
    """`sparse_categorical_crossentropy`, weighed and reduced: a drop-in for `keras.losses.SparseCategoricalCrossentropy`.

    loss = Σ_i v_i loss_i / N in nats, with v the sample weights; N is the number of losses that are neither masked nor
    ignored.

    Args:
        from_logits, ignore_class, axis, label_smoothing, class_weight, invalid_labels, epsilon, saturated_gradient: As in
            `sparse_categorical_crossentropy`.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses that are neither masked nor
            ignored), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those
            neither masked nor ignored), `"none"`.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, y_pred, sample_weight=None)`: a scalar, or one loss per position without reduction.

    Raises:
        ValueError, TypeError: As `sparse_categorical_crossentropy`; also weights or a mask that fit no leading axes.

    Differs from Keras:
        As `sparse_categorical_crossentropy`, and: weights of shape (B,) on losses of shape (B, T) weigh the batch; a weight
        of 0 and a mask remove a position even if it holds NaN or an invalid label; the config holds all arguments.

    Example:
        >>> loss = keras_xent.SparseCategoricalCrossentropy(ignore_class=-1)
        >>> round(float(loss([1, -1], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])), 5)
        0.05129

    Source:
        As `sparse_categorical_crossentropy`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    domain = DOMAIN["SparseCategoricalCrossentropy"]
    _per_example = staticmethod(per_example)
    _checked = staticmethod(checked)

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | Collection[int] | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        *,
        label_smoothing: float = 0.0,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        invalid_labels: str = "error",
        epsilon: float | None = None,
        saturated_gradient: str = "flow",
    ) -> None:
        options = checked(
            from_logits, ignore_class, axis, label_smoothing, class_weight, invalid_labels, epsilon, saturated_gradient
        )
        self._configure(name, reduction, dtype, options)

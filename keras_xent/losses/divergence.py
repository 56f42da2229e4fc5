"""Kullback-Leibler divergence."""

import functools
from typing import Any

import keras

from .. import _checks, steps
from .._base import evaluate, register
from .._recipe import Step
from ..domain import DOMAIN
from ._common import below_top, prediction_options
from ._kinds import DistributionLoss, against_distributions

FROM_PROBS = (
    Step("clipped_targets", steps.clip_targets),
    Step("log_targets", steps.log_of_targets, targets="clipped_targets"),
    Step("clipped", steps.clip_low),
    Step("log_probs", steps.log),
    Step("costs", steps.measure_clipped_divergence),
    Step("losses", steps.sum_costs),
)
FROM_LOGITS = (
    Step("log_targets", steps.log_of_targets),
    Step("mass", steps.sum_targets),
    Step("log_mass", steps.log_mass),
    *below_top(leads="no_lead"),
    Step("log_probs", steps.log_softmax),
    Step("spread_log_probs", steps.spread_mass),
    Step("probs", steps.softmax),
    Step("spread_probs", steps.share_mass),
    Step("terms", steps.measure_kl_terms, log_probs="spread_log_probs", probs="spread_probs"),
    Step("sum_of_terms", steps.sum_kl_terms),
    Step("losses", steps.add_mass),
)


def recipe(options):
    """The steps from targets and predictions to one loss per example."""
    return FROM_LOGITS if options["from_logits"] else FROM_PROBS


SHORTCUTS = {False: (FROM_PROBS, "KL_FROM_PROBS")}
per_example = functools.partial(against_distributions, recipe, allow_one_class=True, shortcuts=SHORTCUTS)


def checked(from_logits, axis, epsilon, saturated_gradient):
    """The options, each checked."""
    return prediction_options(from_logits, _checks.class_axis(axis), epsilon, saturated_gradient)


@register
def kl_divergence(
    y_true: Any,
    y_pred: Any,
    *,
    from_logits: bool = False,
    axis: int = -1,
    epsilon: float | None = None,
    saturated_gradient: str = "flow",
) -> Any:
    """Kullback-Leibler divergence of predictions from target distributions, one per example, in nats.

    loss = Σ_k t_k log(t_k / p_k), where p is softmax(z) from logits z, and a target of 0 contributes 0; from probabilities, which
    are not renormalised, both are clipped to [ε, 1] first.

    Args:
        y_true: Target distributions, of the shape of `y_pred`.
        y_pred: Probabilities, or logits; `axis` holds the classes.
        from_logits: Whether `y_pred` holds logits. They are not clipped, and neither are the targets.
        axis: The class axis.
        epsilon: Where probabilities are clipped; None is `keras.config.epsilon()`.
        saturated_gradient: `"flow"` gives clipped probabilities the gradient of the unclipped logarithm,
            -t / max(p, 1.2e-35) and 0 at p = 0 (2.4e-4 in float16, whose gradients must fit it too), with t not clipped either;
            `"zero"` gives them none, as Keras does.

    Returns:
        The divergences, of the shape of `y_pred` without `axis` and in its dtype; half precision is summed in float32.

    Raises:
        ValueError: Shapes that differ, an axis out of range, or an argument out of its range.
        TypeError: An argument or array of the wrong type.

    Differs from Keras:
        1. `from_logits` and `axis` are not in Keras.
        2. The gradient does not die where the clip binds (see `saturated_gradient`).
        3. Shapes that differ are an error, and so are class ids; Keras broadcasts them.
        4. In float16, Keras gives infinity for a sure and wrong prediction; we compute in float32.
        5. The gradient at p = 1 is whole; on JAX, Keras halves it there.

    Example:
        >>> losses = keras_xent.kl_divergence([[0.5, 0.5], [0.0, 1.0]], [[0.25, 0.75], [0.5, 0.5]])
        >>> [round(float(loss), 5) for loss in losses]
        [0.14384, 0.69315]

    Source:
        Kullback and Leibler, "On Information and Sufficiency" (1951); the definition: `keras_xent.reference.kl_divergence`.
    """
    return evaluate(per_example, y_true, y_pred, checked(from_logits, axis, epsilon, saturated_gradient))


@register
class KLDivergence(DistributionLoss, keras.losses.KLDivergence):
    """`kl_divergence`, weighed and reduced: a drop-in for `keras.losses.KLDivergence`.

    loss = Σ_i v_i loss_i / N in nats, with v the sample weights; N is the number of losses under the mask.

    Args:
        from_logits, axis, epsilon, saturated_gradient: As in `kl_divergence`.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses, of those under the mask if there
            is one), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those under the mask),
            `"none"`.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, y_pred, sample_weight=None)`: a scalar, or one loss per example without reduction.

    Raises:
        ValueError, TypeError: As `kl_divergence`; also weights or a mask that fit no leading axes.

    Differs from Keras:
        As `kl_divergence`, and: weights of shape (B,) on losses of shape (B, T) weigh the batch; a weight of 0 and a mask
        remove a position even if it holds NaN; the config holds all arguments.

    Example:
        >>> loss = keras_xent.KLDivergence(from_logits=True)
        >>> round(float(loss([[0.5, 0.5]], [[0.0, 3.0]])), 5)
        0.85544

    Source:
        As `kl_divergence`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    domain = DOMAIN["KLDivergence"]
    _per_example = staticmethod(per_example)
    _checked = staticmethod(checked)

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kl_divergence",
        dtype: Any = None,
        *,
        from_logits: bool = False,
        axis: int = -1,
        epsilon: float | None = None,
        saturated_gradient: str = "flow",
    ) -> None:
        self._configure(name, reduction, dtype, checked(from_logits, axis, epsilon, saturated_gradient))

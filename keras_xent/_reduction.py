"""From one loss per example to the number that is minimised: where the weights, the sum and the 1/N are.

Steps, as those of the losses are, so that whoever listens to a loss hears of these too.
"""

import math

from keras import ops

from . import _backend, _checks
from ._recipe import Step, run
from .steps import divide_or_zero


def blank(values, kept, axes):
    """1 wherever a position does not count, so that nothing of it reaches the loss or its gradient.

    1 is a valid class id (there are two classes or more), a valid probability, target and logit.

    y_i ← 1 where position i does not count
    """
    if axes and len(kept.shape):
        kept = ops.expand_dims(kept, tuple(axes))
    return ops.where(kept, values, ops.ones_like(values))


def drop_uncounted(losses, kept):
    """Removes what does not count, whatever it would have cost.

    loss_i ← 0 where position i does not count
    """
    return ops.where(kept, losses, 0.0)


def drop_unweighed(losses, unweighed):
    """Removes what has no weight, also if it costs infinitely much, as finite predictions can.

    loss_i ← 0 where w_i = 0 and loss_i is not finite
    """
    removed = ops.logical_and(unweighed, ops.logical_not(ops.isfinite(losses)))
    return ops.where(removed, 0.0, losses)


def count(losses, counts):
    """Which losses are neither masked nor ignored.

    c_i = 1 where position i counts, else 0
    """
    return ops.cast(counts, losses.dtype)


def count_weights(weights, counts):
    """Takes the weight of what does not count.

    w_i ← c_i w_i
    """
    return weights * counts


def weigh_losses(losses, weights):
    """Gives each loss its weight.

    w_i loss_i
    """
    return losses * weights


def sum_losses(weighted):
    """The sum that is minimised.

    total = Σ_i w_i loss_i
    """
    return _backend.total(weighted)


def sum_weights(weights):
    """What a mean by weights divides by.

    N = Σ_i w_i
    """
    return _backend.total(weights)


def number_of_losses(losses, counts):
    """What a mean divides by: how many losses count, whatever their weights; an int where that is static.

    N = Σ_i c_i
    """
    if counts is None and all(isinstance(size, int) for size in losses.shape):
        return math.prod(losses.shape)
    size = ops.cast(ops.size(losses), losses.dtype)
    if counts is None:
        return size
    # counted in integers: above 2**24 a float32 sum of ones no longer moves; 1 or 0 may be broadcast along some axes
    return size * ops.cast(ops.sum(ops.cast(counts, "int32")), losses.dtype) / ops.cast(ops.size(counts), losses.dtype)


def divide(total, denominator):
    """The mean; of no losses it is 0.

    loss = total / N
    """
    return divide_or_zero(total, denominator) if ops.is_tensor(denominator) else total / max(denominator, 1)


def share_among_replicas(loss, replicas):
    """One replica's share of the mean: their gradients are summed.

    loss ← loss / number of replicas
    """
    return loss / replicas


BLANK = Step("y_pred", blank, values="y_pred")
DROP_UNCOUNTED = Step("losses", drop_uncounted)
DROP_UNWEIGHED = Step("losses", drop_unweighed)
COUNT = Step("counts", count)
COUNT_WEIGHTS = Step("weights", count_weights)
WEIGH, WEIGH_BY_COUNTS = Step("weighted", weigh_losses), Step("weighted", weigh_losses, weights="counts")
SUM, SUM_UNWEIGHED = Step("total", sum_losses), Step("total", sum_losses, weighted="losses")
SUM_WEIGHTS, SUM_COUNTS = Step("denominator", sum_weights), Step("denominator", sum_weights, weights="counts")
NUMBER = Step("denominator", number_of_losses)
DIVIDE = Step("loss", divide)
SHARE = Step("loss", share_among_replicas)


def recipe(reduction, is_weighed, is_masked, replicas=1):
    """The steps of a reduction, by whether there are weights, and positions that do not count."""
    taken = (COUNT,) if is_masked else ()
    taken += (COUNT_WEIGHTS,) if is_masked and is_weighed else ()
    weighed = is_weighed or is_masked
    if weighed:
        taken += (WEIGH if is_weighed else WEIGH_BY_COUNTS,)
    if reduction in (None, "none"):
        return taken
    taken += (SUM,) if weighed else (SUM_UNWEIGHED,)
    if reduction == "sum":
        return taken
    if weighed and reduction == "mean_with_sample_weight":
        taken += (SUM_WEIGHTS if is_weighed else SUM_COUNTS, DIVIDE)
    else:
        taken += (NUMBER, DIVIDE)
    return taken if replicas == 1 else (*taken, SHARE)


def keep_apart(weighted):
    """What would be added up.

    w_i loss_i
    """
    return weighted


UNSUMMED = {SUM: Step("total", keep_apart), SUM_UNWEIGHED: Step("total", keep_apart, weighted="losses")}


def shares(ones, weights, counts, reduction):
    """What each loss is multiplied with in the reduced one: the reduction of losses of 1 without its sum."""
    replicas = _backend.num_replicas()
    quantities = {"losses": ones, "weights": weights, "counts": counts, "replicas": replicas}
    taken = recipe(reduction, weights is not None, counts is not None, replicas)
    return run([UNSUMMED.get(step, step) for step in taken], quantities)


def reduce(losses, weights, counts, reduction, dtype, listener=None):
    """The reduced loss in `dtype`; `weights` and `counts` (where losses count) may be None."""
    replicas = _backend.num_replicas()
    quantities = {"losses": losses, "weights": weights, "counts": counts, "replicas": replicas}
    taken = recipe(reduction, weights is not None, counts is not None, replicas)
    result = run(taken, quantities, listener) if taken else losses
    return _checks.of_dtype(result, dtype)

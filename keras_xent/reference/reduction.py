"""From one loss per example to the number that is minimised: where the sum and the 1/N are."""

import numpy as np


def reduce_losses(losses, sample_weight=None, mask=None, reduction="sum_over_batch_size"):
    """Weighs and reduces per-example losses as Keras does.

    `"sum"`: Σ w l.  `"sum_over_batch_size"` and `"mean"`: Σ w l / N, N the number of losses, of those under
    the mask if there is one.  `"mean_with_sample_weight"`: Σ w l / Σ w.  `"none"` and None: w l.
    A weight of 0 and a mask remove a loss, whatever it is.
    """
    losses = np.asarray(losses, "float64")
    weights = np.ones(()) if sample_weight is None else _leading(sample_weight, losses.ndim)
    counts = np.ones((), bool) if mask is None else _leading(mask, losses.ndim).astype(bool)
    weights = weights * counts
    weighted = np.where(weights == 0, 0.0, weights * losses)
    if reduction in (None, "none"):
        return weighted
    if reduction == "sum":
        return weighted.sum()
    if reduction == "mean_with_sample_weight" and (sample_weight is not None or mask is not None):
        return _divide(weighted.sum(), weights.sum())
    return _divide(weighted.sum(), np.broadcast_to(counts, losses.shape).sum())


def reduce_losses_gradient(losses, sample_weight=None, mask=None, reduction="sum_over_batch_size"):
    """d reduced loss / d losses, of the sum of what is left: the weights, divided by what the reduction divides by."""
    losses = np.zeros(np.shape(losses))
    weights = np.ones(()) if sample_weight is None else _leading(sample_weight, losses.ndim)
    counts = np.ones((), bool) if mask is None else _leading(mask, losses.ndim).astype(bool)
    weights = weights * counts
    pull = np.broadcast_to(weights, losses.shape)
    if reduction in (None, "none", "sum"):
        return pull
    if reduction == "mean_with_sample_weight" and (sample_weight is not None or mask is not None):
        return pull * _divide(1.0, weights.sum())
    return pull * _divide(1.0, np.broadcast_to(counts, losses.shape).sum())


def _leading(array, ndim):
    """Aligns with the leading axes: trailing axes may be missing, or be extra ones of size 1."""
    array = np.asarray(array, "float64")
    if array.ndim == 0:
        return array
    return array.reshape(array.shape[:ndim] + (1,) * (ndim - array.ndim))


def _divide(total, divisor):
    return total / divisor if divisor else 0.0

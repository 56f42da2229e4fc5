"""From one loss per example to the number that is minimised: where the sum and the 1/N are."""

import numpy as np


def reduce_losses(losses, sample_weight=None, mask=None, reduction="sum_over_batch_size"):
    """Weighs and reduces per-example losses as Keras does: where the sum and the 1/N are.

    `"sum"`: Σ w l.  `"sum_over_batch_size"` and `"mean"`: Σ w l / N, N the number of losses, of those under
    the mask if there is one.  `"mean_with_sample_weight"`: Σ w l / Σ w.  `"none"` and None: w l.

    Args:
        losses: Losses l, of any shape and unit.
        sample_weight: Weights w that align with the leading axes of the losses: a number, or an array; None: 1.
        mask: True where a loss counts, aligned in the same way; None: everywhere.
        reduction: One of the names above.

    Returns:
        A float64 number in the unit of the losses; of `"none"` an array of their shape. If nothing counts it is 0.

    Raises:
        ValueError: By NumPy, for weights or a mask that fit no leading axes.

    Differs from Keras:
        A weight of 0 and a mask remove a loss, whatever it is: Keras multiplies, and 0 times NaN is NaN. Keras lines weights
        up with the last axes.

    Example:
        >>> losses, weights = [1.0, 3.0, np.nan], [1.0, 3.0, 0.0]
        >>> for reduction in ("sum", "sum_over_batch_size", "mean_with_sample_weight"):  # 10, 10 / 3 and 10 / 4
        ...     keras_xent.reference.reduce_losses(losses, weights, reduction=reduction).round(4).item()
        10.0
        3.3333
        2.5

    Source:
        The documentation of `keras.losses.Loss`, whose names these are.
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
    """The gradient of `reduce_losses` by the losses: what the reduction multiplies the gradient of each with.

    w, divided by what the reduction divides by: N, Σ w, or nothing.

    Args:
        losses: The losses, of which the shape counts alone.
        sample_weight, mask, reduction: As in `reduce_losses`.

    Returns:
        d reduced loss / d losses in float64, of their shape; of `"none"` the gradient of the sum.

    Raises:
        ValueError: By NumPy, for weights or a mask that fit no leading axes.

    Differs from Keras:
        As `reduce_losses`.

    Example:
        >>> for reduction in ("sum_over_batch_size", "mean_with_sample_weight"):  # a weight of 0 stays in N, not in Σ w
        ...     keras_xent.reference.reduce_losses_gradient(np.zeros(4), [1, 1, 4, 0], reduction=reduction).tolist()
        [0.25, 0.25, 1.0, 0.0]
        [0.16666666666666666, 0.16666666666666666, 0.6666666666666666, 0.0]

    Source:
        The derivative of `reduce_losses`.
    """
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

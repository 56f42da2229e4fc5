"""What a chunk of logits costs against class ids, and the slopes of that.

u are the logits as features and kernel give them, z = c tanh(u / c) those under a soft cap, y the target, m the largest z. The
target is left out of the sum r, as in `keras_xent.steps`, so that nothing cancels:

r = Σ_{k ≠ y} exp(z_k - m);  e = exp(z_y - m);  h = log1p(r + expm1(z_y - m)) = log Σ_k exp(z_k - m)

A label costs its share, s_y = (1 - s) w_y, of its own -log p, and each class k its even share, e_k = s w_k / K; E = Σ_k e_k:

loss = s_y (m - z_y + h) + Σ_k e_k (m - z_k) + E h + λ (m + h)²
d loss / d z_k = (s_y + a) p_k - e_k for k ≠ y;  d loss / d z_y = a p_y - s_y r / (r + e) - e_y;  a = E + 2 λ (m + h)
d z / d u = 1 - tanh² = 4 q / (1 + q)², q = exp(-2 |u / c|)

`torch_slopes.py` has the same in place; a test holds the two together.
"""

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from ..steps import find_top_logit
from ..steps.tensors import FAR_BELOW, constant, product


@dataclass(frozen=True)
class SparseCrossentropy:
    """The loss of class ids, and of the weights of classes, which may be None."""

    label_smoothing: float = 0.0
    z_loss: float = 0.0
    logit_softcap: float | None = None
    is_one_loop: ClassVar[bool] = True  # all of it is arithmetic on one chunk: worth compiling by itself

    def losses_and_slopes(self, raw_logits, targets, shared, factors=None):
        """One loss per row, and what `factors`, if given, make of the slopes by the raw logits; a factor of 0 makes them 0."""
        (labels,), (class_weight,) = targets, shared
        logits, slope_of_cap = cap(raw_logits, self.logit_softcap)
        ids = ops.expand_dims(labels, -1)
        is_target = ops.equal(ops.expand_dims(ops.arange(ops.shape(logits)[-1], dtype="int32"), 0), ids)
        top_logit = ops.expand_dims(find_top_logit(logits, -1), -1)
        target_logit = ops.take_along_axis(logits, ids, axis=-1)
        gap = ops.where(ops.equal(target_logit, top_logit), 0.0, top_logit - target_logit)
        powers = ops.exp(ops.where(is_target, FAR_BELOW, logits - top_logit))
        others, of_target = ops.sum(powers, axis=-1, keepdims=True), ops.exp(-gap)
        log_total = ops.log1p(others + ops.expm1(-gap))
        share, even, mass_of_even = shares(class_weight, ids, logits, self.label_smoothing)
        losses = share * (gap + log_total)
        if self.label_smoothing:
            depths = ops.sum(product(even, top_logit - logits), axis=-1, keepdims=True)
            losses = losses + depths + mass_of_even * log_total
        log_sum_exp = top_logit + log_total
        if self.z_loss:
            losses = losses + self.z_loss * ops.square(log_sum_exp)
        losses = ops.squeeze(losses, -1)
        if factors is None:
            return losses, None
        factors = ops.expand_dims(factors, -1)
        total = others + of_target
        rise = mass_of_even + 2.0 * self.z_loss * log_sum_exp if self.z_loss else mass_of_even
        at_target = -share * (others / total) + rise * (of_target / total)
        slopes = ops.where(is_target, at_target, powers * ((share + rise) / total))
        if self.label_smoothing:
            slopes = slopes - even
        if slope_of_cap is not None:
            slopes = slopes * slope_of_cap
        return losses, ops.where(ops.equal(factors, 0.0), 0.0, slopes * factors)


def shares(class_weight, ids, logits, label_smoothing):
    """s_y, e_k and E."""
    num_classes = ops.cast(ops.shape(logits)[-1], logits.dtype)
    label, even = constant(1.0 - label_smoothing, logits), constant(label_smoothing, logits) / num_classes
    if class_weight is None:
        return label, even, constant(label_smoothing, logits)
    of_classes = even * class_weight
    return label * ops.take(class_weight, ids, axis=0), of_classes, ops.sum(of_classes)


def cap(raw_logits, logit_softcap):
    """z and d z / d u; None for a slope of 1."""
    if logit_softcap is None:
        return raw_logits, None
    bent = raw_logits / logit_softcap
    q = ops.exp(-2.0 * ops.abs(bent))
    return logit_softcap * ops.tanh(bent), 4.0 * q / ops.square(1.0 + q)

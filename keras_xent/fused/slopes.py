"""What a chunk of logits costs against class ids, and the slopes of that.

u are the logits as features and kernel give them, z = c tanh(u / c) those under a soft cap, y the target, m the largest z. The
target is left out of the sum r, as in `keras_xent.steps`, so that nothing cancels:

r = Σ_{k ≠ y} exp(z_k - m);  e = exp(z_y - m);  h = log1p(r + expm1(z_y - m)) = log Σ_k exp(z_k - m)

A label costs its share, s_y = (1 - s) w_y, of its own -log p, and each class k its even share, e_k = s w_k / K; E = Σ_k e_k:

loss = s_y (m - z_y + h) + Σ_k e_k (m - z_k) + E h + λ (m + h)²
d loss / d z_k = (s_y + a) p_k - e_k for k ≠ y;  d loss / d z_y = a p_y - s_y r / (r + e) - e_y;  a = E + 2 λ (m + h)
d z / d u = 1 - tanh² = 4 q / (1 + q)², q = exp(-2 |u / c|)

A chunk may be a block of the classes alone: `joined` puts together what was measured of two.
`torch_slopes.py` has the same of all classes in place; a test holds the two together.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from keras import ops

from ..steps import find_top_logit, log_denominator, measure_gap
from ..steps.tensors import FAR_BELOW, product


class Shares(NamedTuple):
    """s_y (rows, 1), e_k (num_classes,) and E; numbers where they are the same for all."""

    label: Any
    even: Any
    mass: Any


class Measured(NamedTuple):
    """What the loss needs to know of a row's logits of some classes, (rows, 1) each."""

    top_logit: Any  # m, the largest of these
    others: Any  # r
    target_logit: Any  # z_y, and 0 where the target is none of these
    depth: Any  # Σ_k e_k (m - z_k), and 0 without label smoothing
    mass: Any  # Σ_k e_k, and 0 without label smoothing


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
        ids = ops.expand_dims(labels, -1)
        shares = self.shares(ids, class_weight, ops.shape(raw_logits)[-1], raw_logits.dtype)
        measured = self.measure(raw_logits, ids, shares.even)
        losses = self.losses(measured, shares)
        return losses, None if factors is None else self.slopes(raw_logits, ids, measured, shares, factors)

    def shares(self, ids, class_weight, num_classes, dtype):
        """What the labels `ids` (rows, 1) and all classes cost."""
        label, mass = (ops.convert_to_tensor(each, dtype) for each in (1.0 - self.label_smoothing, self.label_smoothing))
        even = mass / ops.cast(num_classes, dtype)
        if class_weight is None:
            return Shares(label, even, mass)
        even = even * class_weight
        return Shares(label * ops.take(class_weight, ids, axis=0), even, ops.sum(even))

    def measure(self, raw_logits, ids, even):
        """What there is to know of these classes; `ids` count from the first of them, and may be none of them."""
        logits, _ = cap(raw_logits, self.logit_softcap)
        num_classes = ops.shape(logits)[-1]
        top_logit = ops.expand_dims(find_top_logit(logits, -1), -1)
        others = self.summed(power_of_others, logits, places(logits), ids, top_logit)
        elsewhere = ops.logical_or(ops.less(ids, 0), ops.greater_equal(ids, num_classes))
        target_logit = ops.take_along_axis(logits, ops.where(elsewhere, 0, ids), axis=-1)
        depth = mass = ops.zeros_like(top_logit)
        if self.label_smoothing:
            depth = self.summed(depth_of_share, logits, even, top_logit)
            mass = mass + (ops.sum(even) if len(even.shape) else even * ops.cast(num_classes, even.dtype))
        return Measured(top_logit, others, ops.where(elsewhere, 0.0, target_logit), depth, mass)

    def summed(self, element, *rows):
        """Σ_k element(row_k, ...) of each row."""
        return ops.sum(element(*rows), axis=-1, keepdims=True)

    def losses(self, measured, shares):
        """One loss per row, of all its classes."""
        gap = measure_gap(measured.target_logit, measured.top_logit)
        log_total = log_denominator(gap, measured.others)
        losses = shares.label * (gap + log_total)
        if self.label_smoothing:
            losses = losses + measured.depth + shares.mass * log_total
        if self.z_loss:
            losses = losses + self.z_loss * ops.square(measured.top_logit + log_total)
        return ops.squeeze(losses, -1)

    def slopes(self, raw_logits, ids, measured, shares, factors):
        """What `factors` make of the slopes by some classes' raw logits, from whose first `ids` and the even shares count."""
        logits, slope_of_cap = cap(raw_logits, self.logit_softcap)
        gap = measure_gap(measured.target_logit, measured.top_logit)
        others, of_target = measured.others, ops.exp(-gap)
        total, rise = others + of_target, shares.mass
        if self.z_loss:
            rise = rise + 2.0 * self.z_loss * (measured.top_logit + log_denominator(gap, others))
        at_target = -shares.label * (others / total) + rise * (of_target / total)
        powers = power_of_others(logits, places(logits), ids, measured.top_logit)
        slopes = ops.where(ops.equal(places(logits), ids), at_target, powers * ((shares.label + rise) / total))
        if self.label_smoothing:
            slopes = slopes - shares.even
        if slope_of_cap is not None:
            slopes = slopes * slope_of_cap
        factors = ops.expand_dims(factors, -1)
        return ops.where(ops.equal(factors, 0.0), 0.0, slopes * factors)


def places(logits):
    """0 .. K-1, for each row."""
    return ops.expand_dims(ops.arange(ops.shape(logits)[-1], dtype="int32"), 0)


def power_of_others(logits, places, ids, top_logit):
    """exp(z_k - m), and 0 at the target."""
    return ops.exp(ops.where(ops.equal(places, ids), FAR_BELOW, logits - top_logit))


def depth_of_share(logits, even, top_logit):
    """e_k (m - z_k)."""
    return product(even, top_logit - logits)


def joined(one, other):
    """What there is to know of the classes of two blocks."""
    top_logit = ops.maximum(one.top_logit, other.top_logit)
    one, other = lowered(one, top_logit), lowered(other, top_logit)
    return Measured(top_logit, *(ours + theirs for ours, theirs in zip(one[1:], other[1:], strict=True)))


def lowered(block, top_logit):
    """The same, measured from a larger logit; where all of the block's are -inf it had no sums of its own."""
    gap = measure_gap(block.top_logit, top_logit)
    far = ops.isinf(gap)
    others = ops.where(far, 0.0, block.others * ops.exp(-gap))
    depth = ops.where(far, 0.0, block.depth) + product(block.mass, gap)
    return Measured(top_logit, others, block.target_logit, depth, block.mass)


def cap(raw_logits, logit_softcap):
    """z and d z / d u; None for a slope of 1."""
    if logit_softcap is None:
        return raw_logits, None
    bent = raw_logits / logit_softcap
    q = ops.exp(-2.0 * ops.abs(bent))
    return logit_softcap * ops.tanh(bent), 4.0 * q / ops.square(1.0 + q)

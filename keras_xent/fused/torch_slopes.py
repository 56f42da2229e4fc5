"""What a chunk of logits costs against class ids on PyTorch, in place; the formulas are those of `slopes.py`.

Each operation of eager PyTorch goes through memory once more, so a chunk is worked through in blocks that fit the cache.
"""

import torch

from .._kernels.torch_blocks import Scratch, over_blocks
from . import slopes


class SparseCrossentropy(slopes.SparseCrossentropy):
    """The same, in place: the slopes are where the logits were."""

    def losses_and_slopes(self, raw_logits, targets, shared, factors=None):
        """One loss per row, and what `factors`, if given, make of the slopes by the raw logits; a factor of 0 makes them 0."""
        (labels,), (class_weight,) = targets, shared
        losses = raw_logits.new_empty(len(raw_logits))

        def work_on(block, scratch):
            of_block = None if factors is None else factors[block]
            losses[block] = work(raw_logits[block], labels[block], class_weight, self, of_block, scratch)

        if raw_logits.device.type == "cpu":
            over_blocks(work_on, raw_logits)
        else:
            work_on(slice(None), Scratch())
        return losses, None if factors is None else raw_logits


def work(logits, labels, class_weight, loss, factors, scratch):
    """The losses of some rows; `logits` become what `factors` make of the slopes, if they are given."""
    slope_of_cap = None
    if loss.logit_softcap is not None:
        slope_of_cap = None if factors is None else scratch.like(logits, "cap")
        cap(logits, loss.logit_softcap, slope_of_cap, scratch)
    targets = labels[:, None].long()
    top_logit, target_logit = logits.amax(-1, keepdim=True), logits.gather(-1, targets)
    gap = torch.where(target_logit == top_logit, 0.0, top_logit - target_logit)
    share, even = shares(class_weight, targets, logits, loss.label_smoothing)
    depths = expected_depth(logits, top_logit, even, scratch) if loss.label_smoothing else 0.0
    powers = logits.sub_(top_logit).exp_()
    of_target = powers.gather(-1, targets)
    others = powers.scatter_(-1, targets, 0.0).sum(-1, keepdim=True)
    log_total = torch.log1p(others + torch.expm1(-gap))
    mass_of_even = even.sum() if even.ndim else even * logits.shape[1]
    log_sum_exp = top_logit + log_total
    losses = share * (gap + log_total) + depths + mass_of_even * log_total + loss.z_loss * log_sum_exp.square()
    if factors is None:
        return losses[:, 0]
    factors = factors[:, None].to(logits.dtype)
    rise = mass_of_even + 2.0 * loss.z_loss * log_sum_exp
    total = others + of_target
    at_target = rise * (of_target / total) - share * (others / total)
    if loss.label_smoothing:
        powers.mul_((share + rise) / total).sub_(even).mul_(factors)
        at_target = at_target - (even[targets] if even.ndim else even)
    else:
        powers.mul_((share + rise) / total * factors)
    powers.scatter_(-1, targets, at_target * factors)
    if slope_of_cap is not None:
        powers.mul_(slope_of_cap)
    if (factors == 0).any():
        powers.masked_fill_(factors == 0, 0.0)
    return losses[:, 0]


def shares(class_weight, targets, logits, label_smoothing):
    """s_y and e_k."""
    label, even = logits.new_tensor(1.0 - label_smoothing), logits.new_tensor(label_smoothing) / logits.shape[1]
    return (label, even) if class_weight is None else (label * class_weight[targets], even * class_weight)


def cap(logits, logit_softcap, slope, scratch):
    """z = c tanh(u / c), in place; `slope` is filled with 1 - tanh² = 4 q / (1 + q)², q = exp(-2 |u / c|): nothing cancels."""
    if slope is not None:
        torch.abs(logits, out=slope).mul_(-2.0 / logit_softcap).exp_()
        squares = torch.add(slope, 1.0, out=scratch.like(logits, "squares")).square_()
        slope.mul_(4.0).div_(squares)
    logits.div_(logit_softcap).tanh_().mul_(logit_softcap)


def expected_depth(logits, top_logit, even, scratch):
    """Σ_k e_k (m - z_k) for the even share e of the target; a class whose share is 0 contributes nothing, even at logit -inf."""
    depths = torch.sub(top_logit, logits, out=scratch.like(logits, "depths"))
    if not even.ndim:
        return even * depths.sum(-1, keepdim=True)
    depths.masked_fill_(even == 0, 0.0)
    return depths.mul_(even).sum(-1, keepdim=True)

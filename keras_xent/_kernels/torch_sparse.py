"""Cross-entropy against class ids from logits, on PyTorch's CPU: loss and gradient out of one softmax.

With p the softmax, y the target, r = Σ_{k ≠ y} p_k, which is summed without p_y, as 1 - p_y would cancel:

loss = log1p(r / p_y);  d loss / d z_k = p_k, and -r for the target
"""

import torch

from . import numpy_sparse
from .shortcuts import Kernel
from .torch_rows import RowLosses, can_be_worked_through
from .torch_traced import Formula, largest, summed

TINY = 1e-30  # a probability below has few digits left; its logarithm is taken from the logits


def work(logits, labels, out, scratch):
    """The losses of some rows, and what `out` has to be multiplied with to be their gradient."""
    del scratch
    targets = labels.unsqueeze(-1).long()
    torch.softmax(logits, -1, out=out)
    target_prob = out.gather(-1, targets).squeeze(-1)
    top_prob = None if target_prob.numpy().min(initial=1.0) >= TINY else out.amax(-1)  # NaN counts as unlikely
    others = out.scatter_(-1, targets, 0.0).sum(-1)
    total = others + target_prob  # 1, give or take the rounding of the softmax's own sum
    losses = (others / target_prob).log1p_()
    if top_prob is not None:
        depths = logits.amax(-1) - logits.gather(-1, targets).squeeze(-1)
        losses = torch.where(target_prob < TINY, depths + torch.log(total / top_prob), losses)
    out.scatter_(-1, targets, others.neg_().unsqueeze(-1))
    return losses, total.reciprocal_()


def measure(logits, labels):
    """The losses; the largest logits, the gaps between them and the targets', the sums of the others."""
    top_logit = largest(logits)
    at_target = is_target(logits, labels)
    gap = top_logit - summed(torch.where(at_target, logits, 0.0))  # not by `gather`, which would be a loop of its own
    others = summed(torch.where(at_target, 0.0, (logits - top_logit).exp()))
    return gap + torch.log1p(others + torch.expm1(-gap)), (top_logit, gap, others)


def slopes(measured, logits, labels):
    """d loss / d z."""
    top_logit, gap, others = measured
    return torch.where(is_target(logits, labels), -others, (logits - top_logit).exp()) / (others + (-gap).exp())


def is_target(logits, labels):
    """Whether a class is."""
    return torch.arange(logits.shape[-1], dtype=labels.dtype, device=labels.device) == labels.unsqueeze(-1)


FORMULA = Formula(f"{__name__}:FORMULA", work, measure, slopes)


def sparse_losses(logits, labels, in_steps):
    """-log p of the target class: all steps at once.

    loss = log1p(r / p_y)
    """

    def plain(logits, labels):
        return in_steps(logits=logits, labels=labels, axis=1)

    return RowLosses(FORMULA, numpy_sparse.work, plain)(logits, labels)


SPARSE = Kernel(sparse_losses, lambda quantities: can_be_worked_through(quantities["logits"], quantities["axis"]), widens=True)

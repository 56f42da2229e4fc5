"""Cross-entropy against distributions from logits, on PyTorch's CPU: loss and gradient out of one softmax.

With p the softmax, m the largest logit, r the sum of all p_k but its own, M = Σ_k t_k:

loss = Σ_k t_k (m - z_k) + M log1p(r / p_top);  d loss / d z_k = M p_k - t_k

Where the top class has most of the target, its gradient is what the others' add up to, negated: M p - t would cancel.
"""

import torch

from . import numpy_dense
from .shortcuts import Kernel
from .torch_rows import RowLosses, can_be_worked_through
from .torch_traced import Formula, counted, denominator, largest, summed


def work(logits, targets, out, scratch):
    """The losses of some rows, and the factor 1, as `out` is their gradient."""
    torch.softmax(logits, -1, out=out)
    top_prob = out.amax(-1, keepdim=True)
    confident = top_prob > 0.5  # there is one such class; without one the sum of the others needs no care
    top = None
    if confident.any():
        top = torch.from_numpy(out.numpy().argmax(-1))[:, None]  # PyTorch's own takes ten times as long
        others = out.scatter_(-1, top, 0.0).sum(-1, keepdim=True)
        out.scatter_(-1, top, top_prob)
    else:
        others = out.sum(-1, keepdim=True) - top_prob
    mass = targets.sum(-1, keepdim=True)
    losses = expected_depth(logits, targets, scratch) + (mass * torch.log1p(others / top_prob))[:, 0]
    out.mul_(mass / (others + top_prob)).sub_(targets)
    if top is not None:
        of_top = out.gather(-1, top)
        leads = confident & (2.0 * targets.gather(-1, top) > mass)
        out.scatter_(-1, top, 0.0)
        out.scatter_(-1, top, torch.where(leads, -out.sum(-1, keepdim=True), of_top))
    return losses, torch.ones_like(losses)


def expected_depth(logits, targets, scratch):
    """Σ_k t_k (m - z_k), to which a class with target 0 contributes nothing, even at logit -inf."""
    top_logit = logits.amax(-1, keepdim=True)
    depths = torch.sub(top_logit, logits, out=scratch.like(logits))
    sums = depths.mul_(targets).sum(-1)
    if sums.isnan().any():
        torch.sub(top_logit, logits, out=depths).mul_(targets)
        sums = depths.masked_fill_(targets == 0, 0.0).sum(-1)
    return sums


def measure(logits, targets):
    """The losses; m, M, U, and Σ_k exp(z_k - m) with and without the top class."""
    top_logit, mass = largest(logits), summed(targets)
    heights = logits - top_logit
    total, others, log_total = denominator(heights)
    rest = summed(torch.where(heights < 0.0, targets, 0.0))
    return mass * log_total - summed(counted(targets, heights)), (top_logit, mass, rest, total, others)


def slopes(measured, logits, targets):
    """d loss / d z; for a top class that has most of prediction and target U - M r / S, U and r being sums of the others."""
    top_logit, mass, rest, total, others = measured
    leads = (logits >= top_logit) & (total < 2.0) & (2.0 * targets > mass)
    of_leader = rest - mass * others / total
    return torch.where(leads, of_leader, (logits - top_logit).exp() * (mass / total) - targets)


FORMULA = Formula(f"{__name__}:FORMULA", work, measure, slopes)


def dense_losses(logits, targets, in_steps):
    """The expected -log p under the targets: all steps at once.

    loss = Σ_k t_k (m - z_k) + (Σ_k t_k) log1p(r / p_top)
    """

    def plain(logits, targets):
        return in_steps(logits=logits, targets=targets, axis=1)

    return RowLosses(FORMULA, numpy_dense.work, plain)(logits, targets)


def serves(quantities):
    """Whether the logits can be worked through."""
    return can_be_worked_through(quantities["logits"], quantities["axis"], quantities.get("targets"))


DENSE = Kernel(dense_losses, serves, widens=True)

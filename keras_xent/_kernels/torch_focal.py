"""Focal cross-entropy against distributions from logits, on PyTorch's CPU.

With p the softmax, l_k = -log p_k, c_k = 1 - p_k and u_k = t_k c_k^γ (1 + γ p_k l_k / c_k):

loss = Σ_k t_k c_k^γ l_k;  d loss / d z_k = (Σ_j u_j) p_k - u_k

The top class is computed apart, as for a likely one 1 - p and the last difference cancel: c is what the others' p add up to, and
the difference p Σ_{j ≠ top} u_j - c u. No other class has more than half.
"""

import functools

import torch

from . import numpy_focal
from .exponents import serves_exponent
from .shortcuts import Kernel
from .torch_rows import RowLosses, can_be_worked_through
from .torch_traced import Formula, counted, denominator, largest, slope_of_power, summed
from .torch_traced import raised as power

IMPOSSIBLE = 200.0  # nats: what is as unlikely pulls nothing by its cost


def work(logits, targets, out, scratch, gamma):
    """The losses of some rows, and the factor 1, as `out` is their gradient."""
    like = functools.partial(scratch.like, logits)
    one = torch.ones((), dtype=logits.dtype)
    top = torch.from_numpy(logits.numpy().argmax(-1))[:, None]  # PyTorch's own takes ten times as long
    probs = torch.softmax(logits, -1, out=out)
    top_prob = probs.gather(-1, top)
    top_remainder = probs.scatter_(-1, top, 0.0).sum(-1, keepdim=True)
    top_cost = torch.log1p(top_remainder / top_prob)
    costs = torch.sub(logits.gather(-1, top), logits, out=like("costs")).add_(top_cost)
    impossible = torch.isinf(costs) if torch.isinf(costs.amax(-1)).any() else None
    if impossible is not None:  # 0 times infinity would be NaN
        costs.masked_fill_(impossible, torch.finfo(logits.dtype).max)

    remainders = torch.sub(one, probs, out=like("remainders"))
    weights = raised(probs, remainders, gamma, like("weights")).mul_(targets).scatter_(-1, top, 0.0)
    pulls = torch.mul(probs, costs, out=like("pulls")).div_(remainders).mul_(gamma).add_(one).mul_(weights)
    losses = weights.mul_(costs).sum(-1)

    top_target = targets.gather(-1, top)
    unlikely = top_prob < 0.5
    top_weight = top_target * torch.where(unlikely, torch.exp(gamma * torch.log1p(-top_prob)), top_remainder.pow(gamma))
    rate = torch.where(top_remainder == 0.0, 1.0, top_cost / top_remainder)
    top_pull = top_weight * (1.0 + gamma * top_prob * rate)
    losses = losses + (top_weight * top_cost)[:, 0]
    other_pulls = pulls.sum(-1, keepdim=True)
    out.mul_(other_pulls + top_pull).sub_(pulls).scatter_(-1, top, top_prob * other_pulls - top_remainder * top_pull)
    if impossible is not None:
        losses.masked_fill_((impossible & (targets != 0.0)).any(-1), torch.inf)
    return losses, torch.ones_like(losses)


def raised(probs, remainders, gamma, out):
    """c^γ by way of p, which has more digits where c is next to 1."""
    if gamma == 2.0:
        return torch.mul(remainders, remainders, out=out)
    return torch.neg(probs, out=out).log1p_().mul_(gamma).exp_()


def measure(logits, targets, gamma):
    """The losses; m, S, r and log S; what the class that leads pulls, and all others do."""
    top_logit = largest(logits)
    softmax = top_logit, *denominator(logits - top_logit)
    leads, probs, remainders, costs = parts(logits, *softmax)
    losses = summed(counted(targets, power(remainders, gamma) * costs))
    pulls = targets * pull(probs, remainders, costs, gamma)
    of_leader, of_others = summed(torch.where(leads, pulls, 0.0)), summed(torch.where(leads, 0.0, pulls))
    return losses, (*softmax, of_leader, of_others)


def parts(logits, top_logit, total, others, log_total):
    """Whether a class has most of the prediction; p, c and l of each."""
    leads, probs = (logits >= top_logit) & (total < 2.0), (logits - top_logit).exp() / total
    return leads, probs, torch.where(leads, others / total, 1.0 - probs), top_logit - logits + log_total


def pull(probs, remainders, costs, gamma):
    """u, but for the target."""
    return power(remainders, gamma) + slope_of_power(remainders, gamma) * probs * costs.clamp(max=IMPOSSIBLE)


def slopes(measured, logits, targets, gamma):
    """d loss / d z; of the class that leads p Σ_{j ≠ top} u_j - c u."""
    *softmax, of_leader, of_others = measured
    leads, probs, remainders, costs = parts(logits, *softmax)
    own = targets * pull(probs, remainders, costs, gamma)
    return torch.where(leads, probs * of_others - own * remainders, probs * (of_leader + of_others) - own)


FORMULA = Formula(f"{__name__}:FORMULA", work, measure, slopes)


def focal_losses(logits, targets, gamma, in_steps):
    """The expected -log p under the targets, of which a confident one counts for less: all steps at once.

    loss = Σ_k t_k c_k^γ l_k
    """

    def plain(logits, targets):
        return in_steps(logits=logits, targets=targets, gamma=gamma, axis=1)

    return RowLosses(FORMULA, numpy_focal.work, plain, (gamma,))(logits, targets)


def serves(quantities):
    """Whether the logits can be worked through; compiled programs take a formula that is not exact for large exponents."""
    is_exact = serves_exponent(quantities) or not torch.compiler.is_compiling()
    return is_exact and can_be_worked_through(quantities["logits"], quantities["axis"], quantities.get("targets"))


FOCAL = Kernel(focal_losses, serves, widens=True)

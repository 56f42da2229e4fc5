"""Cross-entropy of yes/no outputs from logits, on PyTorch's CPU.

With s = σ(-|z|), the probability of the less likely answer, q = 1 - t where z >= 0 and else -w t, and c = w t + 1 - t:

e = q z - c log1p(-s);  d e / d z = q - c s sign(z);  loss = Σ_i e_i / N

Both terms of e are at least 0, and nothing cancels: the probability of the more likely answer, which is next to 1, is not taken.
"""

import numpy as np
import torch
from torch.nn.functional import softplus

from .. import steps
from . import numpy_binary
from .shortcuts import Kernel
from .torch_rows import RowLosses, can_be_worked_through
from .torch_traced import Formula, counted, summed

FAR = 40.0  # nats: exp(-40) is less than an ε of float64 of that


def work(logits, targets, out, scratch, weights):
    """The losses of some rows, and the factor 1 / N."""
    losses = with_care(add_up, logits, targets, out, scratch, weights) / logits.shape[1]
    return losses, torch.full_like(losses, 1.0 / logits.shape[1])


def add_up(logits, targets, out, scratch, weights):
    """What the outputs of a row cost together; `out` becomes the gradient of that."""
    mass = find_mistakes(logits, targets, out, scratch, weights)
    costs = torch.mul(out, logits, out=scratch.like(out, "costs")).sum(-1)
    unlikely = torch.abs(logits, out=scratch.like(out, "unlikely")).neg_().sigmoid_()
    slopes = torch.copysign(unlikely, logits, out=scratch.like(out, "costs"))
    logs = unlikely.neg_().log1p_()
    if mass is not None:
        slopes.mul_(mass)
        logs.mul_(mass)
    out.sub_(slopes)
    return costs - logs.sum(-1)


def find_mistakes(logits, targets, out, scratch, weights):
    """Fills in q, and gives c, or None where that is 1."""
    torch.ge(logits, 0.0, out=out)
    if (weights == 1.0).all():
        out.sub_(targets)
        return None
    of_yes = torch.mul(targets, torch.from_numpy(weights), out=scratch.like(out, "yes"))
    of_no = torch.neg(targets, out=scratch.like(out, "no")).add_(1.0)
    said_no = torch.lt(logits, 0.0, out=scratch.like(out, "said no")).mul_(of_yes)
    out.mul_(of_no).sub_(said_no)
    return of_yes.add_(of_no)


def with_care(add_up, logits, targets, out, scratch, *arguments):
    """The same where logits are infinite: 0 times that is 0, and a slope of 0 stays 0."""
    losses = add_up(logits, targets, out, scratch, *arguments)
    if torch.isfinite(losses).all():
        return losses
    largest = torch.finfo(logits.dtype).max
    losses = add_up(logits.clamp(-largest, largest), targets, out, scratch, *arguments)
    impossible = torch.where(logits > 0, targets < 1.0, targets > 0.0) & torch.isinf(logits)
    return losses.masked_fill_(impossible.any(-1), torch.inf)


def measure(logits, targets, pos_weight):
    """The losses; their gradient needs nothing else."""
    return summed(answer_costs(logits, targets, pos_weight)) / logits.shape[-1], ()


def answer_costs(logits, targets, pos_weight):
    """e, as w t (max(-z, 0) + L) + (1 - t) (max(z, 0) + L), L = log1p(exp(-|z|))."""
    near_zero = (-logits.abs()).exp().log1p()
    of_yes, of_no = (-logits).clamp(min=0.0) + near_zero, logits.clamp(min=0.0) + near_zero
    return counted(pos_weight * targets, of_yes) + counted(1.0 - targets, of_no)


def smooth_costs(logits, targets, pos_weight):
    """The same, by two logarithms: to autograd the other has a corner at 0."""
    of_yes, of_no = (softplus(z, threshold=FAR) for z in (-logits, logits))
    return counted(pos_weight * targets, of_yes) + counted(1.0 - targets, of_no)


def slopes(measured, logits, targets, pos_weight):
    """d loss / d z."""
    del measured
    return slope_of_cost(logits, targets, pos_weight) / logits.shape[-1]


def slope_of_cost(logits, targets, pos_weight):
    """(1 - t) σ(z) - w t σ(-z)."""
    return (1.0 - targets) * logits.sigmoid() - pos_weight * targets * (-logits).sigmoid()


FORMULA = Formula(f"{__name__}:FORMULA", work, measure, slopes)


def mean_losses(formula, few, in_steps, logits, targets, axis, pos_weight, constants=()):
    """Of rows, and then of the other axes."""
    weights = pos_weight
    if not torch.compiler.is_compiling():
        # As an array: a tensor belongs to the transform that it was made in, and is not to be used after that.
        weights = np.array(pos_weight.tolist(), str(pos_weight.dtype).removeprefix("torch."))

    def plain(logits, targets):
        return in_steps(logits=logits, targets=targets, axis=1, pos_weight=torch.as_tensor(weights))

    of_rows = RowLosses(formula, few, plain, constants, weights)(logits, targets)
    return steps.average(of_rows, other_axes(axis, len(logits.shape)))


def other_axes(axis, ndim):
    """Those of a mean beside the last."""
    averaged = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(one for one in averaged if one != ndim - 1)


def binary_losses(logits, targets, axis, pos_weight, in_steps):
    """The mean cost of the outputs: all steps at once.

    loss = Σ_i (q_i z_i - c_i log1p(-s_i)) / N
    """
    return mean_losses(FORMULA, numpy_binary.work, in_steps, logits, targets, axis, pos_weight)


def averages_rows(quantities):
    """Whether the last axis is one of those that are averaged, and can be worked through."""
    axis, last = quantities["axis"], len(quantities["logits"].shape) - 1
    # not by `last in axis`, which is never so where axes are a compiler's symbols
    along_rows = axis is None or any(one == last for one in (axis if isinstance(axis, tuple) else (axis,)))
    return along_rows and can_be_worked_through(quantities["logits"], last, quantities.get("targets"))


BINARY = Kernel(binary_losses, averages_rows, widens=True)

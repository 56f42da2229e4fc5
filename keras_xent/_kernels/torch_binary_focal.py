"""Focal cross-entropy of yes/no outputs from logits, on PyTorch's CPU.

With s, q and e of `torch_binary`, a = |q| without the weight (the target's share of the less likely answer) and m the probability
that an answer drawn from the prediction is not the target:

m = s + a (1 - 2 s);  loss = Σ_i m_i^γ e_i / N;  gradient m^γ (e' + γ e m' / m),  m' = (1 - 2 t) s (1 - s)
"""

import functools

import torch

from . import numpy_binary_focal
from .exponents import serves_exponent
from .shortcuts import Kernel
from .torch_binary import answer_costs, averages_rows, find_mistakes, mean_losses, slope_of_cost, smooth_costs, with_care
from .torch_traced import Formula, slope_of_power, summed
from .torch_traced import raised as power


def work(logits, targets, out, scratch, gamma, weights):
    """The losses of some rows, and the factor 1 / N."""
    losses = with_care(add_up, logits, targets, out, scratch, gamma, weights) / logits.shape[1]
    return losses, torch.full_like(losses, 1.0 / logits.shape[1])


def add_up(logits, targets, out, scratch, gamma, weights):
    """What the outputs of a row cost together; `out` becomes the gradient of that."""
    like = functools.partial(scratch.like, out)
    unlikely = torch.abs(logits, out=like("unlikely")).neg_().sigmoid_()
    mass = find_mistakes(logits, targets, out, scratch, weights)
    costs = torch.neg(unlikely, out=like("costs")).log1p_().neg_()
    slopes = torch.copysign(unlikely, logits, out=like("slopes"))
    if mass is not None:
        costs.mul_(mass)
        slopes.mul_(mass)
    costs.addcmul_(out, logits)
    slopes = torch.sub(out, slopes, out=slopes)

    mistakes = torch.ge(logits, 0.0, out=out).sub_(targets).abs_()
    doubt = torch.mul(unlikely, -2.0, out=like("doubt")).add_(1.0)
    mistakes.mul_(doubt).add_(unlikely).clamp_(min=torch.finfo(logits.dtype).tiny)
    change = unlikely.addcmul_(unlikely, unlikely, value=-1.0)  # s (1 - s)
    change.mul_(torch.mul(targets, -2.0, out=doubt).add_(1.0)).div_(mistakes).mul_(costs)
    slopes.add_(change, alpha=gamma)
    factors = raised(mistakes, gamma)
    losses = costs.mul_(factors).sum(-1)
    factors.mul_(slopes)
    return losses


def raised(mistakes, gamma):
    """m^γ, in place."""
    if gamma == 2.0:
        return mistakes.mul_(mistakes)
    return mistakes if gamma == 1.0 else mistakes.pow_(gamma)


def measure(logits, targets, gamma, pos_weight):
    """The losses; their gradient needs nothing else."""
    costs = answer_costs(logits, targets, pos_weight)
    return summed(power(mistake(logits, targets), gamma) * costs) / logits.shape[-1], ()


def mistake(logits, targets):
    """m."""
    return targets * (-logits).sigmoid() + (1.0 - targets) * logits.sigmoid()


def slopes(measured, logits, targets, gamma, pos_weight):
    """d loss / d z; the factor's own slope is 0 at an infinite cost."""
    del measured
    costs, mistakes = smooth_costs(logits, targets, pos_weight), mistake(logits, targets)
    change = (1.0 - 2.0 * targets) * logits.sigmoid() * (-logits).sigmoid()
    of_factor = slope_of_power(mistakes, gamma) * change * torch.where(costs.isinf(), 0.0, costs)
    return (power(mistakes, gamma) * slope_of_cost(logits, targets, pos_weight) + of_factor) / logits.shape[-1]


FORMULA = Formula(f"{__name__}:FORMULA", work, measure, slopes)


def binary_focal_losses(logits, targets, axis, pos_weight, gamma, in_steps):
    """The mean cost of the outputs, of which an easy one counts for less: all steps at once.

    loss = Σ_i m_i^γ e_i / N
    """
    in_steps = functools.partial(in_steps, gamma=gamma)
    return mean_losses(FORMULA, numpy_binary_focal.work, in_steps, logits, targets, axis, pos_weight, (gamma,))


def serves(quantities):
    """A larger γ enlarges the rounding of an m next to 1, which the steps get round."""
    return serves_exponent(quantities) and averages_rows(quantities)


BINARY_FOCAL = Kernel(binary_focal_losses, serves, widens=True)

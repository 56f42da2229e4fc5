"""Losses from probabilities, on PyTorch's CPU: the formulas of `from_probs`."""

import dataclasses
import functools

import numpy as np
import torch

from . import from_probs, numpy_from_probs, probs_ids
from .probs_formula import Library, slope
from .probs_shares import totals
from .torch_rows import RowLosses, can_be_worked_through
from .torch_traced import Formula, summed


def placed(like, ids, one, others):
    """Rows with `one` where the ids say, and `others` elsewhere."""
    return others.repeat(1, like.shape[-1]).scatter_(-1, ids.long(), one)


def is_at(like, ids):
    """Whether a place is the one that the ids say."""
    return torch.arange(like.shape[-1], dtype=ids.dtype, device=ids.device) == ids


EAGER = Library(
    torch,
    summed=lambda element, *rows: summed(element(1.0, *rows)),
    at=lambda values, ids: values.gather(-1, ids.long()),
    placed=placed,
    if_any=lambda condition, careful, otherwise, *rows: careful(*rows) if condition.any() else otherwise,
    clip=torch.clip,
    tiny=lambda x: torch.finfo(x.dtype).tiny,
)
TRACED = dataclasses.replace(  # of which the compiler makes one loop
    EAGER,
    at=lambda values, ids: summed(torch.where(is_at(values, ids), values, 0.0)),
    placed=lambda like, ids, one, others: torch.where(is_at(like, ids), one, others),
    if_any=lambda condition, careful, otherwise, *rows: careful(*rows),
    still=torch.Tensor.detach,
)


def work_on_ids(clip, probs, ids, out, scratch):
    """The losses of some rows, and the factor of `out`."""
    del scratch
    losses, (total, factor, prob) = probs_ids.measure(EAGER, clip, probs, ids)
    pull = slope(EAGER, clip, prob, prob)
    out.copy_((pull * prob).expand_as(out)).scatter_(-1, ids[:, None].long(), pull * (prob - 1.0))
    return losses[:, 0], (factor / total)[:, 0]


def work_on_distributions(clip, probs, targets, out, scratch):
    """The same."""
    total, factor = totals(EAGER, probs)
    share = torch.div(probs, total, out=out) if (factor == 1.0).all() else torch.mul(probs, factor, out=out).div_(total)
    clipped = torch.clamp(share, *clip.bounds(), out=scratch.like(out, "clipped"))
    pulls = pull_of(clip, share, share, clipped, scratch.like(out, "pulls"), scratch).mul_(targets)
    losses = summed(clipped.log_().mul_(targets)).neg_()
    out.mul_(pulls)
    torch.sub(summed(out), pulls, out=out)
    return losses[:, 0], (factor / total)[:, 0]


def work_on_answers(clip, probs, targets, out, scratch, weights):
    """The same."""
    of_no = torch.sub(1.0, targets, out=scratch.like(out, "no"))
    of_yes = targets if (weights == 1.0).all() else torch.mul(targets, torch.from_numpy(weights), out=scratch.like(out, "yes"))
    clipped = torch.clamp(probs, *clip.bounds(), out=scratch.like(out, "clipped"))
    pulls = pull_of(clip, probs, probs, clipped, scratch.like(out, "pulls"), scratch).mul_(of_yes)
    complements = torch.sub(1.0, probs, out=scratch.like(out, "complements"))
    pull_of(clip, complements, probs, clipped, out, scratch).mul_(of_no).sub_(pulls)
    losses = summed(torch.log(clipped, out=pulls).mul_(of_yes)) + summed(clipped.neg_().log1p_().mul_(of_no))
    num_outputs = probs.shape[-1]
    return losses[:, 0].div_(-num_outputs), torch.full_like(losses[:, 0], 1.0 / num_outputs)


def work_on_divergence(clip, probs, targets, out, scratch):
    """The same."""
    clipped = torch.clamp(probs, *clip.bounds(), out=scratch.like(out, "clipped"))
    clipped_targets = torch.clamp(targets, *clip.bounds(), out=scratch.like(out, "clipped targets"))
    logs = torch.log(clipped_targets, out=scratch.like(out, "logs"))
    losses = summed(logs.sub_(torch.log(clipped, out=out)).mul_(clipped_targets))
    is_saturated = torch.ne(probs, clipped, out=scratch.like(out, "is saturated", torch.bool))
    seen = torch.where(is_saturated, targets, clipped_targets, out=clipped_targets) if is_saturated.any() else clipped_targets
    pull_of(clip, probs, probs, clipped, out, scratch).mul_(seen).neg_()
    return losses[:, 0], torch.ones_like(losses[:, 0])


def work_by_formula(formula, clip, probs, targets, out, scratch, *weights):
    """The same of any of them, in more memory than the others."""
    del scratch
    rows = probs, targets, *map(torch.from_numpy, weights)
    losses, measured = formula.measure(EAGER, clip, *rows)
    out.copy_(formula.slopes(EAGER, clip, measured, *rows))
    return losses[:, 0], torch.ones_like(losses[:, 0])


def pull_of(clip, argument, probs, clipped, out, scratch):
    """s of the argument, written to `out`: the slope of the unclipped logarithm, and what the clip makes of it."""
    is_flat = scratch.like(out, "is flat", torch.bool)
    if not clip.flows:
        return torch.reciprocal(argument, out=out).masked_fill_(torch.ne(probs, clipped, out=is_flat), 0.0)
    torch.clamp(argument, min=clip.floor, out=out).reciprocal_()
    return out.masked_fill_(is_flat, 0.0) if torch.le(argument, 0.0, out=is_flat).any() else out


def formula_of(name, work_on=None):
    """One of them as PyTorch's kernels have it; its constants are the numbers of a clip."""
    formula = from_probs.FORMULAS[name]
    work_on = work_on or functools.partial(work_by_formula, formula)

    def work(probs, targets, out, scratch, *settings):
        clip, weights = formula.parted(settings)
        return work_on(clip, probs, targets, out, scratch, *weights)

    def measure(probs, targets, *settings):
        clip, weights = formula.parted(settings)
        return formula.measure(TRACED, clip, probs, targets, *weights)

    def slopes(measured, probs, targets, *settings):
        clip, weights = formula.parted(settings)
        return formula.slopes(TRACED, clip, measured, probs, targets, *weights)

    return Formula(f"{__name__}:{name}", work, measure, slopes)


IDS = formula_of("IDS", work_on_ids)
DISTRIBUTIONS = formula_of("DISTRIBUTIONS", work_on_distributions)
ANSWERS = formula_of("ANSWERS", work_on_answers)
FOCAL = formula_of("FOCAL")
FOCAL_ANSWERS = formula_of("FOCAL_ANSWERS")
DIVERGENCE = formula_of("DIVERGENCE", work_on_divergence)
FORMULAS = {
    "IDS": IDS,
    "DISTRIBUTIONS": DISTRIBUTIONS,
    "ANSWERS": ANSWERS,
    "FOCAL": FOCAL,
    "FOCAL_ANSWERS": FOCAL_ANSWERS,
    "DIVERGENCE": DIVERGENCE,
}


def losses_of(name, clip, plain):
    """A function of probabilities, targets and weights."""

    def losses(probs, targets, weights=None):
        if weights is None:
            return RowLosses(FORMULAS[name], numpy_from_probs.WORK[name], plain, clip.numbers)(probs, targets)
        if not torch.compiler.is_compiling():
            # As an array: a tensor belongs to the transform that it was made in, and is not to be used after that.
            weights = np.array(weights.tolist(), str(weights.dtype).removeprefix("torch."))

        def weighed(probs, targets):
            return plain(probs, targets, torch.as_tensor(weights))

        return RowLosses(FORMULAS[name], numpy_from_probs.WORK[name], weighed, clip.numbers, weights)(probs, targets)

    return losses


def serves(quantities):
    """Whether the probabilities can be worked through."""
    return can_be_worked_through(quantities["probs"], quantities["axis"], quantities.get("targets"))


(
    BINARY_FROM_PROBS,
    BINARY_FOCAL_FROM_PROBS,
    DENSE_FROM_PROBS,
    FOCAL_FROM_PROBS,
    KL_FROM_PROBS,
    SPARSE_FROM_PROBS,
) = from_probs.kernels_of(losses_of, serves)

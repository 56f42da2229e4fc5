"""Losses from a few probabilities, in NumPy: the formulas of `from_probs`."""

import numpy as np

from . import from_probs
from .numpy_rows import quietly
from .probs_formula import Library


def placed(like, ids, one, others):
    """Rows with `one` where the ids say, and `others` elsewhere."""
    rows = np.repeat(others, like.shape[-1], -1)
    np.put_along_axis(rows, ids, one, -1)
    return rows


NUMPY = Library(
    np,
    summed=lambda element, *rows: element(1.0, *rows).sum(-1, keepdims=True),
    at=lambda values, ids: np.take_along_axis(values, ids, -1),
    placed=placed,
    if_any=lambda condition, careful, otherwise, *rows: careful(*rows) if condition.any() else otherwise,
    clip=lambda x, low, high: np.minimum(np.maximum(x, low), high),  # `np.clip` takes several times as long
    tiny=lambda x: float(np.finfo(x.dtype).tiny),
)


def work_of(formula):
    """A kernel as in `numpy_rows`, which is also given the numbers of a clip."""

    @quietly
    def work(probs, targets, *settings):
        clip, weights = formula.parted(settings)
        given, rows = (NUMPY, clip), (probs, targets, *weights)
        losses, measured = formula.measure(*given, *rows)
        return losses[:, 0], formula.slopes(*given, measured, *rows)

    return work


WORK = {name: work_of(formula) for name, formula in from_probs.FORMULAS.items()}

"""Kernels inside `torch.compile`: formulas that its programs are made of.

The compiler makes one loop of a formula's elements and sums, row by row. What it would derive from the steps, whose sums wait for
each other, goes through the logits more often; and a call out of the program would make the gradient apart from all else.
"""

import hashlib
import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

HALF_PRECISION = torch.float16, torch.bfloat16
NOTHING = 2.0**-126  # float32's smallest normal number: less is taken for 0


@dataclass(frozen=True)
class Formula:
    """A loss, and what takes its place in eager code: `work`, see `RowLosses`. `place` is where it is found, "module:name".

    `measure(logits, targets, *others)` gives one loss per row, and what else of the rows their gradient needs, in a tuple;
    `slopes(measured, logits, targets, *others)` is d loss / d logit. Whatever belongs to a row has the shape (rows, 1). The
    others are the constants and the variable of `RowLosses`, what there is of both. If it `is_called`, only the gradient
    is a formula, and only to its own derivatives.
    """

    place: str
    work: Callable[..., tuple[Any, Any]]
    measure: Callable[..., tuple[Any, tuple[Any, ...]]]
    slopes: Callable[..., Any]
    called_from: int | None = None  # so many logits on

    def is_called(self, logits):
        """Whether these are so many that a call takes less time."""
        return self.called_from is not None and logits.numel() >= self.called_from

    def losses(self, logits, targets, *others):
        """(rows,), in float32 at least."""
        return self.measure(*widened(logits, targets, *others))[0].squeeze(-1)

    def gradient(self, upstream, logits, targets, *others):
        """Of Σ upstream · losses by the logits, in their dtype. Compilers see that `losses` has measured the same."""
        given = widened(logits, targets, *others)
        _, measured = self.measure(*given)
        return (self.slopes(measured, *given) * upstream.unsqueeze(-1)).to(logits.dtype)


def widened(*values):
    """Half precision in float32; other values as they are."""
    return [each.float() if torch.is_tensor(each) and each.dtype in HALF_PRECISION else each for each in values]


def summed(elements):
    """Of each row."""
    return elements.sum(-1, keepdim=True)


def largest(logits):
    """Of each row."""
    return logits.amax(-1, keepdim=True)


def denominator(heights):
    """Σ exp(h_k) of heights of at most 0; the same without the top class, where that has most of it; the logarithm."""
    powers = heights.exp()
    total, others = summed(powers), summed(torch.where(heights < 0.0, powers, 0.0))
    return total, others, torch.where(total < 2.0, others.log1p(), total.log())


def counted(factors, values):
    """Their products; 0 where a factor is, also of infinity."""
    return torch.where((factors == 0.0) & values.isinf(), 0.0, factors * values)


def raised(base, exponent):
    """A power of numbers of at least 0: of 0 it is 0, and so is its slope, whatever the exponent but 0 and 1."""
    if exponent in (0.0, 1.0, 2.0):
        return (torch.ones_like(base), base, base * base)[int(exponent)]
    is_nothing = base < NOTHING
    return torch.where(is_nothing, 0.0, torch.where(is_nothing, 1.0, base) ** exponent)


def slope_of_power(base, exponent):
    """γ c^(γ - 1), and 0 where c is."""
    return exponent * raised(base, exponent - 1.0) if exponent else torch.zeros_like(base)


def fingerprint(folder):
    """What tells this version of the formulas from others: PyTorch keeps compiled programs on disk, by what they call."""
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    texts = (file.read_bytes() for file in files if file.name.endswith(".py"))
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]


SOURCES = fingerprint(importlib.resources.files(__spec__.parent))

"""What losses from probabilities are written with: a library of arrays, and the clipped logarithm with its slope.

A loss is a `Formula`. Its functions take a `Library`, a `Clip`, the probabilities and the targets. `measure` gives the losses and
what else of the rows the slopes need, all of shape (..., 1).
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from typing import Any

from ..steps.probabilities import SMOOTH


@dataclass(frozen=True)
class Library:
    """What the formulas are written with: a module with NumPy's names, and what differs more from one library to the next.

    `summed(element, *rows)` is Σ_k element(1, row_k, ...), where constants are multiples of that 1, see `jax_rows.apart`;
    `at(values, ids)` is each row's entry at a place, `placed(like, ids, one, others)` are rows with `one` there and `others`
    elsewhere; `if_any(condition, careful, otherwise, *rows)` is `careful(*rows)` if the condition holds for any row; `tiny(x)` is
    the smallest normal number. `still(x)` is a constant to the gradient, None where nothing has one. `arithmetic(arithmetic,
    choices)` is one of two writings of a function, the first of which has no derivatives.
    """

    of: Any
    summed: Callable[..., Any]
    at: Callable[..., Any]
    placed: Callable[..., Any]
    if_any: Callable[..., Any]
    clip: Callable[..., Any]
    tiny: Callable[..., float]
    still: Callable[..., Any] | None = None
    arithmetic: Callable[..., Any] = lambda arithmetic, choices: choices


@dataclass(frozen=True)
class Clip:
    """A clipped logarithm, see `steps.clipped_logarithm`: where it binds, and its slope there."""

    low: float
    high: float
    floor: float
    flows: float  # 1 or 0, as PyTorch's operators take numbers

    def bounds(self, one=1.0):
        """What the clip keeps probabilities between."""
        return self.low * one, self.high * one

    @property
    def numbers(self):
        """All of it."""
        return astuple(self)

    @property
    def saturated_gradient(self):
        """The option's name."""
        return "flow" if self.flows else "zero"

    def logarithm(self, log, clipped, probs):
        """The clipped logarithm, `steps.log` or `steps.log_complement`, with all its derivatives."""
        return log(clipped, probs, self.saturated_gradient, self.floor)


@dataclass(frozen=True)
class Focus(Clip):
    """That of a focal loss."""

    gamma: float


@dataclass(frozen=True)
class Formula:
    """What a loss is, and what it is differentiated by; weights, if there are any, come last and have no derivative."""

    measure: Callable[..., tuple[Any, tuple[Any, ...]]]
    slopes: Callable[..., Any]
    target_slopes: Callable[..., Any] | None = None
    weighed: bool = False
    clip: type[Clip] = Clip

    def parted(self, settings):
        """The clip whose numbers come first, and what follows."""
        count = len(fields(self.clip))
        return self.clip(*settings[:count]), settings[count:]


def is_inside(clip, probs, argument):
    """Where the clipped logarithm of the argument, p or 1 - p, has the slope 1 / argument, and that one a slope, too."""
    inside = is_between(clip, probs)
    return inside & (argument >= max(clip.floor, SMOOTH)) if clip.flows else inside


def is_between(clip, probs):
    """Where the clip does not bind."""
    return (probs >= clip.low) & (probs <= clip.high)


def slope(lib, clip, probs, argument):
    """s of the argument, p or 1 - p."""
    is_flat, inverse = inverse_slope(lib, clip, probs, argument)
    return lib.of.where(is_flat, 0.0, 1.0 / inverse)


def inverse_slope(lib, clip, probs, argument):
    """Where s is 0, and 1 / s elsewhere."""
    inside = is_inside(clip, probs, argument)
    if not clip.flows:
        return lib.of.logical_not(inside), lib.of.where(inside, argument, 1.0)
    bounded = lib.clip(argument, clip.floor, 1.0 / lib.tiny(argument))
    return argument <= 0.0, bounded if lib.still is None else lib.of.where(inside, argument, lib.still(bounded))

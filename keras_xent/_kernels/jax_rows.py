"""What kernels on JAX have in common: one compiled function with a derivative rule of its own.

XLA's CPU hands the sum or maximum of each row to a library, and fuses what stands before it into one loop only if that is
arithmetic of float32 or widens bfloat16: a comparison, a choice between two values, an integer, a float16 and whatever two
reductions share are written to memory first, as large as the logits. So each reduction stands `apart`, a class is left out by a
factor, and the place of the top class is a maximum of floats. A gradient is no reduction: in it, choices cost nothing. To other
devices all of it is arithmetic.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp
from jax.custom_derivatives import SymbolicZero

A_FEW = 2**16  # numbers
MOST_CLASSES = 2**24  # class ids are exact in float32 up to here
NARROW_ENOUGH = (jnp.float32, jnp.bfloat16, jnp.float16)
LARGEST = float(jnp.finfo(jnp.float32).max)


def serves(quantities, logits="logits", *others):
    """Whether a kernel takes these: logits to be computed with in float32, the classes last."""
    shape, axis = quantities[logits].shape, quantities["axis"]
    if not isinstance(quantities[logits], jax.Array) or axis != len(shape) - 1:
        return False
    counted = isinstance(shape[-1], int) and shape[-1] <= MOST_CLASSES  # `jax.export` knows sizes without a number
    return counted and all(quantities[each].dtype in NARROW_ENOUGH for each in (logits, *others))


def widened(values):
    """Half precision in float32; other values as they are."""
    return values.astype(jnp.float32) if values.dtype in NARROW_ENOUGH else values


def apart(reduce, *values):
    """`reduce(one, *values)`, which shares nothing with another reduction: what it needs is passed, and widened there.

    Its constants are multiples of `one`: they are not the same constants as in another place.
    """
    one = jnp.float32(1.0)
    if not few(*values):
        one, *values = lax.optimization_barrier((one, *values))
    return reduce(one, *map(widened, values))


def if_any(condition, careful, otherwise, *rows):
    """`careful(*rows)` if any row needs it, else `otherwise`; of few numbers both, and each row has what it needs."""
    if few(*rows):
        choose = functools.partial(jnp.where, condition)
        return jax.tree.map(choose, careful(*rows), otherwise)
    return lax.cond(jnp.any(condition), lambda *rows: careful(*rows), lambda *_: otherwise, *rows)


def few(*values):
    """Whether these are so few numbers that a program's operations cost more than what they compute."""
    return all(isinstance(size, int) for value in values for size in value.shape) and max(value.size for value in values) < A_FEW


def summed(elements):
    """The sum of each row. Few numbers are a product with ones: XLA's CPU computes what is to be multiplied several at a time."""
    if few(elements):
        ones = jnp.ones((elements.shape[-1], 1), elements.dtype)
        return lax.dot_general(elements, ones, (((elements.ndim - 1,), (0,)), ((), ())), precision="highest")
    return jnp.sum(elements, -1, keepdims=True)


def largest(values):
    """The largest of each row, a constant to the gradient: a shift that cancels out."""
    return apart(lambda _, values: jnp.max(values, -1, keepdims=True), lax.stop_gradient(values))


def places(values):
    """0 .. K-1 along the classes."""
    return lax.broadcasted_iota(jnp.float32, values.shape, values.ndim - 1)


def sum_of_others(element, place, *values):
    """The sum of `element(one, *values)` over the classes but the one at `place`, which has the factor 0."""

    def reduce(one, place, *values):
        return summed(element(one, *values) * jnp.minimum(jnp.abs(places(values[0]) - place), one))

    return apart(reduce, place, *values)


def place_of(values, top):
    """The last place of each row's largest value; the others lie 2²⁵ lower."""

    def reduce(one, values, top):
        return jnp.max(places(values) + jnp.sign(values - top) * (2.0 * MOST_CLASSES * one), -1, keepdims=True)

    return apart(reduce, *lax.stop_gradient((values, top)))


def at(values, place):
    """The entry of each row at a place."""
    return widened(jnp.take_along_axis(values, place.astype("int32"), axis=-1))


def denominator(logits):
    """The largest logit m, its place j, its lift z_j - m (0, but not to a second derivative), and Σ_{k ≠ j} exp(z_k - m)."""
    top_logit = largest(logits)
    top = place_of(logits, top_logit)
    others = sum_of_others(lambda _, logits, top_logit: jnp.exp(logits - top_logit), top, logits, top_logit)
    return top_logit, top, at(logits, top) - top_logit, others


def is_infinite(values, one):
    """1 where they are infinity, 0 elsewhere: a comparison that is arithmetic."""
    return jnp.sign(jnp.maximum(values - LARGEST * one, one - one))


def infinite_if_large(sums):
    """Sums in which each infinity counted as the largest number that there is."""
    return jnp.where(jnp.abs(sums) >= LARGEST, jnp.sign(sums) * jnp.inf, sums)


def with_care(sums, careful, *rows):
    """The sums of rows; those that are not finite by `careful(*rows)`, which leaves the others as they are."""
    finite = jnp.isfinite(sums)
    return lax.cond(jnp.all(finite), lambda *_: sums, lambda *rows: jnp.where(finite, sums, careful(*rows)), *rows)


@dataclass(frozen=True)
class RowLosses:
    """A differentiable function of logits (..., num_classes) and more: one loss per row, of shape (..., 1) inside, (...) outside.

    Half precision is widened wherever it is read, and never written so. `measure(*arguments)` gives the losses and a tuple of
    what else of the rows their derivative needs, one number per row each. The entries of `slopes` belong to the arguments:
    `slope(arguments, measured)` is d loss / d argument, of the argument's shape, or of one that broadcasts to it; None where the
    argument has none. Both are differentiable: so is the derivative.
    """

    measure: Callable[..., tuple[Any, tuple[Any, ...]]]
    slopes: tuple[Callable[..., Any] | None, ...]

    def __call__(self, *arguments):
        """The losses, in float32."""
        return self._compiled(*arguments)

    @functools.cached_property
    def _compiled(self):
        """Compiled on its own where nothing around it is, so that nothing large is made on the way."""
        losses = jax.custom_jvp(lambda *arguments: self.measure(*arguments)[0][..., 0])
        losses.defjvp(self._rule, symbolic_zeros=True)
        return jax.jit(losses)

    def _rule(self, arguments, tangents):
        losses, measured = self.measure(*arguments)
        change = jnp.zeros_like(losses)
        for slope, tangent in zip(self.slopes, tangents, strict=True):
            if slope is not None and not isinstance(tangent, SymbolicZero):
                change = change + self._push(slope)(arguments, measured, tangent)
        return losses[..., 0], change[..., 0]

    @staticmethod
    def _push(slope):
        """What a tangent becomes. Kept for the backward pass are the arguments and one number per row, not the slope itself.

        What comes back is kept apart, too: it may be a constant that a reduction also has.
        """

        def push(arguments, measured, tangent):
            return lax.optimization_barrier(summed(slope([*map(widened, arguments)], measured) * widened(tangent)))

        return jax.checkpoint(push, prevent_cse=False)

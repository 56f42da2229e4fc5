"""Losses from probabilities, on JAX: the formulas of `from_probs`."""

import functools

import jax
from jax import lax
from jax import numpy as jnp
from jax.experimental.shard_alike import shard_alike

from . import from_probs
from .jax_rows import RowLosses, apart, at, few, if_any, serves, summed
from .probs_formula import Library


def placed(like, ids, one, others):
    """Rows with `one` where the ids say, and `others` elsewhere."""
    rows = jnp.where(lax.broadcasted_iota(ids.dtype, like.shape, like.ndim - 1) == ids, one, others)
    return shard_alike(rows, like)[0]


def arithmetic(arithmetic, choices):
    """What XLA's CPU makes part of a sum, with the derivatives of the choices that it writes to memory."""
    function = jax.custom_jvp(arithmetic)
    function.defjvp(lambda rows, tangents: jax.jvp(choices, rows, tangents))
    return function


JAX = Library(
    jnp,
    summed=lambda element, *rows: apart(lambda one, *rows: summed(element(one, *rows)), *rows),
    at=at,
    placed=placed,
    if_any=if_any,
    clip=lambda x, low, high: jnp.minimum(jnp.maximum(x, low), high),
    tiny=lambda _: float(jnp.finfo(jnp.float32).tiny),
    still=lax.stop_gradient,
    arithmetic=arithmetic,
)


def losses_of(name, clip, plain):
    """A function of probabilities, targets and weights."""
    del plain
    return differentiable(name, clip)


@functools.lru_cache(64)
def differentiable(name, clip):
    """The same, once for each clip."""
    formula = from_probs.FORMULAS[name]

    def by(slopes):
        return slopes and (lambda arguments, measured: slopes(JAX, clip, measured, *arguments))

    def measure(probs, *others):
        losses, measured = formula.measure(JAX, clip, probs, *others)
        if not few(probs):  # of NaN, XLA's CPU makes what the clip has for it, in a sum
            clipped = lax.stop_gradient((probs, *others) if name == "DIVERGENCE" else (probs,))
            losses = jnp.where(jnp.isnan(JAX.summed(lambda _, *rows: sum(rows), *clipped)), jnp.nan, losses)
        return losses, measured

    return RowLosses(measure, (by(formula.slopes), by(formula.target_slopes), *[None] * formula.weighed))


(
    BINARY_FROM_PROBS,
    BINARY_FOCAL_FROM_PROBS,
    DENSE_FROM_PROBS,
    FOCAL_FROM_PROBS,
    KL_FROM_PROBS,
    SPARSE_FROM_PROBS,
) = from_probs.kernels_of(losses_of, functools.partial(serves, logits="probs"))

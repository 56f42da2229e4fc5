"""The power of the focal factor, in arithmetic that XLA fuses."""

from functools import partial

import jax
from jax import numpy as jnp

from ..steps.tensors import smallest_normal


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def raised(base, one, exponent):
    """A power of numbers of at least 0, whose derivative at 0 is 0 also where the exponent is below 1."""
    if exponent in (0.0, 1.0, 2.0):
        return (jnp.ones_like(base), base, base * base)[int(exponent)]
    return jnp.power(base, one * exponent)


@raised.defjvp
def _(exponent, arguments, tangents):
    return raised(*arguments, exponent), slope_of_power(arguments[0], exponent) * tangents[0]


def slope_of_power(base, exponent):
    """γ c^(γ - 1), and 0 where c is."""
    if exponent in (0.0, 1.0, 2.0):
        return exponent * raised(base, 1.0, max(exponent - 1.0, 0.0))
    nothing = base < smallest_normal(base)
    return jnp.where(nothing, 0.0, exponent * raised(jnp.where(nothing, 1.0, base), 1.0, exponent - 1.0))

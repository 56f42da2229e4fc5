"""Focal cross-entropy of yes/no outputs from logits, on JAX.

With e the cost of an output as in `jax_binary`, c the probability of a mistake, n the outputs of a row:

loss = Σ c^γ e / n,  c = t σ(-z) + (1 - t) σ(z);  d loss / dz = (c^γ e' + γ c^(γ - 1) c' e) / n,  c' = (1 - 2 t) σ(z) σ(-z)
"""

import functools

from jax import numpy as jnp

from .exponents import serves_exponent
from .jax_binary import cost, costs_of_answers, mean_of, sigmoid
from .jax_powers import raised, slope_of_power
from .jax_rows import RowLosses, serves
from .shortcuts import Kernel

FAR = 80.0  # the probability of what lies further below is next to 0, and its slope no NaN
INFINITE = 1e30  # what costs as much has probability 0, and its factor no slope


def focal_cost(gamma, one, logits, targets, pos_weight):
    """c^γ e."""
    yes = one / (one + jnp.exp(jnp.minimum(-logits, FAR * one)))
    no = one / (one + jnp.exp(jnp.minimum(logits, FAR * one)))
    return raised(targets * no + (one - targets) * yes, one, gamma) * cost(one, logits, targets, pos_weight)


def slopes(gamma, arguments, measured):
    """d loss / dz."""
    del measured
    logits, targets, pos_weight = arguments
    yes, no, expected, mistake = parts(*arguments)
    slope = (1.0 - targets) * yes - pos_weight * targets * no
    of_factor = slope_of_power(mistake, gamma) * (1.0 - 2.0 * targets) * yes * no * expected
    of_factor = jnp.where(expected > INFINITE, 0.0, of_factor)
    return (raised(mistake, 1.0, gamma) * slope + of_factor) / logits.shape[-1]


def target_slopes(gamma, arguments, measured):
    """d loss / dt."""
    del measured
    yes, no, expected, mistake = parts(*arguments)
    of_yes, of_no = costs_of_answers(*arguments)
    of_factor = jnp.where(expected > INFINITE, 0.0, slope_of_power(mistake, gamma) * (no - yes) * expected)
    return (raised(mistake, 1.0, gamma) * (of_yes - of_no) + of_factor) / arguments[0].shape[-1]


def parts(logits, targets, pos_weight):
    """The probabilities of a yes and of a no, what is expected to be paid, and the probability of a mistake."""
    yes, no = sigmoid(logits)
    of_yes, of_no = costs_of_answers(logits, targets, pos_weight)
    return yes, no, targets * of_yes + (1.0 - targets) * of_no, targets * no + (1.0 - targets) * yes


@functools.cache
def differentiable(gamma):
    """The function of logits, targets and the weight of a yes."""
    focal = functools.partial(focal_cost, gamma)
    by_argument = functools.partial(slopes, gamma), functools.partial(target_slopes, gamma), None
    return RowLosses(lambda *arguments: (mean_of(focal, *arguments), ()), by_argument)


def binary_focal_losses(logits, targets, pos_weight, gamma):
    """The mean focal cross-entropy of each row's outputs: all steps at once.

    loss = Σ c^γ (w t softplus(-z) + (1 - t) softplus(z)) / n
    """
    return differentiable(gamma)(logits, targets, pos_weight)


BINARY_FOCAL = Kernel(binary_focal_losses, lambda quantities: serves(quantities) and serves_exponent(quantities), widens=True)

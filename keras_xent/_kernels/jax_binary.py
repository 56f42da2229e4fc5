"""Cross-entropy of yes/no outputs from logits, on JAX.

With L = log1p(exp(-|z|)), w the weight of a yes, n the outputs of a row:

loss = Σ (w t (max(-z, 0) + L) + (1 - t) (max(z, 0) + L)) / n;  d loss / dz = ((1 - t) σ(z) - w t σ(-z)) / n

Nothing cancels. An answer with target 0 contributes nothing, even at an infinite logit.
"""

import functools

from jax import numpy as jnp

from .jax_rows import LARGEST, RowLosses, apart, infinite_if_large, is_infinite, serves, summed, with_care
from .shortcuts import Kernel


def measure(logits, targets, pos_weight):
    """The losses; their gradient needs nothing else."""
    return mean_of(cost, logits, targets, pos_weight), ()


def mean_of(cost, *rows):
    """The mean of what the outputs of each row cost."""
    sums = apart(lambda *one_and_rows: summed(cost(*one_and_rows)), *rows)
    return with_care(sums, functools.partial(careful_sum, cost), *rows) / rows[0].shape[-1]


def cost(one, logits, targets, pos_weight):
    """What each output costs."""
    below, above = jnp.maximum(-logits, one - one), jnp.maximum(logits, one - one)
    near_zero = jnp.log1p(jnp.exp(-(below + above)))  # not of |z|, which has a slope at 0 to JAX
    return pos_weight * targets * (below + near_zero) + (one - targets) * (above + near_zero)


def careful_sum(cost, *rows):
    """The sum of the costs, where 0 · ∞ is 0."""

    def share(one, logits, targets, pos_weight):
        yes_is_lost, no_is_lost = is_infinite(-logits, one), is_infinite(logits, one)
        is_possible = one - yes_is_lost - no_is_lost
        finite = is_possible * jnp.sign(logits) * jnp.minimum(jnp.abs(logits), LARGEST * one)
        lost = yes_is_lost * jnp.abs(jnp.sign(pos_weight * targets)) + no_is_lost * jnp.abs(jnp.sign(one - targets))
        return is_possible * cost(one, finite, targets, pos_weight) + lost * (LARGEST * one)

    return infinite_if_large(apart(lambda *one_and_rows: summed(share(*one_and_rows)), *rows))


def sigmoid(logits):
    """The probabilities of a yes and of a no, exact at both ends."""
    power = jnp.exp(jnp.where(logits > 0, -logits, logits))  # |z| has no second derivative at 0
    scale = 1.0 / (1.0 + power)
    return jnp.where(logits > 0, 1.0, power) * scale, jnp.where(logits > 0, power, 1.0) * scale


def slopes(arguments, measured):
    """d loss / dz."""
    del measured
    logits, targets, pos_weight = arguments
    yes, no = sigmoid(logits)
    return ((1.0 - targets) * yes - pos_weight * targets * no) / logits.shape[-1]


def target_slopes(arguments, measured):
    """d loss / dt."""
    del measured
    of_yes, of_no = costs_of_answers(*arguments)
    return (of_yes - of_no) / arguments[0].shape[-1]


def costs_of_answers(logits, targets, pos_weight):
    """What a yes and what a no would cost; 0 for infinitely much of an answer that is no target."""
    near_zero = jnp.log1p(jnp.exp(jnp.where(logits > 0, -logits, logits)))
    of_yes = pos_weight * (jnp.where(logits > 0, 0.0, -logits) + near_zero)
    of_no = jnp.where(logits > 0, logits, 0.0) + near_zero
    of_yes = jnp.where((targets == 0) & jnp.isinf(of_yes), 0.0, of_yes)
    return of_yes, jnp.where((targets == 1) & jnp.isinf(of_no), 0.0, of_no)


differentiable = RowLosses(measure, (slopes, target_slopes, None))


def binary_losses(logits, targets, pos_weight):
    """The mean cross-entropy of each row's outputs: all steps at once.

    loss = Σ (w t softplus(-z) + (1 - t) softplus(z)) / n
    """
    return differentiable(logits, targets, pos_weight)


BINARY = Kernel(binary_losses, serves, widens=True)

"""Focal cross-entropy against distributions from logits, on JAX.

With j the top class, p the softmax, c_k = 1 - p_k, which for the top class is what the others add up to, e_k = -log p_k:

loss = Σ_k t_k c_k^γ e_k;  d loss / dz_k = s_k - p_k Σ_i s_i,  s_k = p_k d loss / dp_k = -t_k (c_k^γ + γ c_k^(γ - 1) p_k e_k)

Of the top class the gradient is s_j c_j - p_j Σ_{i ≠ j} s_i, in which nothing cancels.
"""

import functools

from jax import numpy as jnp

from .exponents import serves_exponent
from .jax_powers import raised, slope_of_power
from .jax_rows import (
    LARGEST,
    RowLosses,
    at,
    denominator,
    infinite_if_large,
    is_infinite,
    places,
    serves,
    sum_of_others,
    with_care,
)
from .shortcuts import Kernel

LEAST = 0.25  # what any class but the top one leaves to the others is at least twice as much
IMPOSSIBLE = 200.0  # nats: the probability is 0, and so is its product with what it costs


def measure(gamma, logits, targets):
    """The losses; the top logit and its place, log and total of the denominator; what the top class is like; the others' pull."""
    top_logit, top, lift, others = denominator(logits)
    total, log_total = others + jnp.exp(lift), jnp.log1p(others + jnp.expm1(lift))
    target, prob, remainder, cost = at(targets, top), jnp.exp(lift) / total, others / total, log_total - lift
    of_others = cost_of_others(gamma, top, logits, targets, top_logit, log_total, total)
    losses = of_others + target * raised(remainder, 1.0, gamma) * cost
    others_pull = sum_of_others(  # in another order than the costs: what is apart in the same way is one to XLA
        lambda one, logits, top_logit, targets, *softmax: pull(gamma, one, targets, *below(top_logit - logits, *softmax)),
        *(top, logits, top_logit, targets, log_total, total),
    )
    top_pull = -target * (raised(remainder, 1.0, gamma) + slope_of_power(remainder, gamma) * prob * cost)
    return losses, (top_logit, top, log_total, total, cost, prob, remainder, top_pull, others_pull)


def below(depths, log_total, total):
    """The probability of a class so far below the top one, and what it costs."""
    return jnp.exp(-depths) / total, depths + log_total


def cost_of_other(gamma, one, targets, prob, costs):
    """t c^γ e of a class that is not the top one."""
    return targets * raised(one - prob, one, gamma) * costs


def pull(gamma, one, targets, prob, costs):
    """s of such a class."""
    remainder = jnp.maximum(one - prob, LEAST * one)
    of_factor = (gamma * one) * raised(remainder, one, gamma - 1.0) * prob * jnp.minimum(costs, IMPOSSIBLE * one)
    return -targets * (raised(remainder, one, gamma) + of_factor)


def cost_of_others(gamma, top, *rows):
    """Σ_k t_k c_k^γ e_k without the top class; a class with target 0 contributes nothing, even at logit -inf."""

    def share(one, logits, targets, top_logit, *softmax):
        return cost_of_other(gamma, one, targets, *below(top_logit - logits, *softmax))

    def careful_share(one, logits, targets, top_logit, *softmax):
        depths = top_logit - logits
        is_impossible = is_infinite(depths, one)
        possible = (one - is_impossible) * jnp.minimum(depths, LARGEST * one)
        of_possible = (one - is_impossible) * cost_of_other(gamma, one, targets, *below(possible, *softmax))
        return of_possible + is_impossible * jnp.sign(targets) * (LARGEST * one)

    def careful(*rows):
        return infinite_if_large(sum_of_others(careful_share, top, *rows))

    return with_care(sum_of_others(share, top, *rows), careful, *rows)


def slopes(gamma, arguments, measured):
    """d loss / dz."""
    (logits, targets), (top_logit, top, *softmax, _, top_prob, remainder, top_pull, others_pull) = arguments, measured
    prob, costs = below(top_logit - logits, *softmax)
    of_other = pull(gamma, 1.0, targets, prob, costs) - prob * (others_pull + top_pull)
    return jnp.where(places(logits) == top, top_pull * remainder - top_prob * others_pull, of_other)


def target_slopes(gamma, arguments, measured):
    """d loss / dt."""
    (logits, targets), (top_logit, top, *softmax, top_cost, _, remainder, _, _) = arguments, measured
    depths = top_logit - logits
    depths = jnp.where((targets == 0) & jnp.isinf(depths), 0.0, depths)
    costs = cost_of_other(gamma, 1.0, 1.0, *below(depths, *softmax))
    return jnp.where(places(logits) == top, raised(remainder, 1.0, gamma) * top_cost, costs)


@functools.cache
def differentiable(gamma):
    """The function of logits and targets."""
    by_argument = functools.partial(slopes, gamma), functools.partial(target_slopes, gamma)
    return RowLosses(functools.partial(measure, gamma), by_argument)


def focal_losses(logits, targets, gamma):
    """The focal cross-entropy under the targets: all steps at once.

    loss = Σ_k t_k c_k^γ (-log p_k)
    """
    return differentiable(gamma)(logits, targets)


FOCAL = Kernel(focal_losses, lambda quantities: serves(quantities) and serves_exponent(quantities), widens=True)

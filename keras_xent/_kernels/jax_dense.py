"""Cross-entropy against distributions from logits, on JAX.

With m the largest logit, x_k = m - z_k, S = Σ_k exp(-x_k), M = Σ_k t_k:

loss = Σ_k t_k x_k + M log S;  d loss / dz_k = M exp(-x_k) / S - t_k;  d loss / dt_k = x_k + log S

Where S < 2 there is one top class, which has most of the prediction, and r = S - 1 is summed without it: log S is log1p(r). If it
also has most of the target, its gradient is U - M r / S, U being the other classes' targets: 1 is not taken from 1.
"""

from jax import lax
from jax import numpy as jnp

from .jax_rows import LARGEST, RowLosses, apart, few, if_any, infinite_if_large, is_infinite, largest, serves, summed, with_care
from .shortcuts import Kernel


def measure(logits, targets):
    """The losses; m, M, U, S, r and log S."""
    top_logit, mass = largest(logits), apart(lambda _, targets: summed(targets), targets)
    total = apart(lambda _, logits, top: summed(jnp.exp(logits - top)), logits, top_logit)
    confident = total < 2.0
    others, rest = if_any(confident, sums_below_top, (total - 1.0, mass), logits, top_logit, targets)
    log_total = jnp.log(total)
    log_total += lax.stop_gradient(jnp.where(confident, jnp.log1p(others) - log_total, 0.0))
    losses = expected_depth(logits, targets, top_logit) + mass * log_total
    return losses, (top_logit, mass, rest, total, others, log_total)


def sums_below_top(logits, top_logit, targets):
    """Σ exp(z_k - m) and Σ t_k of the classes whose logits are smaller than m."""

    def is_below(one, depths):
        return jnp.minimum(lax.stop_gradient(depths) * (LARGEST * one), one)

    def powers(one, top_logit, logits):
        depths = top_logit - logits
        return summed(jnp.exp(-depths) * is_below(one, depths))

    def masses(one, targets, top_logit, logits):
        return summed(targets * is_below(one, top_logit - logits))

    return apart(powers, top_logit, logits), apart(masses, targets, top_logit, logits)


def expected_depth(logits, targets, top_logit):
    """Σ_k t_k (m - z_k), to which a class with target 0 contributes nothing, even at logit -inf."""
    rows = targets, logits, top_logit
    if few(*rows):  # care takes less time than to find out whether it is needed
        return careful_depth(*rows)
    depths = apart(lambda _, targets, logits, top_logit: summed(targets * (top_logit - logits)), *rows)
    return with_care(depths, careful_depth, *rows)


def careful_depth(*rows):
    """The same, where 0 · ∞ is 0."""

    def reduce(one, targets, logits, top_logit):
        depths = top_logit - logits
        is_impossible = is_infinite(depths, one)
        of_possible = (one - is_impossible) * targets * jnp.minimum(depths, LARGEST * one)
        return summed(of_possible + is_impossible * jnp.sign(targets) * (LARGEST * one))

    return infinite_if_large(apart(reduce, *rows))


def slopes(arguments, measured):
    """d loss / dz."""
    (logits, targets), (top_logit, mass, rest, total, others, _) = arguments, measured
    leads = (logits == top_logit) & (total < 2.0) & (2.0 * targets > mass)
    of_leader = rest - mass * others / total
    return jnp.where(leads, of_leader, jnp.exp(logits - top_logit) * (mass / total) - targets)


def target_slopes(arguments, measured):
    """d loss / dt_k = -log p_k; of an impossible class without target 0."""
    (logits, targets), (top_logit, *_, log_total) = arguments, measured
    costs = log_total + (top_logit - logits)
    return jnp.where((targets == 0) & jnp.isinf(costs), 0.0, costs)


differentiable = RowLosses(measure, (slopes, target_slopes))


def dense_losses(logits, targets):
    """The expected -log p under the targets: all steps at once.

    loss = Σ_k t_k (m - z_k) + (Σ_k t_k) log S
    """
    return differentiable(logits, targets)


DENSE = Kernel(dense_losses, serves, widens=True)

"""Linear losses on JAX: what `sweep` does, with its gradients."""

import dataclasses
import functools

import jax
from jax import numpy as jnp

from .jax_sweep import sweep
from .plan import NOT_TWICE, Operands

jax.tree_util.register_dataclass(Operands, [field.name for field in dataclasses.fields(Operands)], [])


@functools.partial(jax.jit, static_argnums=1)
def losses(operands, plan):
    """One loss per row; its gradient makes the logits anew."""
    return differentiable_losses(plan, operands)


def weighted_sum(operands, weights, plan, with_gradient):
    """Σ_i weights_i loss_i; where there is a gradient it is made beside it."""
    del with_gradient  # JAX says itself whether there is one
    return compiled_sum(operands, weights, plan)


@functools.partial(jax.jit, static_argnums=2)
def compiled_sum(operands, weights, plan):
    """The same, compiled once for operands of these shapes."""
    return differentiable_sum(plan, operands, weights)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def differentiable_losses(plan, operands):
    """The losses, and no gradients of them yet."""
    return sweep(operands, plan)[0]


def losses_forward(plan, operands):
    """The losses, and what their gradient is made of."""
    return differentiable_losses(plan, operands), operands


def losses_backward(plan, operands, upstream):
    """The gradient, from logits that are made anew."""
    return (fitted(sweep(operands, plan, upstream)[1:], operands),)


differentiable_losses.defvjp(losses_forward, losses_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def differentiable_sum(plan, operands, weights):
    """The sum where nobody asks for a gradient."""
    return total(sweep(operands, plan)[0], weights)


def sum_forward(plan, operands, weights):
    """The sum with its gradients, which lack a factor."""
    values, *gradients = sweep(operands, plan, weights)
    return total(values, weights), (values, gradients, operands, weights)


def sum_backward(plan, residuals, upstream):
    """That factor put in; d / d weights_i is loss_i."""
    del plan
    values, gradients, operands, weights = residuals
    scaled = [None if each is None else upstream * each.astype(upstream.dtype) for each in gradients]
    return fitted(scaled, operands), (upstream * values).astype(weights.dtype)


differentiable_sum.defvjp(sum_forward, sum_backward)


def total(values, weights):
    """Σ_i weights_i loss_i, in which a weight of 0 removes a loss, whatever it is."""
    return jnp.where(weights == 0, 0.0, weights.astype(values.dtype) * values).sum()


def fitted(gradients, operands):
    """Gradients in the dtypes of what they are by, which have no derivatives themselves."""
    primals = operands.features, operands.kernel, operands.bias
    pairs = zip(gradients, primals, strict=True)
    by_features, by_kernel, by_bias = once(tuple(None if each is None else each.astype(primal.dtype) for each, primal in pairs))
    return Operands(by_features, by_kernel, by_bias, None, None)


@jax.custom_jvp
def once(gradients):
    """Gradients that have none themselves."""
    return gradients


@once.defjvp
def refuse(primals, tangents):
    """Says so."""
    raise NotImplementedError(NOT_TWICE)

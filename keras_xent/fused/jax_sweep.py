"""Chunks of rows on JAX: one loop, whose gradients lie in place; a last chunk that is smaller comes after it, unpadded."""

import jax
from jax import lax
from jax import numpy as jnp


def sweep(operands, plan, weights=None, wants=(True, True, True)):
    """The losses, and with `weights` the gradients of Σ_i weights_i loss_i by what is wanted of features, kernel and bias.

    A weight of 0 removes a row from the gradients, whatever its logits are.
    """
    features, kernel, bias = operands.features, operands.kernel.astype(factor_dtype(operands.features)), operands.bias
    sums = wide(features)
    num_classes, hidden = kernel.shape if plan.transposed else kernel.shape[::-1]
    wants = tuple(want and weights is not None for want in wants)

    def step(begin, size, carry):
        losses, by_features, by_kernel, by_bias = carry
        of_chunk = lax.dynamic_slice_in_dim(features, begin, size)
        targets = tuple(lax.dynamic_slice_in_dim(each, begin, size) for each in operands.targets)
        factors = None if weights is None else lax.dynamic_slice_in_dim(weights, begin, size).astype(sums)
        of_chunk = of_chunk.astype(kernel.dtype)
        logits = make_logits(of_chunk, kernel, bias, plan.transposed)
        values, slopes = plan.loss.losses_and_slopes(logits, targets, operands.shared, factors)
        losses = lax.dynamic_update_slice_in_dim(losses, values, begin, 0)
        if slopes is None:
            return losses, by_features, by_kernel, by_bias
        narrow = slopes.astype(kernel.dtype)
        if wants[0]:
            change = multiply(narrow, kernel, (1,), (0 if plan.transposed else 1,), sums)
            by_features = lax.dynamic_update_slice_in_dim(by_features, change.astype(features.dtype), begin, 0)
        if wants[1]:
            pair = (narrow, of_chunk) if plan.transposed else (of_chunk, narrow)
            by_kernel = by_kernel + multiply(*pair, (0,), (0,), sums)
        if by_bias is not None:
            by_bias = by_bias + slopes.sum(0)
        return losses, by_features, by_kernel, by_bias

    carry = (
        jnp.zeros(features.shape[:1], sums),
        jnp.zeros_like(features) if wants[0] else None,
        jnp.zeros(kernel.shape, sums) if wants[1] else None,
        jnp.zeros((num_classes,), sums) if wants[2] and bias is not None else None,
    )
    return chunked(step, len(features), plan.rows(num_classes, hidden, len(features)), carry)


def chunked(step, count, size, carry):
    """`step(begin, size, carry)` over all chunks of `count` rows."""
    whole = count // size if count else 0
    if whole > 1:
        carry = lax.fori_loop(0, whole, lambda turn, carry: step(turn * size, size, carry), carry)
    elif whole:
        carry = step(0, size, carry)
    return step(whole * size, count - whole * size, carry) if count - whole * size else carry


def top_classes(operands, plan):
    """The class with the largest logit of each row."""
    features, kernel = operands.features, operands.kernel.astype(factor_dtype(operands.features))
    num_classes, hidden = kernel.shape if plan.transposed else kernel.shape[::-1]

    def step(begin, size, found):
        of_chunk = lax.dynamic_slice_in_dim(features, begin, size)
        logits = make_logits(of_chunk, kernel, operands.bias, plan.transposed)
        return lax.dynamic_update_slice_in_dim(found, logits.argmax(-1).astype("int32"), begin, 0)

    found = jnp.zeros(features.shape[:1], "int32")
    return chunked(step, len(features), plan.rows(num_classes, hidden, len(features)), found)


def make_logits(features, kernel, bias, transposed):
    """x W + b, in a dtype of at least float32."""
    logits = multiply(features.astype(kernel.dtype), kernel, (1,), (1 if transposed else 0,), wide(features))
    return logits if bias is None else logits + bias.astype(logits.dtype)


def wide(features):
    """The dtype of sums: half precision is summed in float32."""
    return jnp.float32 if features.dtype in (jnp.float16, jnp.bfloat16) else features.dtype


def factor_dtype(features):
    """The dtype of what is multiplied: an accelerator adds up products of half precision in float32, a CPU is given float32."""
    return wide(features) if jax.default_backend() == "cpu" else features.dtype


def multiply(one, other, axes, other_axes, sums):
    """A product that sums over the given axes, in a dtype of at least float32."""
    return lax.dot_general(one, other, ((axes, other_axes), ((), ())), preferred_element_type=sums)

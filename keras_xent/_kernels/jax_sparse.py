"""Cross-entropy against class ids from logits, on JAX: two passes over the logits for the losses, a third for the gradient.

With y the target, m the largest logit, r = Σ_{k ≠ y} exp(z_k - m), e = exp(z_y - m):

loss = m - z_y + log(r + e);  d loss / d z_k = exp(z_k - m) / (r + e), and -r / (r + e) for the target
"""

from jax import numpy as jnp

from .jax_rows import RowLosses, at, largest, places, serves, sum_of_others
from .shortcuts import Kernel


def measure(logits, labels):
    """The losses, the largest logits, the gaps between them and the targets', the sums of the others."""
    target = labels[..., None]
    top_logit, target_logit = largest(logits), at(logits, target)
    gap = top_logit - target_logit
    others = sum_of_others(lambda _, logits, top: jnp.exp(logits - top), target.astype(jnp.float32), logits, top_logit)
    return gap + jnp.log1p(others + jnp.expm1(-gap)), (top_logit, gap, others)


def slopes(arguments, measured):
    """d loss / d z."""
    (logits, labels), (top_logit, gap, others) = arguments, measured
    scale = 1.0 / (others + jnp.exp(-gap))
    is_target = places(logits) == labels[..., None].astype(jnp.float32)
    return jnp.where(is_target, -others * scale, jnp.exp(logits - top_logit) * scale)


differentiable = RowLosses(measure, (slopes, None))


def sparse_losses(logits, labels):
    """-log p of the target class: all steps at once.

    loss = g + log1p(r + expm1(-g)),  g = m - z_y
    """
    return differentiable(logits, labels)


SPARSE = Kernel(sparse_losses, serves, widens=True)

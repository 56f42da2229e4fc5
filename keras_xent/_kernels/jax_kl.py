"""The divergence of a student from its teacher, both tempered, on JAX.

With l_k = log softmax(s / T)_k of the student, u_k of the teacher, q_k = exp(l_k), p_k = exp(u_k), d_k = l_k - u_k, x_k = -|d_k|:

D = Σ_k p_k φ(d_k) = Σ_k (q_k - p_k - p_k d_k) >= 0,  φ(d) = e^d - 1 - d
  = Σ_k p_k φ(x_k), and q_k (x_k (e^x_k - 1) - φ(x_k)) for the other sign of d_k
dD / ds_k = (q_k - p_k) / T;  dD / dT = -Σ_k ((q_k - p_k) s_k - p_k (d_k + D) t_k) / T²

Nothing overflows in the second form. What cancels in φ, where the two are close, is as little as what the rounding of d changes.
The top classes need no care: what log A or log B is off by changes the divergence by Σ_k (q_k - p_k) times as much.
"""

from jax import lax
from jax import numpy as jnp

from .jax_rows import LARGEST, RowLosses, apart, infinite_if_large, is_infinite, largest, serves, summed
from .shortcuts import Kernel

NOTHING = -200.0  # its exponential is 0: a class that lies further below is no different, but for the NaN of 0 · ∞


def measure(logits, teacher_logits, temperature):
    """The divergences; of student and teacher the largest logits and the sums of exponentials."""
    scale = 1.0 / temperature
    tops = largest(logits), largest(teacher_logits)
    totals = tuple(
        apart(lambda _, logits, top, scale: summed(jnp.exp((logits - top) * scale)), *each, scale)
        for each in zip((logits, teacher_logits), tops, strict=True)
    )
    rows = logits, teacher_logits, scale, *tops, *map(jnp.log, totals)
    divergence = apart(lambda one, *rows: summed(terms(one, *log_probs(one, *rows))), *rows)
    divergence = lax.cond(jnp.all(jnp.isfinite(divergence)), lambda *_: divergence, careful_divergence, *rows)
    return jnp.maximum(divergence, 0.0), (*tops, *totals, divergence)


def log_probs(one, logits, teacher_logits, scale, top, teacher_top, log_total, teacher_log_total):
    """Those of the student and of the teacher."""
    log_teacher = (teacher_logits - teacher_top) * scale - teacher_log_total
    return (logits - top) * scale - log_total, jnp.maximum(log_teacher, NOTHING * one)


def terms(one, log_student, log_teacher):
    """Each class's share of the divergence."""
    larger = jnp.maximum(log_student, log_teacher)
    gap = jnp.minimum(log_student, log_teacher) - larger
    growth = jnp.expm1(gap)
    excess = growth - gap
    is_student = jnp.maximum(jnp.sign(log_student - log_teacher), one - one)
    return jnp.exp(larger) * (excess + is_student * (gap * growth - excess - excess))


def careful_divergence(*rows):
    """The sum of what is finite; infinity, if the student rules a class out that the teacher does not."""

    def reduce(one, *rows):
        log_student, log_teacher = log_probs(one, *rows)
        is_ruled_out = is_infinite(-log_student, one)
        of_possible = (one - is_ruled_out) * terms(one, jnp.maximum(log_student, -LARGEST * one), log_teacher)
        return summed(of_possible + is_ruled_out * jnp.sign(jnp.exp(log_teacher)) * (LARGEST * one))

    return infinite_if_large(apart(reduce, *rows))


def slopes(arguments, measured):
    """dD / ds."""
    (logits, teacher_logits, temperature), (top, teacher_top, total, teacher_total, _) = arguments, measured
    scale = 1.0 / temperature
    student = jnp.exp((logits - top) * scale) * (scale / total)
    return student - jnp.exp((teacher_logits - teacher_top) * scale) * (scale / teacher_total)


def temperature_slope(arguments, measured):
    """dD / dT, one number per row."""
    (logits, teacher_logits, temperature), (top, teacher_top, total, teacher_total, divergence) = arguments, measured
    scale = 1.0 / temperature
    depths, teacher_depths = (logits - top) * scale, (teacher_logits - teacher_top) * scale
    student, teacher = jnp.exp(depths) / total, jnp.exp(teacher_depths) / teacher_total
    ratio = depths - teacher_depths + jnp.log(teacher_total / total)
    change = (student - teacher) * depths - teacher * (ratio + divergence) * teacher_depths
    return -summed(jnp.where(jnp.isfinite(change), change, 0.0)) * scale


differentiable = RowLosses(measure, (slopes, None, temperature_slope))


def divergence_losses(soft_logits, soft_targets, temperature):
    """The divergence from the teacher's softmax to the student's, both at a temperature: all steps at once.

    D = Σ_k p_k φ(log(q_k / p_k))
    """
    return differentiable(soft_logits, soft_targets, jnp.asarray(temperature, jnp.float32))


KL = Kernel(divergence_losses, lambda quantities: serves(quantities, "soft_logits", "soft_targets"), widens=True)

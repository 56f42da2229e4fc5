"""The divergence of a student from its teacher, both tempered, on JAX.

With m the largest logit of each, x_k = (s_k - m) / T of the student, y_k = (t_k - m) / T of the teacher, S = Σ_k exp(x_k) and
R = Σ_k exp(y_k), the log-probabilities are l_k = x_k - log S and u_k = y_k - log R. With q_k = exp(l_k), p_k = exp(u_k) and
d_k = l_k - u_k:

D = Σ_k exp(y_k) (y_k - x_k) / R + log(S / R) = Σ_k p_k φ(d_k) = Σ_k (q_k - p_k - p_k d_k),  φ(d) = e^d - 1 - d
dD / ds_k = (q_k - p_k) / T;  dD / dT = -Σ_k ((q_k - p_k) x_k - p_k (d_k + D) y_k) / T

The first form takes one exponential per class, and cancels where D is small: φ does not, by its series where d is near 0. A class
that leads for both has the gradient (r_R - r_S) / (S R) / T, with r the sums without it, which 1 is not taken from.
"""

from jax import lax
from jax import numpy as jnp

from .jax_rows import LARGEST, RowLosses, apart, few, if_any, infinite_if_large, is_infinite, largest, serves, summed
from .shortcuts import Kernel

NOTHING = -200.0  # its exponential is 0: a class that lies further below is no different, but for the NaN of 0 · ∞
CLOSE = 2.0**-4  # smaller divergences are differences of larger numbers
NEAR = 0.5  # up to here φ is computed by its series, whose first factor this is
TOO_LARGE = 1e30  # for a divergence: a class is ruled out that the teacher does not rule out


def measure(logits, teacher_logits, temperature):
    """The divergences; of student and teacher the largest logits, the sums of exponentials and those without the top class."""
    scale = 1.0 / temperature
    tops = largest(logits), largest(teacher_logits)
    student, teacher = ((*each, scale) for each in zip((logits, teacher_logits), tops, strict=True))
    total, teacher_total = sum_of_exp(*student), sum_of_exp(*teacher)
    confident = (total < 2.0) & (teacher_total < 2.0)
    below = if_any(confident, sums_below_tops, (total - 1.0, teacher_total - 1.0), *student, *teacher)
    rows = *student, jnp.log(total), *teacher, jnp.log(teacher_total)
    if few(logits):  # care takes less time than to find out whether it is needed
        divergence = careful_divergence(*rows)
    else:
        divergence = expected_gap(*student, *teacher) / teacher_total + jnp.log(total / teacher_total)
        plain = (divergence > CLOSE) & (divergence < TOO_LARGE)
        careful = lambda *rows: jnp.where(plain, divergence, careful_divergence(*rows))  # noqa: E731
        divergence = if_any(~plain, careful, divergence, *rows)
    return divergence, (*tops, total, teacher_total, *below)


def tempered(logits, top_logit, scale):
    """How far each lies above the top logit, tempered: 0 or less."""
    return (logits - top_logit) * scale


def sum_of_exp(*given):
    """Σ_k exp(x_k)."""
    return apart(lambda _, *given: summed(jnp.exp(tempered(*given))), *given)


def sums_below_tops(*given):
    """Σ exp of the classes below the top ones, of student and teacher."""

    def reduce(one, logits, top_logit, scale):
        heights = tempered(logits, top_logit, scale)
        is_below = jnp.minimum(lax.stop_gradient(-heights) * (LARGEST * one), one)
        return summed(jnp.exp(heights) * is_below)

    return apart(reduce, *given[:3]), apart(reduce, *given[3:])


def expected_gap(*given):
    """Σ_k exp(y_k) (y_k - x_k); not finite where anybody rules a class out."""

    def reduce(_, logits, top_logit, scale, teacher_logits, teacher_top, teacher_scale):
        depths, teacher_depths = logits - top_logit, teacher_logits - teacher_top
        return summed(jnp.exp(teacher_depths * teacher_scale) * (teacher_depths - depths)) * scale

    return apart(reduce, *given)


def careful_divergence(*rows):
    """The sum where it is small; infinity, where the student rules a class out that the teacher does not.

    With more constants XLA would not make one loop of it.
    """

    def reduce(one, logits, top_logit, scale, log_total, teacher_logits, teacher_top, _, teacher_log_total):
        depths = -tempered(logits, top_logit, scale)
        log_student = -jnp.minimum(depths + log_total, LARGEST * one)
        log_teacher = jnp.maximum(tempered(teacher_logits, teacher_top, scale) - teacher_log_total, NOTHING * one)
        teacher, log_ratio = jnp.exp(log_teacher), log_student - log_teacher
        near = jnp.minimum(jnp.maximum(log_ratio, -NEAR * one), NEAR * one)
        by_series = teacher * excess_of_exp(near, one)
        is_far = jnp.minimum(lax.stop_gradient(jnp.abs(log_ratio - near)) * (LARGEST * one), one)
        of_possible = by_series + is_far * (jnp.exp(log_student) - teacher - teacher * log_ratio - by_series)
        return summed(of_possible + is_infinite(depths, one) * jnp.sign(teacher) * (LARGEST * one))

    return infinite_if_large(apart(reduce, *rows))


def excess_of_exp(d, one):
    """φ(d) = d²/2 + d³/6 + ... for |d| up to NEAR, to the precision of float32."""
    series = one
    for n in range(8, 2, -1):
        series = one + series * d * (one / n)
    return (NEAR * one) * d * d * series


def slopes(arguments, measured):
    """dD / ds."""
    logits, teacher_logits, temperature = arguments
    top, teacher_top, total, teacher_total, others, teacher_others = measured
    scale = 1.0 / temperature
    leads = (logits == top) & (total < 2.0) & (teacher_logits == teacher_top) & (teacher_total < 2.0)
    power = jnp.exp(tempered(logits, top, scale))  # 1 where it leads, but not to a second derivative
    teacher = jnp.exp(tempered(teacher_logits, teacher_top, scale)) * (scale / teacher_total)
    of_leader = (power * teacher_others - others) * (scale / (total * teacher_total))
    return jnp.where(leads, of_leader, power * (scale / total) - teacher)


def temperature_slope(arguments, measured):
    """dD / dT, one number per row."""
    logits, teacher_logits, temperature = arguments
    top, teacher_top, total, teacher_total, *_ = measured
    scale = 1.0 / temperature
    heights, teacher_heights = tempered(logits, top, scale), tempered(teacher_logits, teacher_top, scale)
    student, teacher = jnp.exp(heights) / total, jnp.exp(teacher_heights) / teacher_total
    ratio = heights - teacher_heights + jnp.log(teacher_total / total)
    log_totals = jnp.log(total), jnp.log(teacher_total)
    divergence = careful_divergence(logits, top, scale, log_totals[0], teacher_logits, teacher_top, scale, log_totals[1])
    change = (student - teacher) * heights - teacher * (ratio + divergence) * teacher_heights
    change = jnp.where(teacher == 0.0, student * heights, change)
    return -summed(jnp.where(jnp.isfinite(change), change, 0.0)) * scale


differentiable = RowLosses(measure, (slopes, None, temperature_slope))


def kl_losses(soft_logits, soft_targets, temperature):
    """KL(softmax(t / T), softmax(s / T)): all steps at once.

    D = Σ_k p_k (exp(d_k) - 1 - d_k)
    """
    return differentiable(soft_logits, soft_targets, jnp.asarray(temperature, jnp.float32))


KL = Kernel(kl_losses, lambda quantities: serves(quantities, "soft_logits", "soft_targets"), widens=True, gives="divergence")

"""The divergence of a student from a teacher, both tempered, on PyTorch's CPU.

With p and q the softmax of the teacher's and of the student's logits over T, and d_k = log q_k - log p_k:

loss = Σ_k p_k φ(d_k) = Σ_k p_k (u_k - l_k),  φ(d) = expm1(d) - d,  l = log q, u = log p
d loss / d s_k = p_k expm1(d_k) / T = (q_k - p_k) / T

The second form costs a quarter of the first, and cancels where a student is close to its teacher. So blocks are computed by it,
and rows that come out close by the first one, in float64: the difference of two sums whose terms have a relative error of ε times
their depth.
"""

import math

import torch
from torch.autograd import forward_ad

from .._backend.torch import read
from . import numpy_kl
from .numpy_kl import FLOOR
from .shortcuts import Kernel
from .torch_blocks import Scratch
from .torch_rows import RowLosses, can_be_worked_through
from .torch_traced import Formula, denominator, largest, summed

A_FEW = 2**16  # elements, of which operations cost more than arithmetic
MANY = 2**20  # elements: more take less time by a call out of a compiled program, which goes through them block by block
BIT = math.log(2.0)  # in nats
USUAL = 32.0  # bits, of which float32 rounds off 2^-20 at most
NEAR = 0.5  # up to here φ is computed by its series in formulas
CLOSE = 2.0**-4  # a divergence below, or below this share of what it is the difference of, is computed with care


def work(student, teacher, out, scratch, temperature):
    """The losses of some rows, and what `out` has to be multiplied with to be their gradient."""
    temperature = float(temperature)
    if student.dtype == torch.float64 or student.numel() < A_FEW:  # fewer operations, each of which takes longer
        losses = close_losses(student, teacher, out, scratch, temperature).to(out.dtype)
        return losses, torch.full_like(losses, 1.0 / temperature)
    losses, factors, close = far_losses(student, teacher, out, scratch, temperature)
    (rows,) = close.nonzero(as_tuple=True)
    if len(rows):
        slopes = torch.empty_like(out[rows])
        losses[rows] = close_losses(student[rows], teacher[rows], slopes, Scratch(), temperature).to(out.dtype)
        out[rows], factors[rows] = slopes, 1.0 / temperature
    return losses, factors


def far_losses(student, teacher, out, scratch, temperature):
    """Σ_k p_k (u_k - l_k), the gradient's factors, and of which rows that is no good: those that are close, or rule out classes.

    In powers of 2, which take half a softmax's time, and no longer where they are all but 0, as PyTorch's `exp` does. With S
    and R the sums of the student's and the teacher's, S T times the gradient is 2^x_k - 2^y_k S / R.
    """
    bits = temperature * BIT
    heights = tempered_in_bits(student, bits, scratch.like(student, "far student"))
    teacher_heights = tempered_in_bits(teacher, bits, scratch.like(student, "far teacher"))
    teacher_powers = torch.exp2(teacher_heights, out=scratch.like(student, "far powers"))
    gap = teacher_heights.sub_(heights).mul_(teacher_powers).sum(-1, keepdim=True)
    powers = heights.exp2_()
    total, teacher_total = powers.sum(-1, keepdim=True), teacher_powers.sum(-1, keepdim=True)
    gap *= BIT / teacher_total
    ratio = total / teacher_total
    torch.addcmul(powers, teacher_powers, ratio, value=-1.0, out=out)
    sure = (total < 2.0) & (teacher_total < 2.0)
    if sure.any():
        balance(out, torch.from_numpy(powers.numpy().argmax(-1))[:, None], sure)
    losses = gap + ratio.log()
    close = ~((losses > CLOSE) & (losses > CLOSE * gap.abs()) & losses.isfinite())
    return losses[:, 0], (1.0 / temperature) / total[:, 0], close[:, 0]


def tempered_in_bits(logits, bits, out):
    """(z_k - m) / (T log 2); where logits are no larger than usual in one operation, for which m is scaled first."""
    logits = logits if logits.dtype == out.dtype else out.copy_(logits)
    top, scale = logits.amax(-1, keepdim=True), 1.0 / bits
    shift = top * -scale
    if shift.abs().amax() <= USUAL:
        return torch.add(shift, logits, alpha=scale, out=out)
    return torch.sub(logits, top, out=out).mul_(scale)


def close_losses(student, teacher, out, scratch, temperature):
    """Σ_k p_k φ(d_k), in float64."""
    student_depths = tempered(student, temperature, scratch.like(student, "student", torch.float64))
    depths = tempered(teacher, temperature, scratch.like(teacher, "teacher", torch.float64)).clamp_(min=FLOOR)
    if torch.isneginf(student_depths.amin(-1)).any():  # what both rule out differs by nothing
        student_depths.masked_fill_(torch.isneginf(student_depths) & (depths == FLOOR), FLOOR)
    probs = torch.softmax(depths, -1, out=scratch.like(depths, "probs"))
    of_student = torch.softmax(student_depths, -1, out=scratch.like(depths, "student probs"))
    top = torch.from_numpy(depths.numpy().argmax(-1))[:, None]
    log_ratios = student_depths.sub_(depths)
    log_ratios.add_(torch.log(of_student.amax(-1, keepdim=True) / probs.amax(-1, keepdim=True)))
    differences = torch.expm1(log_ratios, out=depths)  # q / p - 1
    gradient = torch.mul(probs, differences, out=of_student)
    losses = differences.sub_(log_ratios).mul_(probs).sum(-1)
    balance(gradient, top, torch.ones_like(top, dtype=torch.bool))
    out.copy_(gradient)
    return losses


def tempered(logits, temperature, out):
    """(z_k - m) / T, in the dtype of `out`."""
    if logits.dtype != out.dtype:
        logits = out.copy_(logits)
    return torch.sub(logits, logits.amax(-1, keepdim=True), out=out).mul_(1.0 / temperature)


def balance(gradient, top, sure):
    """Gives a class that both are `sure` of what the others' gradients add up to, negated."""
    of_top = gradient.gather(-1, top)
    gradient.scatter_(-1, top, 0.0)
    gradient.scatter_(-1, top, torch.where(sure, -gradient.sum(-1, keepdim=True), of_top))


def measure(student, teacher, temperature):
    """The losses; of both the largest logits, Σ_k exp((z_k - m) / T), and the same without the top class; log(S / R).

    Where Σ p_k (u_k - l_k) cancels, the loss is log Σ_k p_k exp(g_k) = log1p(Σ_k p_k φ(g_k)), g_k being l_k - u_k less its mean.
    """
    top, teacher_top = largest(student), largest(teacher)
    total, others, _ = denominator((student - top) / temperature)
    teacher_total, teacher_others, _ = denominator((teacher - teacher_top) / temperature)
    heights, teacher_heights = (student - top) / temperature, (teacher - teacher_top) / temperature
    probs, ratios = teacher_heights.exp() / teacher_total, heights - teacher_heights
    mean, log_ratio = summed(weighed(probs, ratios)), (total / teacher_total).log()
    far = log_ratio - mean
    gaps, of_student = ratios - mean, heights.exp() * ((-mean).exp() / teacher_total)  # the latter is p_k exp(g_k)
    excess = torch.where(gaps.abs() < NEAR, probs * excess_of_exp(gaps), of_student - probs - weighed(probs, gaps))
    is_close = (far < CLOSE) | (far < CLOSE * mean.abs())
    losses = torch.where(is_close, summed(excess).log1p(), far)
    log_ratio = torch.where(is_close, log_ratio + (losses + mean - log_ratio).detach(), log_ratio)  # more digits, same derivative
    return losses, (top, teacher_top, total, others, teacher_total, teacher_others, log_ratio)


def weighed(probs, values):
    """0 where the teacher rules a class out, whatever the student does."""
    return torch.where(probs == 0.0, 0.0, probs * values)


def excess_of_exp(d):
    """φ(d) for |d| up to NEAR: d²/2 + d³/6 + ..."""
    series = torch.ones_like(d)
    for n in range(18 if d.dtype == torch.float64 else 8, 2, -1):
        series = 1.0 + series * d / n
    return 0.5 * d * d * series


def slopes(measured, student, teacher, temperature):
    """d loss / d s: p_k (d_k + φ(d_k)) / T where d_k is near 0, else (q_k - p_k) / T.

    For a class that leads in both that is (r_R - r_S) / (S R) / T, S and R being all sums and r those without it.
    """
    top, teacher_top, total, others, teacher_total, teacher_others, log_ratio = measured
    heights, teacher_heights = (student - top) / temperature, (teacher - teacher_top) / temperature
    leads = (student >= top) & (teacher >= teacher_top) & (total < 2.0) & (teacher_total < 2.0)
    prob, teacher_prob = heights.exp() / total, teacher_heights.exp() / teacher_total
    of_leader = (teacher_others - others) / (total * teacher_total)
    differences = heights - teacher_heights - log_ratio
    is_near = differences.abs() < NEAR
    near = torch.where(is_near, differences, 0.0)
    of_near = teacher_prob * (near + excess_of_exp(near))
    return torch.where(is_near, of_near, torch.where(leads, of_leader, prob - teacher_prob)) / temperature


FORMULA = Formula(f"{__name__}:FORMULA", work, measure, slopes, called_from=MANY)


def kl_losses(soft_logits, soft_targets, temperature, in_steps):
    """KL(softmax(t / T), softmax(s / T)): all steps at once.

    loss = Σ_k p_k (expm1(d_k) - d_k)
    """
    if torch.compiler.is_compiling():
        # A tensor: a number would be compiled anew each time. A product: PyTorch 2.13 may keep `torch.full` of an earlier value.
        variable = torch.ones((), dtype=torch.float64, device="cpu") * temperature
        return RowLosses(FORMULA, None, None, variable=variable)(soft_logits, soft_targets)
    temperature = float(temperature)

    def plain(student, teacher):
        return in_steps(soft_logits=student, soft_targets=teacher, temperature=temperature, axis=1)

    return RowLosses(FORMULA, numpy_kl.work, plain, variable=temperature)(soft_logits, soft_targets)


def is_known(temperature):
    """Whether it is a number, or a tensor that is read without more ado and needs no derivative."""
    if not torch.is_tensor(temperature):
        return True
    return not temperature.requires_grad and read(temperature) is not None and forward_ad.unpack_dual(temperature).tangent is None


def serves(quantities):
    """Whether the student can be worked through, at a temperature that is known."""
    return can_be_worked_through(quantities["soft_logits"], quantities["axis"]) and is_known(quantities["temperature"])


KL = Kernel(kl_losses, serves, widens=True, gives="divergence")

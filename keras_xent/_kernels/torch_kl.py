"""The divergence of a student from a teacher, both tempered, on PyTorch's CPU.

With p and q the softmax of the teacher's and of the student's logits over T, and d_k = log q_k - log p_k:

loss = Σ_k p_k φ(d_k),  φ(d) = expm1(d) - d;  d loss / d s_k = p_k expm1(d_k) / T, which is (q_k - p_k) / T

Blocks are computed in float64, at a fifth of the built-in loss's time: a divergence is mostly the difference of numbers that
are close, or made of tails, whose relative error is ε times their depth.
"""

import torch
from torch.autograd import forward_ad

from .._backend.torch import read
from .shortcuts import Kernel
from .torch_rows import RowLosses, can_be_worked_through

FLOOR = -600.0  # exp(d) is finite in float64 for d down to here, and what has less than exp(-600) has nothing


def work(student, teacher, out, scratch, temperature):
    """The losses of some rows, and the factor 1 / T, as `out` is the gradient by the tempered student."""
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
    gradient.scatter_(-1, top, 0.0)  # that of a class which both are sure of is what the others add up to, negated
    gradient.scatter_(-1, top, -gradient.sum(-1, keepdim=True))
    out.copy_(gradient)
    return losses, torch.full_like(losses, 1.0 / temperature)


def tempered(logits, temperature, out):
    """(z_k - m) / T."""
    return out.copy_(logits).sub_(logits.amax(-1, keepdim=True)).mul_(1.0 / temperature)


def kl_losses(soft_logits, soft_targets, temperature, in_steps):
    """KL(softmax(t / T), softmax(s / T)): all steps at once.

    loss = Σ_k p_k (expm1(d_k) - d_k)
    """
    temperature = float(temperature)

    def plain(student, teacher):
        return in_steps(soft_logits=student, soft_targets=teacher, temperature=temperature, axis=1)

    return RowLosses(work, plain, (temperature,), is_costly=True)(soft_logits, soft_targets)


def is_known(temperature):
    """Whether it is a number, or a tensor that is read without more ado and needs no derivative."""
    if not torch.is_tensor(temperature):
        return True
    return not temperature.requires_grad and read(temperature) is not None and forward_ad.unpack_dual(temperature).tangent is None


def serves(quantities):
    """Whether the student can be worked through, at a temperature that is known."""
    return can_be_worked_through(quantities["soft_logits"], quantities["axis"]) and is_known(quantities["temperature"])


KL = Kernel(kl_losses, serves, widens=True, gives="divergence")

"""What kernels on PyTorch's CPU have in common: rows in blocks, and memory that is not paid for page by page.

Eager PyTorch writes the result of each operation to memory that is new, and the pages of new memory cost more than the
arithmetic. So a kernel works through blocks of rows in memory that it uses again, and the gradient is its only large tensor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

BLOCK = 2**22  # so many elements: a block stays in the cache, and its operations are worth sharing between cores


def can_be_worked_through(logits, axis):
    """Whether logits are numbers in a CPU's memory, their classes last: neither traced nor compiled, faked nor distributed."""
    in_memory = type(logits) in (torch.Tensor, torch.nn.Parameter) and logits.device.type == "cpu"
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return in_memory and axis == len(logits.shape) - 1 and not recorded


def blocks(rows):
    """Slices of a matrix's rows."""
    size = max(1, BLOCK // max(1, rows.shape[1]))
    return [slice(begin, min(begin + size, len(rows))) for begin in range(0, len(rows), size)]


def empty_like(rows):
    """New memory, in large pages where there are any: NumPy asks for them, PyTorch does not. First use is four times as fast."""
    if not rows.numel():
        return torch.empty_like(rows)
    return torch.from_numpy(np.empty(rows.shape, str(rows.dtype).removeprefix("torch.")))


class Scratch:
    """Memory for blocks, used again from one block to the next."""

    def __init__(self):
        self.buffers = {}

    def like(self, rows, name=""):
        """Some of it, of the shape of a block; another name is other memory."""
        buffer = self.buffers.get(name)
        if buffer is None or len(buffer) < len(rows):
            buffer = self.buffers[name] = torch.empty(rows.shape, dtype=rows.dtype)
        return buffer[: len(rows)]


@dataclass(frozen=True)
class RowLosses:
    """A differentiable function of logits (..., num_classes) and targets: one loss per row, of shape (...).

    `work(logits, targets, out, scratch)` takes a block: logits (rows, num_classes), class ids (rows,) or targets of the logits'
    shape. It gives the losses and a factor, (rows,) each; the factor times `out`, which it fills, is the gradient.
    `slopes(logits, targets)` is the gradient in operations that have derivatives of their own, `target_slopes` the same by the
    targets, where they are no class ids.
    """

    work: Callable[..., tuple[Any, Any]]
    slopes: Callable[[Any, Any], Any]
    target_slopes: Callable[[Any, Any], Any] | None = None

    def __call__(self, logits, targets):
        """The losses, in the dtype of the logits."""
        rows = logits.reshape(-1, logits.shape[-1])
        targets = targets.reshape(rows.shape[:1] if self.target_slopes is None else rows.shape)
        with_gradient = logits.requires_grad and torch.is_grad_enabled()
        losses, *_ = _Differentiable.apply(self, rows, targets, with_gradient)
        return losses.reshape(logits.shape[:-1])


class _Differentiable(torch.autograd.Function):
    """The gradient is made beside the losses, but for a factor per row, which the backward pass puts in."""

    @staticmethod
    def forward(kernel, logits, targets, with_gradient):
        losses, factors = logits.new_empty(len(logits)), logits.new_empty(len(logits))
        gradient, scratch = empty_like(logits) if with_gradient else logits.new_empty((len(logits), 0)), Scratch()
        for rows in blocks(logits):
            out = gradient[rows] if with_gradient else scratch.like(logits[rows], "out")
            losses[rows], factors[rows] = kernel.work(logits[rows], targets[rows], out, scratch)
        return losses, factors, gradient

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.kernel, logits, targets, with_gradient = inputs
        _, factors, gradient = output
        ctx.mark_non_differentiable(factors, gradient)
        ctx.set_materialize_grads(False)  # no zeros for these two
        ctx.save_for_backward(logits, targets, factors)
        ctx.save_for_forward(logits, targets)
        ctx.gradient = gradient if with_gradient else None

    @staticmethod
    def backward(ctx, upstream, *_):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Scaled in place: a second time, or where a gradient is to have a gradient itself, it is computed anew."""
        logits, targets, factors = ctx.saved_tensors
        _, wants_logits, wants_targets, _ = ctx.needs_input_grad
        of_logits = of_targets = None
        if wants_logits:
            of_logits, ctx.gradient = ctx.gradient, None  # one reference: what has two is copied before it is accumulated
            if torch.is_grad_enabled() or of_logits is None:
                of_logits = upstream[..., None] * ctx.kernel.slopes(logits, targets)
            else:
                of_logits.mul_((upstream * factors)[:, None])
        if wants_targets:
            of_targets = upstream[..., None] * ctx.kernel.target_slopes(logits, targets)
        return None, of_logits, of_targets, None

    @staticmethod
    def jvp(ctx, _, tangent, target_tangent, *__):  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, targets = ctx.saved_tensors
        change = logits.new_zeros(()) if tangent is None else tangent * ctx.kernel.slopes(logits, targets)
        if target_tangent is not None and ctx.kernel.target_slopes is not None:
            change = change + target_tangent * ctx.kernel.target_slopes(logits, targets)
        return change.sum(-1), None, None

    @staticmethod
    def vmap(info, in_dims, kernel, logits, targets, with_gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        """A batch of matrices is a matrix with more rows."""
        logits, targets = (
            (each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)).flatten(0, 1)
            for each, dim in zip((logits, targets), in_dims[1:3], strict=True)
        )
        outputs = _Differentiable.apply(kernel, logits, targets, with_gradient)
        return tuple(each.unflatten(0, (info.batch_size, len(each) // info.batch_size)) for each in outputs), (0, 0, 0)

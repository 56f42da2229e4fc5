"""What kernels on PyTorch's CPU have in common: rows in blocks, and memory that is not paid for page by page.

Eager PyTorch writes the result of each operation to memory that is new, and the pages of new memory cost more than the
arithmetic. So a kernel works through blocks of rows in memory that it uses again, and the gradient is its only large tensor.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from .._backend.torch import read

BLOCK = 2**19  # so many elements: a block stays in the cache, and its operations are worth sharing between cores
A_FEW = 2**16  # elements: not worth a large page
HALF_PRECISION = torch.float16, torch.bfloat16


def can_be_worked_through(logits, axis):
    """Whether logits are numbers in a CPU's memory, their classes last: neither traced nor compiled, faked nor distributed."""
    in_memory = type(logits) in (torch.Tensor, torch.nn.Parameter) and logits.device.type == "cpu"
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return in_memory and axis == len(logits.shape) - 1 and not recorded


def wide(x):
    """Half precision is summed in float32."""
    return x.float() if x.dtype in HALF_PRECISION else x


def blocks(rows):
    """Slices of a matrix's rows; of no rows an empty one."""
    size = max(1, BLOCK // max(1, rows.shape[1]))
    return [slice(begin, min(begin + size, len(rows))) for begin in range(0, max(1, len(rows)), size)]


def empty_like(rows):
    """New memory, in large pages where there are any: NumPy asks for them, PyTorch does not. First use is four times as fast."""
    if rows.numel() < A_FEW:
        return torch.empty_like(rows)
    return torch.from_numpy(np.empty(rows.shape, f"uint{8 * rows.itemsize}")).view(rows.dtype)


class Scratch:
    """Memory for blocks, used again from one block to the next."""

    def __init__(self):
        self.buffers = {}

    def like(self, rows, name="", dtype=None):
        """Some of it, of the shape of a block; another name is other memory."""
        buffer = self.buffers.get(name)
        if buffer is None or len(buffer) < len(rows):
            buffer = self.buffers[name] = torch.empty(rows.shape, dtype=dtype or rows.dtype)
        return buffer[: len(rows)]


@dataclass(frozen=True)
class RowLosses:
    """A differentiable function of logits (..., num_classes) and targets: one loss per row, of shape (...).

    `work(logits, targets, out, scratch)` takes a block: logits (rows, num_classes), class ids (rows,) or targets of the logits'
    shape. It gives the losses and a factor, (rows,) each; the factor times `out`, which it fills, is the gradient.
    `plain(logits, targets)` gives the losses of such rows in operations that have derivatives: for whatever else is asked for.
    """

    work: Callable[..., tuple[Any, Any]]
    plain: Callable[[Any, Any], Any]

    def __call__(self, logits, targets):
        """The losses, in float32 for logits in half precision."""
        rows = logits.reshape(-1, logits.shape[-1])
        targets = targets.reshape(rows.shape if targets.shape == logits.shape else rows.shape[:1])
        # A gradient in half precision is made in the backward pass, where it is rounded once, after all factors.
        at_once = logits.requires_grad and torch.is_grad_enabled() and logits.dtype not in HALF_PRECISION
        losses, *_ = _Differentiable.apply(self, rows, targets, at_once)
        return losses.reshape(logits.shape[:-1])

    def work_through(self, logits, targets, gradient=None, upstream=None):
        """The losses of all rows, and the factors that `gradient`, which is filled in if given, is still to be multiplied with.

        Where it is known what the losses' own gradient is (`upstream`), it has been, by both.
        """
        scratch, parts = Scratch(), []
        for rows in blocks(logits):
            block, of_block = logits[rows], None if gradient is None else gradient[rows]
            if block.dtype in HALF_PRECISION:
                block = scratch.like(block, "wide", torch.float32).copy_(block)
            out = of_block if of_block is not None and of_block.dtype == block.dtype else scratch.like(block, "out")
            losses, factors = (each.to(block.dtype) for each in self.work(block, targets[rows], out, scratch))
            if upstream is not None:
                out.mul_((upstream[rows] * factors)[:, None])
            if of_block is not None and of_block is not out:
                of_block.copy_(out)
            parts.append((losses, factors))
        return parts[0] if len(parts) == 1 else [torch.cat(each) for each in zip(*parts, strict=True)]

    def pull(self, logits, targets, upstream, wanted):
        """The gradients by logits and targets, None where not wanted, in operations that have derivatives."""
        given = logits, targets
        moving = [each for each, want in zip(given, wanted, strict=True) if want]

        def losses(*moving):
            those = iter(moving)
            return self.plain(*(wide(next(those) if want else each) for each, want in zip(given, wanted, strict=True)))

        gradients = iter(torch.func.vjp(losses, *moving)[1](upstream))
        return [next(gradients) if want else None for want in wanted]


class _Differentiable(torch.autograd.Function):
    """The gradient is made beside the losses, but for a factor per row, which the backward pass puts in."""

    @staticmethod
    def forward(kernel, logits, targets, at_once):
        gradient = empty_like(logits) if at_once else None
        losses, factors = kernel.work_through(logits, targets, gradient)
        return losses, factors, logits.new_empty(0) if gradient is None else gradient

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.kernel, logits, targets, at_once = inputs
        _, factors, gradient = output
        ctx.mark_non_differentiable(factors, gradient)
        ctx.set_materialize_grads(False)  # no zeros for these two
        ctx.save_for_backward(logits, targets, factors)
        ctx.save_for_forward(logits, targets)
        ctx.gradient = gradient if at_once else None

    @staticmethod
    def backward(ctx, upstream, *_):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Scaled in place; a second time the gradient is made anew, and in steps if it is to have a gradient itself."""
        logits, targets, factors = ctx.saved_tensors
        _, *wanted, _ = ctx.needs_input_grad
        of_logits, ctx.gradient = ctx.gradient, None  # one reference: what has two is copied before it is accumulated
        if torch.is_grad_enabled() or read(upstream) is None or wanted[1]:
            return None, *ctx.kernel.pull(logits, targets, upstream, wanted), None
        if of_logits is not None:
            of_logits.mul_((upstream * factors)[:, None])
        elif wanted[0]:
            of_logits = empty_like(logits)
            ctx.kernel.work_through(logits, targets, of_logits, upstream)
        return None, of_logits, None, None

    @staticmethod
    def jvp(ctx, _, *tangents):  # pyright: ignore[reportIncompatibleMethodOverride]
        # PyTorch turns forward mode off in here, so that the tangents of one around it would be lost.
        with forward_ad._set_fwd_grad_enabled(True):
            given = [wide(forward_ad.unpack_dual(each).primal) for each in ctx.saved_tensors]
            slopes = ctx.kernel.pull(*given, torch.ones_like(given[0][:, 0]), [each is not None for each in tangents[:2]])
            change = torch.zeros_like(given[0][:, 0])
            for slope, tangent in zip(slopes, tangents, strict=False):
                if slope is not None:
                    change = change + (slope * wide(forward_ad.unpack_dual(tangent).primal)).sum(-1)
            return change, None, None

    @staticmethod
    def vmap(info, in_dims, kernel, logits, targets, at_once):  # pyright: ignore[reportIncompatibleMethodOverride]
        """A batch of matrices is a matrix with more rows."""
        logits, targets = (
            (each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)).flatten(0, 1)
            for each, dim in zip((logits, targets), in_dims[1:3], strict=True)
        )
        outputs = _Differentiable.apply(kernel, logits, targets, at_once)
        return tuple(each.unflatten(0, (info.batch_size, len(each) // info.batch_size)) for each in outputs), (0, 0, 0)


# PyTorch asks for it at each call, which takes a quarter of a small batch's time unless it is at hand.
_Differentiable.forward.__signature__ = inspect.signature(_Differentiable.forward)  # pyright: ignore[reportFunctionMemberAccess]

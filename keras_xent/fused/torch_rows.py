"""What kernels on PyTorch's CPU have in common: rows in blocks, and memory that is not paid for page by page.

Eager PyTorch writes the result of each operation to memory that is new, and the pages of new memory cost more than the
arithmetic. So a kernel works through blocks of rows in memory that it uses again, and the gradient is its only large tensor.
"""

import numpy as np
import torch

BLOCK = 2**22  # so many elements: a block stays in the cache, and its operations are worth sharing between cores


def can_be_worked_through(logits, axis):
    """Whether logits are eager ones on a CPU, their classes last."""
    last = axis == len(logits.shape) - 1
    return torch.is_tensor(logits) and last and logits.device.type == "cpu" and not torch.compiler.is_compiling()


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


def row_losses(work, slopes, target_slopes=None):
    """A differentiable function of logits and targets, out of what is done to a block of rows.

    Args:
        work: `work(logits, targets, out, scratch)` gives the losses of some rows, and a factor for each, by which `out`, that it
            fills, is the gradient.
        slopes: `slopes(logits, targets)`: the gradient of the losses, in operations that have derivatives of their own.
        target_slopes: The same by the targets, where they are no class ids.

    Returns:
        `losses(logits, targets)`, the classes last.
    """

    class RowLosses(torch.autograd.Function):
        """The gradient is made beside the losses, but for a factor per row, which the backward pass puts in."""

        @staticmethod
        def forward(logits, targets, with_gradient):
            losses, factors = logits.new_empty(len(logits)), logits.new_empty(len(logits))
            gradient, scratch = empty_like(logits) if with_gradient else logits.new_empty((len(logits), 0)), Scratch()
            for rows in blocks(logits):
                out = gradient[rows] if with_gradient else scratch.like(logits[rows], "out")
                losses[rows], factors[rows] = work(logits[rows], targets[rows], out, scratch)
            return losses, factors, gradient

        @staticmethod
        def setup_context(ctx, inputs, output):
            logits, targets, with_gradient = inputs
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
            wants_logits, wants_targets, _ = ctx.needs_input_grad
            of_logits = of_targets = None
            if wants_logits:
                of_logits, ctx.gradient = ctx.gradient, None  # one reference: what has two is copied before it is accumulated
                if torch.is_grad_enabled() or of_logits is None:
                    of_logits = upstream[..., None] * slopes(logits, targets)
                else:
                    of_logits.mul_((upstream * factors)[:, None])
            if wants_targets:
                assert target_slopes is not None  # class ids have no gradient
                of_targets = upstream[..., None] * target_slopes(logits, targets)
            return of_logits, of_targets, None

        @staticmethod
        def jvp(ctx, tangent, target_tangent, _):  # pyright: ignore[reportIncompatibleMethodOverride]
            logits, targets = ctx.saved_tensors
            change = logits.new_zeros(()) if tangent is None else tangent * slopes(logits, targets)
            if target_tangent is not None and target_slopes is not None:
                change = change + target_tangent * target_slopes(logits, targets)
            return change.sum(-1), None, None

        @staticmethod
        def vmap(info, in_dims, logits, targets, with_gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
            """A batch of matrices is a matrix with more rows."""
            logits, targets = (
                (each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)).flatten(0, 1)
                for each, dim in zip((logits, targets), in_dims, strict=False)
            )
            outputs = RowLosses.apply(logits, targets, with_gradient)
            return tuple(each.unflatten(0, (info.batch_size, len(each) // info.batch_size)) for each in outputs), (0, 0, 0)

    def losses(logits, targets):
        with_gradient = logits.requires_grad and torch.is_grad_enabled()
        rows, *shape = logits.reshape(-1, logits.shape[-1]), *logits.shape[:-1]
        targets = targets.reshape(rows.shape if targets.is_floating_point() else rows.shape[:1])
        return RowLosses.apply(rows, targets, with_gradient)[0].reshape(shape)

    return losses

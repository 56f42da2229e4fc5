"""Cross-entropy against class ids from logits, on PyTorch's CPU: loss and gradient out of one softmax.

With p the softmax, y the target, r = Σ_{k ≠ y} p_k, which is summed without p_y, as 1 - p_y would cancel:

loss = log1p(r / p_y);  d loss / d z_k = p_k, and -r for the target
"""

import torch

from .shortcuts import Kernel
from .torch_rows import blocks, can_be_worked_through, empty_like

TINY = 1e-30  # a probability below has few digits left; its logarithm is taken from the logits


class SparseLosses(torch.autograd.Function):
    """Losses of rows of logits, and their gradient but for a factor per row, which the backward pass puts in."""

    @staticmethod
    def forward(logits, labels, with_gradient):
        """The losses, what the gradient is to be divided by, and the gradient if it is wanted."""
        losses, totals, targets = logits.new_empty(len(logits)), logits.new_empty(len(logits)), labels[:, None]
        gradient = empty_like(logits) if with_gradient else logits.new_empty((len(logits), 0))
        scratch = None
        for rows in blocks(logits):
            if with_gradient:
                scratch = gradient[rows]
            elif scratch is None or len(scratch) != rows.stop - rows.start:
                scratch = torch.empty_like(logits[rows])
            losses[rows], totals[rows] = losses_and_slopes(logits[rows], targets[rows], scratch)
        return losses, totals, gradient

    @staticmethod
    def setup_context(ctx, inputs, output):
        """What the backward pass needs."""
        logits, labels, with_gradient = inputs
        _, totals, gradient = output
        ctx.mark_non_differentiable(totals, gradient)
        ctx.set_materialize_grads(False)  # no zeros for these two
        ctx.save_for_backward(logits, labels, totals)
        ctx.save_for_forward(logits, labels)
        ctx.gradient = gradient if with_gradient else None

    @staticmethod
    def backward(ctx, upstream, *_):  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradient, scaled in place: a second time, or where it is to have a gradient itself, it is computed anew."""
        logits, labels, totals = ctx.saved_tensors
        gradient, ctx.gradient = ctx.gradient, None  # the only reference: who accumulates gradients copies what has another
        if torch.is_grad_enabled() or gradient is None:
            return upstream[..., None] * slopes(logits, labels), None, None
        return gradient.mul_((upstream / totals)[:, None]), None, None

    @staticmethod
    def jvp(ctx, tangent, *_):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Forward mode."""
        logits, labels = ctx.saved_tensors
        return (tangent * slopes(logits, labels)).sum(-1), None, None

    @staticmethod
    def vmap(info, in_dims, logits, labels, with_gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        """A batch of matrices is a matrix with more rows."""
        logits, labels = (
            each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)
            for each, dim in zip((logits, labels), in_dims, strict=False)
        )
        outputs = SparseLosses.apply(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), with_gradient)
        return tuple(each.reshape(info.batch_size, len(each) // info.batch_size, *each.shape[1:]) for each in outputs), (0, 0, 0)


def losses_and_slopes(logits, targets, out):
    """The losses of some rows, and what `out`, which takes their gradient, is to be divided by."""
    torch.softmax(logits, -1, out=out)
    target_prob = out.gather(-1, targets)
    unlikely = target_prob < TINY
    any_unlikely = bool(unlikely.any())
    top_prob = out.amax(-1, keepdim=True) if any_unlikely else None
    others = out.scatter_(-1, targets, 0.0).sum(-1, keepdim=True)
    total = others + target_prob  # 1, give or take the rounding of the softmax's own sum
    losses = torch.log1p(others / target_prob)
    if any_unlikely:
        depths = logits.amax(-1, keepdim=True) - logits.gather(-1, targets)
        losses = torch.where(unlikely, depths + torch.log(total / top_prob), losses)
    out.scatter_(-1, targets, -others)
    return losses[:, 0], total[:, 0]


def slopes(logits, labels):
    """d loss / d z, in operations that have derivatives of their own."""
    targets = labels[..., None]
    powers = torch.exp(logits - logits.detach().amax(-1, keepdim=True))
    others = powers.scatter(-1, targets, 0.0)
    sum_of_others = others.sum(-1, keepdim=True)
    total = sum_of_others + powers.gather(-1, targets)
    return (others / total).scatter(-1, targets, -sum_of_others / total)


def sparse_losses(logits, labels):
    """-log p of the target class: all steps at once.

    loss = log1p(r / p_y)
    """
    rows = logits.reshape(-1, logits.shape[-1])
    losses, *_ = SparseLosses.apply(rows, labels.reshape(-1).long(), logits.requires_grad and torch.is_grad_enabled())
    return losses.reshape(labels.shape)


SPARSE = Kernel(sparse_losses, lambda quantities: can_be_worked_through(quantities["logits"], quantities["axis"]))

"""The kernels on PyTorch's CPU inside `torch.compile`: operators that its programs call as they are.

What the compiler makes of the steps goes through the logits once for each reduction; a kernel does so in blocks that stay in the
cache. The gradient is made in the backward pass, as a compiled program does not scale in place what it kept from the forward
pass: making it anew costs less than another pass over memory, unless the kernel is a costly one.
"""

import importlib
from collections.abc import Sequence

import torch
from torch import Tensor

from . import torch_rows


@torch.library.custom_op("keras_xent::row_losses", mutates_args=())
def row_losses(kernel: str, logits: Tensor, targets: Tensor, numbers: Sequence[float], weights: Tensor | None) -> Tensor:
    """The losses of all rows. `kernel` names the module whose `work` it is, `numbers` and `weights` are as in `RowLosses`."""
    return working(kernel, numbers, weights).work_through(logits, targets)[0]


@torch.library.custom_op("keras_xent::row_gradients", mutates_args=())
def row_gradients(
    kernel: str, logits: Tensor, targets: Tensor, numbers: Sequence[float], weights: Tensor | None, upstream: Tensor
) -> Tensor:
    """Their gradient by the logits."""
    gradient = logits.new_empty(logits.shape)
    working(kernel, numbers, weights).work_through(logits, targets, gradient, upstream)
    return gradient


@torch.library.custom_op("keras_xent::row_losses_and_gradient", mutates_args=())
def row_losses_and_gradient(
    kernel: str, logits: Tensor, targets: Tensor, numbers: Sequence[float], weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The losses, and their gradient but for the factors, which come last."""
    gradient = logits.new_empty(logits.shape)
    losses, factors = working(kernel, numbers, weights).work_through(logits, targets, gradient)
    return losses, gradient, factors


def working(kernel, numbers, weights):
    """What was compiled, without the steps, as nothing but losses and their gradient is asked of it."""
    work = importlib.import_module(kernel).work
    return torch_rows.RowLosses(work, None, None, tuple(numbers), weights)


@row_losses.register_fake
def _(kernel, logits, targets, numbers, weights):
    return torch_rows.wide(logits.new_empty(logits.shape[:1]))


@row_gradients.register_fake
def _(kernel, logits, targets, numbers, weights, upstream):
    return logits.new_empty(logits.shape)


@row_losses_and_gradient.register_fake
def _(kernel, logits, targets, numbers, weights):
    losses = logits.new_empty(logits.shape[:1])
    return losses, logits.new_empty(logits.shape), torch.empty_like(losses)


def keep(ctx, inputs, output):
    ctx.kernel, logits, targets, ctx.numbers, weights = inputs
    ctx.save_for_backward(logits, targets, weights)


def pull(ctx, upstream):
    logits, targets, weights = ctx.saved_tensors
    return None, row_gradients(ctx.kernel, logits, targets, ctx.numbers, weights, upstream), None, None, None


def keep_gradient(ctx, inputs, output):
    ctx.set_materialize_grads(False)  # nobody has one for the gradient
    ctx.save_for_backward(*output[1:])


def pull_gradient(ctx, upstream, *_):
    gradient, factors = ctx.saved_tensors
    return None, gradient * (upstream * factors).unsqueeze(-1), None, None, None


row_losses.register_autograd(pull, setup_context=keep)
row_losses_and_gradient.register_autograd(pull_gradient, setup_context=keep_gradient)

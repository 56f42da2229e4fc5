"""The kernels on PyTorch's CPU inside `torch.compile`: operators that are called, or whose formulas become part of the program.

To PyTorch's graphs each is one operation, which has all derivatives. Compilers that make programs of elementary operations, as
Inductor does, get the formula in its place, unless it is one that takes longer than a call: see `Formula`. The gradient is
made in the backward pass, as a compiled program does not scale in place what it kept from the forward pass: making it anew costs
less than another pass over memory, unless it has to be made by a call.
"""

import pkgutil
from collections.abc import Sequence

import torch
from torch import Tensor
from torch._subclasses.functional_tensor import FunctionalTensorMode

from . import torch_rows


@torch.library.custom_op("keras_xent::row_losses", mutates_args=())
def row_losses(
    kernel: str, sources: str, logits: Tensor, targets: Tensor, constants: Sequence[float], variable: Tensor | None
) -> Tensor:
    """The losses of all rows.

    `kernel` is the place of its formula, `constants` and `variable` are as in `RowLosses`, and `sources` is not used but in
    keys to programs that were compiled before, see `torch_traced`.
    """
    return working(kernel, constants, variable).work_through(logits, targets)[0]


@torch.library.custom_op("keras_xent::row_gradients", mutates_args=())
def row_gradients(
    kernel: str,
    sources: str,
    logits: Tensor,
    targets: Tensor,
    constants: Sequence[float],
    variable: Tensor | None,
    upstream: Tensor,
) -> Tensor:
    """Their gradient by the logits."""
    gradient = logits.new_empty(logits.shape)
    working(kernel, constants, variable).work_through(logits, targets, gradient, upstream)
    return gradient


@torch.library.custom_op("keras_xent::row_losses_and_gradient", mutates_args=())
def row_losses_and_gradient(
    kernel: str, sources: str, logits: Tensor, targets: Tensor, constants: Sequence[float], variable: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The losses, and their gradient but for the factors, which come last."""
    gradient = logits.new_empty(logits.shape)
    losses, factors = working(kernel, constants, variable).work_through(logits, targets, gradient)
    return losses, gradient, factors


def working(kernel, constants, variable):
    """What was compiled, without the steps, as nothing but losses and their gradient is asked of it."""
    return torch_rows.RowLosses(formula_of(kernel), None, None, tuple(constants), variable)


# ------------------------------------------------------------------------------------------------------------------ shapes


@row_losses.register_fake
def _(kernel, sources, logits, targets, constants, variable):
    return torch_rows.wide(logits.new_empty(logits.shape[:1]))


@row_gradients.register_fake
def _(kernel, sources, logits, targets, constants, variable, upstream):
    return logits.new_empty(logits.shape)


@row_losses_and_gradient.register_fake
def _(kernel, sources, logits, targets, constants, variable):
    losses = logits.new_empty(logits.shape[:1])
    return losses, logits.new_empty(logits.shape), torch.empty_like(losses)


# ---------------------------------------------------------------------------------------------------------------- formulas


def losses_by_formula(kernel, sources, logits, targets, constants, variable):
    return formula_of(kernel).losses(logits, targets, *others(constants, variable))


def gradients_by_formula(kernel, sources, logits, targets, constants, variable, upstream):
    return formula_of(kernel).gradient(upstream, logits, targets, *others(constants, variable))


def formula_of(kernel):
    return pkgutil.resolve_name(kernel)


def others(constants, variable):
    return [*constants] if variable is None else [*constants, variable]


def decomposed(by_formula):
    """What a compiler makes of an operator: called when it asks for functions of tensors without side effects."""

    def traced(mode, operator, types, arguments, options):
        if formula_of(arguments[0]).is_called(arguments[2]):
            return mode.__torch_dispatch__(operator, types, arguments, options)
        with mode:
            return by_formula(*arguments)

    return traced


row_losses.register_torch_dispatch(FunctionalTensorMode, decomposed(losses_by_formula))
row_gradients.register_torch_dispatch(FunctionalTensorMode, decomposed(gradients_by_formula))


# --------------------------------------------------------------------------------------------------------------- gradients


def keep(ctx, inputs, output):
    ctx.kernel, ctx.sources, logits, targets, ctx.constants, variable = inputs
    ctx.save_for_backward(logits, targets, variable)


def pull(ctx, upstream):
    logits, targets, variable = ctx.saved_tensors
    gradient = row_gradients(ctx.kernel, ctx.sources, logits, targets, ctx.constants, variable, upstream)
    return None, None, gradient, None, None, None


def keep_upstream(ctx, inputs, output):
    keep(ctx, inputs[:-1], output)
    ctx.save_for_backward(*ctx.to_save, inputs[-1])


def pull_gradient(ctx, change):
    """Second derivatives, and all further ones, of formulas."""
    logits, targets, variable, upstream = ctx.saved_tensors
    of_logits, of_upstream = derived(ctx, logits, targets, variable, upstream, change)
    return None, None, of_logits, None, None, None, of_upstream


def derived(ctx, logits, targets, variable, upstream, change):
    def gradient(logits, upstream):
        return gradients_by_formula(ctx.kernel, ctx.sources, logits, targets, ctx.constants, variable, upstream)

    return torch.func.vjp(gradient, logits, upstream)[1](change)


def keep_gradient(ctx, inputs, output):
    ctx.set_materialize_grads(False)  # nobody has one for the gradient, unless it is differentiated
    keep(ctx, inputs, output)
    ctx.save_for_backward(*ctx.to_save, *output[1:])


def pull_what_was_made(ctx, upstream, change, _):
    logits, targets, variable, gradient, factors = ctx.saved_tensors
    pulled = None if upstream is None else gradient * (upstream * factors).unsqueeze(-1)
    if change is not None:
        of_logits, _ = derived(ctx, logits, targets, variable, 1.0 / factors, change)
        pulled = of_logits if pulled is None else pulled + of_logits
    return None, None, pulled, None, None, None


row_losses.register_autograd(pull, setup_context=keep)
row_gradients.register_autograd(pull_gradient, setup_context=keep_upstream)
row_losses_and_gradient.register_autograd(pull_what_was_made, setup_context=keep_gradient)

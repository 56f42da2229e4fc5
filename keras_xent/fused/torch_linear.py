"""Linear losses on PyTorch: what `sweep` does, with its gradients."""

import dataclasses

import torch

from .plan import NOT_TWICE
from .torch_sweep import sweep


@torch.compiler.disable
def losses(operands, plan):
    """One loss per row; its gradient makes the logits anew."""
    return _Losses.apply(operands.features, operands.kernel, operands.bias, operands, plan)


@torch.compiler.disable
def weighted_sum(operands, weights, plan, with_gradient):
    """Σ_i weights_i loss_i; where there is a gradient it is made beside it."""
    of_gradient = torch.is_grad_enabled() and with_gradient
    primals = operands.features, operands.kernel, operands.bias
    wants = tuple(of_gradient and each is not None and each.requires_grad for each in primals)
    return _WeightedSum.apply(*primals, weights, operands, plan, wants)[0]


class _OnceOnly(torch.autograd.Function):
    """Gradients that have none themselves: a derivative of them by what they are made of is refused."""

    @staticmethod
    def forward(count, *gradients_and_primals):
        return tuple(None if each is None else each.view_as(each) for each in gradients_and_primals[:count])

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *upstream):
        raise NotImplementedError(NOT_TWICE)


class _Linear(torch.autograd.Function):
    @staticmethod
    def jvp(ctx, *tangents):
        raise NotImplementedError(NOT_TWICE)

    @staticmethod
    def vmap(info, in_dims, *args):
        raise NotImplementedError(
            "A linear loss has no rule for `torch.func.vmap`. Call it once on features of shape (..., hidden): it gives "
            "one loss for each."
        )


def fitted(gradients, primals):
    """Gradients in the dtypes of what they are by, each derived only once."""
    pairs = zip(gradients, primals, strict=True)
    return derived_once([None if each is None else each.to(primal.dtype) for each, primal in pairs], primals)


def derived_once(values, primals):
    """Values made of `primals` without a graph: where there is to be one, it ends here."""
    return _OnceOnly.apply(len(values), *values, *primals) if torch.is_grad_enabled() else values


class _Losses(_Linear):
    @staticmethod
    def forward(features, kernel, bias, operands, plan):
        return sweep(dataclasses.replace(operands, features=features, kernel=kernel, bias=bias), plan)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        *primals, ctx.operands, ctx.plan = inputs
        ctx.operands = dataclasses.replace(ctx.operands, features=None, kernel=None, bias=None)
        ctx.save_for_backward(*primals)

    @staticmethod
    def backward(ctx, upstream):  # pyright: ignore[reportIncompatibleMethodOverride]
        primals = ctx.saved_tensors
        detached = [None if each is None else each.detach() for each in primals]
        operands = dataclasses.replace(ctx.operands, **dict(zip(("features", "kernel", "bias"), detached, strict=True)))
        with torch.no_grad():
            _, *gradients = sweep(operands, ctx.plan, upstream.detach(), ctx.needs_input_grad)
        return *fitted(gradients, primals), None, None


class _WeightedSum(_Linear):
    """The gradients are made beside the sum, but for a factor, which the backward pass puts in."""

    @staticmethod
    def forward(features, kernel, bias, weights, operands, plan, wants):
        operands = dataclasses.replace(operands, features=features, kernel=kernel, bias=bias)
        values, *gradients = sweep(operands, plan, weights if any(wants) else None, wants)
        total = torch.where(weights == 0, 0.0, weights.to(values.dtype) * values).sum()
        return total, values, *(values.new_empty(0) if each is None else each for each in gradients)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *primals, weights, ctx.operands, ctx.plan, ctx.wants = inputs
        ctx.weights = weights.detach()
        ctx.operands = dataclasses.replace(ctx.operands, features=None, kernel=None, bias=None)
        _, values, *gradients = output
        ctx.mark_non_differentiable(values, *gradients)
        ctx.set_materialize_grads(False)  # no zeros for these
        ctx.save_for_backward(*primals)
        ctx.values = values
        ctx.gradients = (
            [each if wanted else None for each, wanted in zip(gradients, ctx.wants, strict=True)] if any(ctx.wants) else None
        )

    @staticmethod
    def backward(ctx, upstream, *_):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Scaled in place: a second time they are computed anew."""
        primals = ctx.saved_tensors
        made, ctx.gradients = ctx.gradients, None
        wanted = ctx.needs_input_grad[:3]
        with torch.no_grad():
            if made is None and any(wanted):
                detached = [None if each is None else each.detach() for each in primals]
                operands = dataclasses.replace(ctx.operands, **dict(zip(("features", "kernel", "bias"), detached, strict=True)))
                _, *made = sweep(operands, ctx.plan, ctx.weights, wanted)
            scaled = [None if each is None else each.mul_(upstream.to(each.dtype)) for each in made or (None, None, None)]
        by_weights = None
        if ctx.needs_input_grad[3]:
            (values,) = derived_once([ctx.values], primals)
            by_weights = (upstream * values).to(ctx.weights.dtype)
        return *fitted(scaled, primals), by_weights, None, None, None

"""What kernels on PyTorch's CPU have in common: rows in blocks, and little new memory.

Eager PyTorch writes the result of each operation to memory that is new, and the pages of new memory cost more than the
arithmetic. So a kernel works through blocks of rows in memory that it uses again, and the gradient is its only large tensor.
A few numbers are left to NumPy.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import forward_ad

from .._backend.torch import read
from . import numpy_rows
from .torch_blocks import Scratch, is_one_block, over_blocks
from .torch_traced import HALF_PRECISION, SOURCES, Formula

COMPILED = torch.float32, torch.float64, *HALF_PRECISION


def can_be_worked_through(logits, axis, targets=None):
    """Whether logits are numbers in a CPU's memory, their classes last: neither traced nor faked nor distributed.

    Compiled programs have kernels too, unless they are for others (`torch.export`), want a gradient by the targets, are
    in forward mode, or hold transforms of `torch.func`.
    """
    in_memory = type(logits) in (torch.Tensor, torch.nn.Parameter) and logits.device.type == "cpu"
    if not in_memory or axis != len(logits.shape) - 1:
        return False
    if torch.compiler.is_compiling():
        by_targets = torch.is_tensor(targets) and targets.requires_grad
        is_moving = forward_ad._current_level >= 0  # forward mode, of which operators lose the tangents
        return logits.dtype in COMPILED and not (by_targets or is_moving or transformed() or torch.compiler.is_exporting())
    # by somebody who would not see what NumPy does, and take it for a constant
    is_watched = torch.jit.is_tracing() or torch._C._len_torch_dispatch_stack()  # pyright: ignore[reportPrivateImportUsage]
    return not (is_watched or logits.is_neg())


def wide(x):
    """Half precision is summed in float32."""
    return x.float() if x.dtype in HALF_PRECISION else x


@dataclass(frozen=True)
class RowLosses:
    """A differentiable function of logits (..., num_classes) and targets: one loss per row, of shape (...).

    The formula's `work(logits, targets, out, scratch, *settings)` takes a block: logits (rows, num_classes), class ids (rows,)
    or targets of the logits' shape. It gives the losses and a factor, (rows,) each; the factor times `out`, which it fills, is
    the gradient. The settings are the `constants`, for whose values programs are compiled one by one, and what there is of a
    `variable`, which may have another in each call: a number or an array.
    `few` is the same function of NumPy's arrays, see `numpy_rows`, for few numbers in eager code.
    `plain(logits, targets)` gives the losses of such rows in operations that have derivatives: for whatever else is asked for.
    """

    formula: Formula
    few: Any  # None in compiled programs
    plain: Any  # None where nothing else is
    constants: tuple[float, ...] = ()
    variable: Any = None  # a tensor in compiled programs

    def __call__(self, logits, targets):
        """The losses, in float32 for logits in half precision."""
        shape, rows = logits.shape, logits
        if len(shape) != 2:
            rows = logits.reshape(-1, shape[-1])
            targets = targets.reshape(rows.shape if targets.shape == shape else rows.shape[:1])
        # A gradient in half precision is made in the backward pass, where it is rounded once, after all factors.
        at_once = logits.requires_grad and torch.is_grad_enabled() and logits.dtype not in HALF_PRECISION
        if torch.compiler.is_compiling():
            given = self.formula.place, SOURCES, rows, targets, self.constants, self.variable
            operators = torch.ops.keras_xent
            with_gradient = at_once and self.formula.is_called(rows)
            losses = operators.row_losses_and_gradient(*given)[0] if with_gradient else operators.row_losses(*given)
            return losses.reshape(shape[:-1])
        losses = _Differentiable.apply(self, rows, targets, Made() if at_once and not transformed() else None)
        return losses if rows is logits else losses.reshape(shape[:-1])

    def takes_few(self, logits):
        """Whether these are left to NumPy."""
        return self.few is not None and logits.numel() < numpy_rows.A_FEW

    def by_numpy(self, logits, targets):
        """The losses of a few rows, and their gradient."""
        arrays = (wide(each.detach()).resolve_neg().numpy() for each in (logits, targets))
        losses, slopes = self.few(*arrays, *self.settings())
        return torch.from_numpy(losses), torch.from_numpy(slopes)

    def settings(self):
        """The constants, and what there is of a variable."""
        variable = self.variable.numpy() if torch.is_tensor(self.variable) else self.variable
        return [*self.constants] if variable is None else [*self.constants, variable]

    def work_through(self, logits, targets, gradient=None, upstream=None):
        """The losses of all rows, and the factors that `gradient`, which is filled in if given, is still to be multiplied with.

        Where it is known what the losses' own gradient is (`upstream`), it has been, by both.
        """
        settings = self.settings()
        if is_one_block(logits):
            return self.work_on(logits, targets, gradient, upstream, Scratch(), settings)

        def work(rows, scratch):
            of_block, pulled = (None if each is None else each[rows] for each in (gradient, upstream))
            return self.work_on(logits[rows], targets[rows], of_block, pulled, scratch, settings)

        return [torch.cat(each) for each in zip(*over_blocks(work, logits), strict=True)]

    def work_on(self, logits, targets, gradient, upstream, scratch, settings):
        """The same of a block."""
        if logits.dtype in HALF_PRECISION:
            logits = scratch.like(logits, "wide", torch.float32).copy_(logits)
        out = gradient if gradient is not None and gradient.dtype == logits.dtype else scratch.like(logits, "out")
        losses, factors = self.formula.work(logits, targets, out, scratch, *settings)
        if losses.dtype != logits.dtype:
            losses, factors = losses.to(logits.dtype), factors.to(logits.dtype)
        if upstream is not None:
            out.mul_((upstream * factors).unsqueeze(-1))
        if gradient is not None and gradient is not out:
            gradient.copy_(out)
        return losses, factors

    def pull(self, logits, targets, upstream, wanted):
        """The gradients by logits and targets, None where not wanted, in operations that have derivatives."""
        given = logits, targets
        moving = [each for each, want in zip(given, wanted, strict=True) if want]

        def losses(*moving):
            those = iter(moving)
            return self.plain(*(wide(next(those) if want else each) for each, want in zip(given, wanted, strict=True)))

        gradients = iter(torch.func.vjp(losses, *moving)[1](upstream))
        return [next(gradients) if want else None for want in wanted]


def transformed():
    """Whether `torch.func` is at work: tensors then stand for others."""
    return torch._C._are_functorch_transforms_active()


@dataclass
class Made:
    """The gradient that was made beside the losses, but for a factor per row (None: 1); nothing else refers to it."""

    gradient: Any = None
    factors: Any = None


class _Differentiable(torch.autograd.Function):
    """Where there is a `Made`, the gradient is made beside the losses, and the backward pass puts in its factors."""

    @classmethod
    def apply(cls, *args):
        """As PyTorch's own, which looks the arguments' names up first: that takes a tenth of a small batch's time."""
        if transformed():
            return super().apply(*args)
        return super(torch.autograd.Function, cls).apply(*unwrap_dead_wrappers(args))  # pyright: ignore[reportAttributeAccessIssue]

    @staticmethod
    def forward(kernel, logits, targets, made):
        if kernel.takes_few(logits):
            losses, slopes = kernel.by_numpy(logits, targets)
            if made is not None:
                made.gradient = slopes
            return losses
        if made is None:
            return kernel.work_through(logits, targets)[0]
        made.gradient = logits.new_empty(logits.shape)
        losses, made.factors = kernel.work_through(logits, targets, made.gradient)
        return losses

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.kernel, logits, targets, ctx.made = inputs
        ctx.save_for_backward(logits, targets)
        ctx.save_for_forward(logits, targets)

    @staticmethod
    def backward(ctx, upstream):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Scaled in place; a second time the gradient is made anew, and in steps if it is to have a gradient itself."""
        logits, targets = ctx.saved_tensors
        _, *wanted, _ = ctx.needs_input_grad
        made, ctx.made = ctx.made, None  # one reference: what has two is copied before it is accumulated
        if torch.is_grad_enabled() or read(upstream) is None or wanted[1]:
            return None, *ctx.kernel.pull(logits, targets, upstream, wanted), None
        gradient = None
        if made is not None:
            factors = upstream if made.factors is None else upstream * made.factors
            gradient = made.gradient.mul_(factors.unsqueeze(-1))
        elif wanted[0] and ctx.kernel.takes_few(logits):
            gradient = (ctx.kernel.by_numpy(logits, targets)[1] * upstream.unsqueeze(-1)).to(logits.dtype)
        elif wanted[0]:
            gradient = logits.new_empty(logits.shape)
            ctx.kernel.work_through(logits, targets, gradient, upstream)
        return None, gradient, None, None

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
            return change

    @staticmethod
    def vmap(info, in_dims, kernel, logits, targets, made):  # pyright: ignore[reportIncompatibleMethodOverride]
        """A batch of matrices is a matrix with more rows."""
        logits, targets = (
            (each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)).flatten(0, 1)
            for each, dim in zip((logits, targets), in_dims[1:3], strict=True)
        )
        losses = _Differentiable.apply(kernel, logits, targets, made)
        return losses.unflatten(0, (info.batch_size, len(losses) // info.batch_size)), 0

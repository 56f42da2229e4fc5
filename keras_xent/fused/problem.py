"""What linear losses are asked to compute: arrays that were found to fit, as matrices, and a plan."""

import importlib

import keras
from keras import ops

from .. import _checks
from .._reduction import blank, drop_uncounted
from .plan import Operands, Plan

engine = importlib.import_module(f".{keras.backend.backend()}_linear", __package__)
rows = importlib.import_module(f".{keras.backend.backend()}_sweep", __package__)


class FromFeatures:
    """Features and kernel that were found to fit; what is asked of them is one number per row.

    A kind of loss says what `counts` (where rows count; None: everywhere) and `fits` (what of the shapes the running program
    finds to fit; None for nothing) are, and what it computes.
    """

    counts = None
    fits = None

    def __init__(self, features, kernel, bias, transposed, chunk_size):
        self.features = _checks.float_tensor("features", features)
        self.kernel = _checks.float_tensor("kernel", kernel)
        self.bias = None if bias is None else _checks.float_tensor("bias", bias)
        self.transposed, self.chunk_size = transposed, chunk_size
        self.num_classes = check_shapes(self.features, self.kernel, self.bias, transposed)
        self.dtype = _checks.dtype_of(self.features)
        self.shape = ops.shape(self.features)[:-1]

    def _compute(self, loss, targets, shared):
        features = self.features
        if self.counts is not None:
            features = blank(features, self.counts, (len(features.shape) - 1,))
        features = ops.reshape(features, (-1, features.shape[-1]))
        self.operands = Operands(features, self.kernel, self.bias, targets, shared)
        self.plan = Plan(loss, self.transposed, self.chunk_size)

    def losses(self):
        """One loss per example, in the dtype that sums have."""
        losses = ops.reshape(engine.losses(self.operands, self.plan), self.shape)
        return self._settled(losses)

    def weighted_sum(self, weights, with_gradient=True):
        """Σ_i weights_i loss_i, with `weights` of the shape of the losses; wrong labels make it NaN or a runtime error."""
        weights = self._settled(weights)
        return engine.weighted_sum(self.operands, ops.reshape(weights, (-1,)), self.plan, with_gradient)

    def _settled(self, values):
        """One number per example: 0 where rows do not count, an error or NaN where they are wrong."""
        values = values if self.counts is None else drop_uncounted(values, self.counts)
        return _checks.fail_unless_fits(values, self.fits)

    def top_classes(self):
        """The class with the largest logit of each example."""
        return ops.reshape(rows.top_classes(self.operands, self.plan), self.shape)


def check_shapes(features, kernel, bias, transposed=False, of=""):
    """The number of classes, if features, kernel and bias, `of` the teacher perhaps, fit each other."""
    if len(features.shape) == 0:
        raise ValueError(f"`{of}features` is a scalar; expected shape (..., hidden), as the last hidden layer gives them.")
    if len(kernel.shape) != 2:
        raise ValueError(
            f"`{of}kernel` must have shape (hidden, num_classes), as that of a `Dense` layer. Received: "
            f"{of}kernel.shape={tuple(kernel.shape)}."
        )
    hidden, num_classes = reversed(kernel.shape) if transposed else kernel.shape
    if hidden is None or num_classes is None:
        raise ValueError(f"The shape of `{of}kernel` must be static. Received: {of}kernel.shape={tuple(kernel.shape)}.")
    shown = f"{of}kernel.shape={(hidden, num_classes)}"
    if features.shape[-1] is not None and features.shape[-1] != hidden:  # not by `in`: sizes may be symbols under `torch.compile`
        turned = features.shape[-1] == num_classes
        raise ValueError(
            f"`{of}features` and `{of}kernel` do not fit: {of}features.shape={tuple(features.shape)} ends in "
            f"{features.shape[-1]}, but `{of}kernel` takes {hidden} features: {shown}, expected (hidden, num_classes). "
            + ("Pass its transpose, `keras.ops.transpose(kernel)`." if turned else "Pass what the output layer is given.")
        )
    if num_classes < 2:
        raise ValueError(
            f"`{of}kernel` has {num_classes} class: {shown}; expected num_classes > 1: one class leaves nothing to tell apart. "
            "Consider using `BinaryCrossentropy` on a single sigmoid output."
        )
    if bias is not None and tuple(bias.shape) != (num_classes,):
        raise ValueError(
            f"`{of}bias` must have one number per class, shape ({num_classes},), as {shown}. Received: "
            f"{of}bias.shape={tuple(bias.shape)}. Pass None if there is none."
        )
    return num_classes

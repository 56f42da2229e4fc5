"""What losses for models that end in their features have in common: they know what each loss will be multiplied with."""

import contextlib
import contextvars
from typing import Any

from keras import ops

from .. import _checks, _reduction
from .._base import StepwiseLoss, widened
from .heads import NeedsHead

training = contextvars.ContextVar("training", default=True)


@contextlib.contextmanager
def evaluation():
    """No gradient will be asked for: TensorFlow cannot tell beforehand, and would make it beside the loss."""
    token = training.set(False)
    try:
        yield
    finally:
        training.reset(token)


class FeaturesLoss(NeedsHead, StepwiseLoss):
    """A loss whose predictions are features, weighed and reduced while it is made; it states `_problem(y_true, features)`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One loss per example, neither weighed nor reduced."""
        return self._problem(y_true, self._floats("features", y_pred)).losses()

    def _problem(self, y_true, features):
        raise NotImplementedError

    def _mask_of(self, y_pred):
        return self._bound().mask_of(y_pred)

    def _reduced_axes(self, y_pred):
        return (_checks.resolve_axis(-1, y_pred, "features"),)

    def _reduced(self, y_true, y_pred, sample_weight, mask):
        if self.reduction in (None, "none"):
            return super()._reduced(y_true, y_pred, sample_weight, mask)
        labels, features, weights, counts, kept, _, fits = self._prepared(y_true, y_pred, sample_weight, mask)
        problem = self._problem(labels, features)
        shares = _reduction.shares(ops.ones(problem.shape, dtype=widened(problem.dtype)), weights, counts, self.reduction)
        if kept is not None:
            shares = ops.where(kept, shares, 0.0)
        shares = _checks.fail_unless_fits(shares, fits)
        return ops.cast(problem.weighted_sum(shares, training.get()), self.dtype)

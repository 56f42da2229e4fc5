"""What a chunk of a student's logits costs beside its teacher, and the slopes of that, as `keras_xent.distill` has them."""

import importlib
from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from .. import _backend, _checks
from ..distill.loss import both_parts
from .slopes import cap

rows = importlib.import_module(f".{keras.backend.backend()}_sweep", __package__)


@dataclass(frozen=True)
class Distillation:
    """The loss of a teacher's targets and, perhaps, hard labels; or of the teacher's features, whose logits are made here.

    All rows share the teacher's kernel and bias. `options` are those of `keras_xent.distillation_loss`, as pairs.
    """

    options: tuple[tuple[str, object], ...]
    logit_softcap: float | None = None
    teacher_softcap: float | None = None
    teacher_transposed: bool = False
    is_one_loop: ClassVar[bool] = False  # which has checks of its own, and products

    def losses_and_slopes(self, raw_logits, targets, shared, factors=None):
        """One loss per row, and what `factors`, if given, make of the slopes by the raw logits; a factor of 0 makes them 0."""
        logits, slope_of_cap = cap(raw_logits, self.logit_softcap)
        soft, hard = (*targets, None)[:2]
        if shared:
            soft, _ = cap(rows.make_logits(soft, *shared, self.teacher_transposed), self.teacher_softcap)
        options, dtype = dict(self.options), _checks.dtype_of(logits)

        def losses(logits):
            return both_parts(soft, hard, logits, options, 1, dtype)

        if factors is None:
            return losses(logits), None
        values, slopes = _backend.values_and_slopes(losses, logits, factors)
        if slope_of_cap is not None:
            slopes = slopes * slope_of_cap
        removed = ops.equal(factors, 0.0)
        known = _backend.read(removed)
        if known is None or known.any():  # else it would be one more pass through memory
            slopes = ops.where(removed[:, None], 0.0, slopes)
        return values, slopes

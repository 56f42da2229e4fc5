"""Where Keras's built-in losses are known to differ: regions of cases, each with the known differences that lie in it."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from .cases import KINDS, Case
from .difference import BACKENDS


@dataclass(frozen=True)
class Region:
    """Cases in which a built-in loss may give something else, for one reason."""

    name: str
    holds: Callable[[Case], bool]
    backends: tuple[str, ...] = BACKENDS


def region_of(case: Case, backend: str):
    """The first region that a case lies in, or None."""
    return next((region for region in REGIONS if backend in region.backends and region.holds(case)), None)


def along_another_axis(case):
    """Whether classes lie elsewhere than last."""
    return isinstance(case.axis, int) and case.axis not in (-1, case.y_pred.ndim - 1)


def is_focal(case):
    """Whether it is a focal loss."""
    return "Focal" in case.loss


def from_probs(case):
    """Whether its predictions are probabilities."""
    return not case.arguments["from_logits"]


def saturates(case):
    """Whether a probability lies where Keras clips it."""
    epsilon = keras.config.epsilon()
    probs = case.y_pred
    if KINDS[case.loss] in ("dense", "ids") and "Generalized" not in case.loss:
        total = probs.sum(axis=case.axis, keepdims=True)
        probs = probs / np.where(total == 0, 1.0, total)
    return bool(((probs < epsilon) | (probs > 1 - epsilon)).any())


def saturates_from_logits(case):
    """Whether a probability behind a logit lies where Keras clips it."""
    if case.loss == "BinaryFocalCrossentropy":
        return bool((np.abs(case.y_pred) > -np.log(keras.config.epsilon())).any())
    depths = case.y_pred - case.y_pred.max(axis=case.axis, keepdims=True)
    probs = np.exp(depths) / np.exp(depths).sum(axis=case.axis, keepdims=True)
    return bool((probs < keras.config.epsilon()).any() or (probs > 1 - keras.config.epsilon()).any())


def weights_lack_axes(case):
    """Whether weights have fewer axes than the losses, which Keras aligns with the last ones."""
    return case.sample_weight is not None and 0 < np.ndim(case.sample_weight) < case.y_pred.ndim - 1


def sums_miss_1(case):
    """Whether a row of predictions does not add up to 1."""
    return bool((np.abs(case.y_pred.sum(axis=case.axis) - 1.0) > 1e-3).any())


REGIONS = (
    Region("half precision", lambda case: case.dtype in ("float16", "bfloat16")),
    Region("float64", lambda case: case.dtype == "float64" and (is_focal(case) or keras.backend.backend() == "torch")),
    Region("weights of the batch", weights_lack_axes),
    Region("NaN without weight", lambda case: bool(np.isnan(case.y_pred).any())),
    Region("label smoothing along the class axis", lambda c: along_another_axis(c) and bool(c.arguments.get("label_smoothing"))),
    Region("alpha along the class axis", lambda c: along_another_axis(c) and isinstance(c.arguments.get("alpha"), list)),
    Region(
        "class axis in the middle",
        lambda case: along_another_axis(case) and case.loss == "SparseCategoricalCrossentropy",
        ("tensorflow", "jax"),
    ),
    Region("infinite logits", lambda case: bool(np.isinf(case.y_pred).any())),
    Region(
        "all-zero row", lambda c: from_probs(c) and KINDS[c.loss] in ("dense", "ids") and bool((c.y_pred.sum(c.axis) == 0).any())
    ),
    Region("probabilities where the clip binds", lambda case: from_probs(case) and saturates(case)),
    Region("focal logits where the clip binds", lambda c: is_focal(c) and not from_probs(c) and saturates_from_logits(c)),
    Region(
        "probabilities that do not sum to 1",
        lambda case: from_probs(case) and case.loss == "SparseCategoricalCrossentropy" and sums_miss_1(case),
        ("tensorflow",),
    ),
    Region(
        "targets that do not sum to 1",
        lambda c: (
            c.loss == "CategoricalCrossentropy" and not from_probs(c) and bool((abs(c.y_true.sum(c.axis) - 1) > 1e-3).any())
        ),
        ("tensorflow",),
    ),
)

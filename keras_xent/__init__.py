"""Cross-entropy and distillation losses for Keras 3, written out step by step; see README.md."""

# ruff: noqa: E402
import typing as _typing

from . import _only_backend

_only_backend.choose()

from . import distill, fused, reference
from .distill import DistillationLoss, distillation_loss, pack_targets
from .domain import DOMAIN
from .findings import DiagnoseFirstBatch, Finding, diagnose
from .fused import (
    LinearDistillationLoss,
    LinearSparseCategoricalCrossentropy,
    linear_distillation_loss,
    linear_sparse_categorical_crossentropy,
)
from .losses import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    SparseCategoricalCrossentropy,
    SparseCategoricalFocalCrossentropy,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
    sparse_categorical_crossentropy,
    sparse_categorical_focal_crossentropy,
)

__version__ = "0.1.0"


if _typing.TYPE_CHECKING:
    from .tracing import explain


def __getattr__(name: str):
    """What training has no use for is imported when it is first asked for."""
    import importlib

    if name in ("parity", "bench"):
        return importlib.import_module(f"{__name__}.{name}")
    if name == "explain":
        return importlib.import_module(f"{__name__}.tracing").explain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DOMAIN",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "DiagnoseFirstBatch",
    "DistillationLoss",
    "Finding",
    "KLDivergence",
    "LinearDistillationLoss",
    "LinearSparseCategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
    "SparseCategoricalFocalCrossentropy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "diagnose",
    "distill",
    "distillation_loss",
    "explain",
    "fused",
    "kl_divergence",
    "linear_distillation_loss",
    "linear_sparse_categorical_crossentropy",
    "pack_targets",
    "reference",
    "sparse_categorical_crossentropy",
    "sparse_categorical_focal_crossentropy",
]

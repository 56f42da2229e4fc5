"""Distillation: a student learns from what a teacher said, live or stored."""

from .distiller import Distiller
from .keras_adapter import KerasDistillation
from .loss import DistillationLoss, distillation_loss
from .metrics import on_labels
from .packing import pack_targets
from .store import Labeller, StoredTargets, examples_kept, write_labelled, write_targets
from .top_k import top_k_targets

__all__ = [
    "DistillationLoss",
    "Distiller",
    "KerasDistillation",
    "Labeller",
    "StoredTargets",
    "distillation_loss",
    "examples_kept",
    "on_labels",
    "pack_targets",
    "top_k_targets",
    "write_labelled",
    "write_targets",
]

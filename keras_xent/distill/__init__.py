"""Distillation: a student learns from what a teacher said."""

from .loss import DistillationLoss, distillation_loss
from .metrics import on_labels
from .packing import pack_targets
from .top_k import top_k_targets

__all__ = ["DistillationLoss", "distillation_loss", "on_labels", "pack_targets", "top_k_targets"]

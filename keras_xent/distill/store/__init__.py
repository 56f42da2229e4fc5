"""A teacher that runs once: what it said is stored, and read as often as students learn."""

from .labelling import Labeller
from .stored import StoredTargets
from .write import examples_kept, write_labelled, write_targets

__all__ = ["Labeller", "StoredTargets", "examples_kept", "write_labelled", "write_targets"]

"""How fast are the losses, and how much memory do they take? Beside Keras's, and beside those of other libraries."""

from .processes import run
from .results import Measurement, Results

__all__ = ["Measurement", "Results", "run"]

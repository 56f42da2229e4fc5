"""What is wrong with how a model, its targets and its loss are put together: `keras_xent.diagnose`."""

from .callback import DiagnoseFirstBatch
from .codes import CODES
from .diagnosing import diagnose
from .finding import Finding, Findings

__all__ = ["CODES", "DiagnoseFirstBatch", "Finding", "Findings", "diagnose"]

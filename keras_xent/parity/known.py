"""Every known difference from Keras's built-in losses, each of which the tests hold to be still true.

A fix in Keras shows up as a failing test: state then from which version on, or drop the difference.
"""

import numpy as np

from .difference import BACKENDS, KnownDifference
from .known_distillation import DISTILLATION
from .known_family import ALIKE, DIVERGENCE, GENERALIZED_CROSSENTROPY
from .known_focal import FOCAL_OF_ANSWERS, FOCAL_OVER_CLASSES
from .known_inputs import ARGUMENTS, LABELS_AND_CLASSES, WEIGHTS_AND_MASKS
from .known_logits import FROM_LOGITS
from .known_probabilities import FROM_PROBABILITIES, HALF_PRECISION

__all__ = ["KNOWN_DIFFERENCES", "KnownDifference", "table"]

KNOWN_DIFFERENCES = (
    *FROM_LOGITS,
    *FROM_PROBABILITIES,
    *HALF_PRECISION,
    *LABELS_AND_CLASSES,
    *WEIGHTS_AND_MASKS,
    *ARGUMENTS,
    *FOCAL_OVER_CLASSES,
    *FOCAL_OF_ANSWERS,
    *DIVERGENCE,
    *GENERALIZED_CROSSENTROPY,
    *ALIKE,
    *DISTILLATION,
)


def table(differences=KNOWN_DIFFERENCES, version=None):
    """Markdown: the differences from a version of Keras (None: the installed one), without those that it has fixed."""
    rows = [("loss", "input", "Keras on TensorFlow", "JAX", "PyTorch", "ours", "why"), ("---",) * 7]
    for known in differences:
        ours = _cell(known.ours)
        theirs = [_cell(known.keras_result(backend, version)) for backend in BACKENDS]
        if set(theirs) != {ours}:
            rows.append((f"`{known.peer or known.loss}`", known.what, *theirs, ours, known.why))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(result):
    """A result in a table: five digits, the type of an error."""
    if isinstance(result, str):
        return result.partition(":")[0]
    if isinstance(result, list) and result and isinstance(result[0], str):
        return ", ".join(f"`{name}`" for name in result)
    return _numbers(np.asarray(result, "float64").tolist())


def _numbers(result):
    if isinstance(result, list):
        if len(result) == 1:  # one example, one output
            return _numbers(result[0])
        return f"[{', '.join(map(_numbers, result))}]" if result else "nothing"
    return "NaN" if result != result else f"{result:.5g}"

"""Every known difference from Keras's built-in losses, each of which the tests hold to be still true.

A fix in Keras shows up as a failing test: state then from which version on, or drop the difference.
"""

import numpy as np

from .difference import BACKENDS, TESTED_VERSIONS, KnownDifference
from .known_distillation import DISTILLATION
from .known_dtypes import FLOAT64, HALF_PRECISION
from .known_family import ALIKE, DIVERGENCE, GENERALIZED_CROSSENTROPY
from .known_focal import FOCAL_OF_ANSWERS, FOCAL_OVER_CLASSES
from .known_inputs import ARGUMENTS, LABELS_AND_CLASSES
from .known_logits import FROM_LOGITS
from .known_probabilities import FROM_PROBABILITIES
from .known_weights import WEIGHTS_AND_MASKS
from .regions import REGIONS

__all__ = ["KNOWN_DIFFERENCES", "KnownDifference", "listing", "markdown", "table"]

KNOWN_DIFFERENCES = (
    *FROM_LOGITS,
    *FROM_PROBABILITIES,
    *HALF_PRECISION,
    *FLOAT64,
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
    rows = []
    for known in differences:
        if is_open(known, version):
            rows.append((f"`{known.peer or known.loss}`", known.what, *results(known, version), known.why))
    return markdown(("loss", "input", "Keras on TensorFlow", "JAX", "PyTorch", "ours", "why"), rows)


def listing(differences=KNOWN_DIFFERENCES, version=None):
    """Heads and rows of text: all that is known, of a version of Keras (None: the installed one), fixed or not."""
    heads = ("name", "loss", "region", "seen in Keras", "Keras on TensorFlow", "JAX", "PyTorch", "ours", "why", "upstream")
    words = {region.name: region.words for region in REGIONS}
    rows = []
    for known in differences:
        seen = ", ".join(each for each in TESTED_VERSIONS if is_open(known, each))
        what = (known.name, known.peer or known.loss, words[known.region], seen)
        rows.append((*what, *results(known, version), known.why, known.upstream or ""))
    return heads, rows


def markdown(heads, rows):
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows))


def is_open(known, version=None):
    """Whether a version of Keras differs on any backend."""
    *theirs, ours = results(known, version)
    return set(theirs) != {ours}


def results(known, version=None):
    """What Keras gives on each backend, and what this package gives, as text."""
    digits = 10 if known.dtype == "float64" else 5
    return [_cell(result, digits) for result in (*(known.keras_result(backend, version) for backend in BACKENDS), known.ours)]


def _cell(result, digits):
    """A result in a table: so many digits, the type of an error."""
    if isinstance(result, str):
        return result.partition(":")[0]
    if isinstance(result, list) and result and isinstance(result[0], str):
        return ", ".join(f"`{name}`" for name in result)
    return _numbers(np.asarray(result, "float64").tolist(), digits)


def _numbers(result, digits):
    if isinstance(result, list):
        if len(result) == 1:  # one example, one output
            return _numbers(result[0], digits)
        return f"[{', '.join(_numbers(each, digits) for each in result)}]" if result else "nothing"
    return "NaN" if result != result else f"{result:.{digits}g}"

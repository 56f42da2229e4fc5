"""One difference between a loss of this package and Keras's, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from .._only_backend import BACKENDS

TESTED_VERSIONS = ("3.12.0", "3.15.1")  # of Keras: the oldest and the newest in which the results were seen
CATEGORICAL, SPARSE, BINARY = "CategoricalCrossentropy", "SparseCategoricalCrossentropy", "BinaryCrossentropy"
CATEGORICAL_FOCAL, BINARY_FOCAL = "CategoricalFocalCrossentropy", "BinaryFocalCrossentropy"
KL, GENERALIZED = "KLDivergence", "CategoricalGeneralizedCrossEntropy"
LOGITS = {"from_logits": True}
INFINITY, NAN = float("inf"), float("nan")


@dataclass(frozen=True, eq=False)
class KnownDifference:
    """What Keras gives for one input, on each backend, and what the definition says.

    A result is a number, a (nested) list of numbers, or an error as `"Type: phrase of the message"`. Numbers hold seven
    digits, as many as float32, or all of float64. A result that changed between versions of Keras is a mapping from the
    first version that gives it to the result; all others hold in all of `TESTED_VERSIONS`.
    """

    name: str  # unique
    loss: str  # the class, in `keras_xent` and, unless `peer` names another, in `keras.losses`
    what: str  # the input in words
    y_true: Any
    y_pred: Any
    keras: Mapping[str, Any]  # by backend
    ours: Any  # where it is a number, what `keras_xent.reference` says
    why: str
    region: str  # the name of the `regions.Region` that it lies in
    upstream: str | None = None  # the address of an issue or pull request that reports it
    compared: str = "value"  # or "gradient" (with respect to `y_pred`), or "lost arguments" (not in `get_config()`)
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of both classes; reduction="none" unless it is given
    sample_weight: Any = None
    mask: Any = None  # Keras's, on `y_pred`
    activation: str | None = None  # in `keras.activations`, applied to `y_pred` first
    peer: str | None = None  # what stands for the loss in Keras, if not the class of that name, and ...
    peer_arguments: Mapping[str, Any] = field(default_factory=dict)
    floor: float = 0.0  # as in `bounds.error_in_bounds`: the size of the terms of which a value is the difference

    @property
    def dtype(self):
        """Of the loss, and of the predictions that it is given."""
        return self.arguments.get("dtype", "float32")

    def keras_result(self, backend, version=None):
        """What Keras gives on `backend`, in `version` (None: the one that is installed)."""
        result = self.keras[backend]
        if not isinstance(result, Mapping):
            return result
        installed = release(version or keras.__version__)
        return result[max((since for since in result if release(since) <= installed), key=release)]


def release(version):
    """The leading numbers of a version, which sort as versions do."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def everywhere(result: Any) -> dict[str, Any]:
    """The same on all three backends."""
    return dict.fromkeys(BACKENDS, result)

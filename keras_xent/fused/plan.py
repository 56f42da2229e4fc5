"""What a linear loss computes, and in which chunks: what the three backends' files are told."""

from dataclasses import dataclass
from typing import Any

CHUNK = 2**24  # so many logits at a time: 64 MiB in float32
NOT_TWICE = (
    "Linear cross-entropy has first derivatives by reverse differentiation only: no second derivatives, and no forward mode. For "
    "those pass `keras.ops.matmul(features, kernel) + bias` to `keras_xent.sparse_categorical_crossentropy(from_logits=True)`, "
    "which holds all logits."
)


@dataclass(frozen=True)
class Plan:
    """The options that are numbers. `transposed`: the kernel is (num_classes, hidden), as an embedding's table is."""

    label_smoothing: float = 0.0
    z_loss: float = 0.0
    logit_softcap: float | None = None
    transposed: bool = False
    chunk_size: int | None = None

    def rows(self, num_classes, hidden, count=None):
        """How many rows of logits are held at once.

        So many that they take 64 MiB in float32, or half of what the gradient of the kernel takes, if that is more: a product
        of fewer rows would take less time than the sum with that gradient. `count` rows are cut into chunks of about one size.
        """
        size = self.chunk_size or max(1, CHUNK // num_classes, hidden // 2)
        if count is None or self.chunk_size:
            return size if count is None else min(size, max(1, count))
        return max(1, -(-count // max(1, -(-count // size))))


@dataclass(frozen=True)
class Operands:
    """The arrays: features (rows, hidden), labels (rows,), which are class ids, and what belongs to each class."""

    features: Any
    kernel: Any
    bias: Any
    labels: Any
    class_weight: Any

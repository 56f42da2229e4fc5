"""What a linear loss computes, and in which chunks: what the three backends' files are told."""

from dataclasses import dataclass
from typing import Any

CHUNK = 2**24  # so many logits at a time: 64 MiB in float32
NOT_TWICE = (
    "A linear loss has first derivatives by reverse differentiation only: no second derivatives, and no forward mode. For those "
    "pass `keras.ops.matmul(features, kernel) + bias` to `keras_xent.sparse_categorical_crossentropy(from_logits=True)` or "
    "`keras_xent.distillation_loss`, which hold all logits."
)


@dataclass(frozen=True)
class Plan:
    """What is the same for all arrays. `transposed`: the kernel is (num_classes, hidden), as an embedding's table is.

    `loss.losses_and_slopes(raw_logits, targets, shared, factors=None)` is what a chunk of logits costs: one loss per row, and
    what `factors`, if given, make of the slopes by the logits, else None; a factor of 0 makes them 0. The logits are its own to
    write over.
    """

    loss: Any = None
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
    """The arrays: features (rows, hidden), kernel and bias; tuples of what the loss is told of each row, and of all rows."""

    features: Any
    kernel: Any
    bias: Any
    targets: Any
    shared: Any

"""Classes in blocks, on TensorFlow: what there is of each, and gradients that are filled block by block."""

from dataclasses import dataclass

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops  # pyright: ignore[reportMissingImports]

from .._kernels.tensorflow_rows import is_compiled
from .plan import CHUNK
from .tensorflow_sweep import make_logits, rows_of, wide

ROWS = 2**11  # at a time: of more the blocks would be narrow


@dataclass(frozen=True)
class Blocks:
    """How classes are cut: a first block, and `turns` of one size."""

    first: int
    size: int
    turns: int

    @classmethod
    def of(cls, num_classes, count):
        """Blocks of about one size, of which `count` rows take no more than a chunk of logits."""
        size = -(-num_classes // -(-num_classes * count // CHUNK))
        turns = (num_classes - 1) // size
        return cls(num_classes - turns * size, size, turns)

    def run(self, step, carry):
        """`step(turn, first, size, carry)` for each block, whose first class is `first`; `turn` is None for the first block."""
        carry = step(None, 0, self.first, carry)
        if not self.turns:
            return carry

        def body(turn, carry):
            return turn + 1, step(turn, self.first + turn * self.size, self.size, carry)

        return tf.while_loop(lambda turn, _: turn < self.turns, body, (0, carry), parallel_iterations=1)[1]


class Classes:
    """What there is of each class, in blocks."""

    def __init__(self, operands, plan):
        self.operands, self.plan, self.sums = operands, plan, wide(operands.features)
        self.number, self.hidden = operands.kernel.shape if plan.transposed else operands.kernel.shape[::-1]
        self.row_count = min(ROWS, operands.features.shape[0] or ROWS)
        self.blocks = Blocks.of(self.number, self.row_count)

    def part(self, first, size):
        """Kernel and bias of a block."""
        corner, shape = ([first, 0], [size, self.hidden]) if self.plan.transposed else ([0, first], [self.hidden, size])
        bias = None if self.operands.bias is None else rows_of(self.operands.bias, first, size)
        return tf.cast(tf.slice(self.operands.kernel, corner, shape), self.sums), bias

    def nothing(self, axis):
        """A gradient of 0, to be filled block by block, whose classes lie on `axis` of the kernel; None: on the only one."""
        if is_compiled():
            return tf.zeros(self.shape(self.number, axis), self.sums)
        first, others = (self.shape(size, axis) for size in (self.blocks.first, self.blocks.size))
        blocks = tf.TensorArray(self.sums, self.blocks.turns, clear_after_read=False, element_shape=others)
        return tf.zeros(first, self.sums), blocks

    def shape(self, size, axis):
        """That of the gradient of so many classes."""
        return [size] if axis is None else [size, self.hidden] if axis == 0 else [self.hidden, size]

    def together(self, gradient, axis):
        """A gradient out of its blocks."""
        if is_compiled():
            return gradient
        first, others = gradient
        return tf.concat([first, *(others.read(turn) for turn in range(self.blocks.turns))], axis or 0)


def added(gradient, axis, turn, first, part):
    """A gradient, and what belongs to one block of it; what was never written there is 0.

    XLA adds in place; a graph would copy all of it, so there each block is a tensor of its own.
    """
    if is_compiled():
        corner = [first] if axis is None else [first, 0] if axis == 0 else [0, first]
        return gen_xla_ops.xla_dynamic_update_slice(gradient, tf.slice(gradient, corner, part.shape) + part, corner)
    of_first, others = gradient
    return (of_first + part, others) if turn is None else (of_first, others.write(turn, others.read(turn) + part))


class Rows:
    """Some rows, and what their labels cost."""

    def __init__(self, classes, begin, size):
        operands, self.transposed = classes.operands, classes.plan.transposed
        (labels,), (class_weight,) = operands.targets, operands.shared
        self.features = tf.cast(rows_of(operands.features, begin, size), classes.sums)
        self.ids = tf.expand_dims(rows_of(labels, begin, size), -1)
        self.shares = classes.plan.loss.shares(self.ids, class_weight, classes.number, classes.sums)

    def logits(self, kernel, bias):
        """Those of a block's classes."""
        return make_logits(self.features, kernel, bias, self.transposed)

    def of_block(self, first, size):
        """The labels counted from a block's first class, and the even shares of its classes."""
        even = self.shares.even
        return self.ids - first, rows_of(even, first, size) if even.shape.rank else even

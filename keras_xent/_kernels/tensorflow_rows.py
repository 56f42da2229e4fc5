"""What kernels on TensorFlow have in common: arithmetic with a gradient of its own, compiled by XLA where that pays.

TensorFlow's own executor writes whatever an operation makes to memory, as large as the logits, page by page. So loss and gradient
of many logits are a compiled program each, in eager code and in graphs too; in a program that is compiled around them they are
part of it. XLA's CPU sums rows in a library, and would write what is summed to memory: `summed` keeps that small.
"""

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import control_flow_util, gradients_util  # pyright: ignore[reportMissingImports]

from . import numpy_rows
from .tensorflow_barrier import apart

LARGE = 2**16  # numbers; less is computed sooner than a compiled program is called
PARTS = 8  # of a row: more make longer programs, not faster ones
WIDE = 2**10  # classes; of fewer the sum is no matter
MOST_SHAPES = 16  # each is compiled anew, which takes longer than many a batch: not if no two batches are alike
NARROW_ENOUGH = (tf.float32, tf.bfloat16, tf.float16)

uncompiled = functools.partial(tf.function, autograph=False)


def serves(quantities, logits="logits", *others):
    """Whether a kernel takes these: logits to be computed with in float32, the classes last, and it is known how many."""
    rows, axis = quantities[logits], quantities["axis"]
    if not tf.is_tensor(rows) or axis != len(rows.shape) - 1 or not rows.shape[-1]:
        return False
    return all(quantities[each].dtype in NARROW_ENOUGH for each in (logits, *others))


def widened(values):
    """Half precision in float32; other values as they are."""
    return tf.cast(values, tf.float32) if values.dtype in NARROW_ENOUGH else values


def summed(element, *rows):
    """Σ_k element(row_k, ...) of each row; what has one column belongs to all classes of its row.

    In a compiled program the parts of a row are added to each other first, of which XLA makes one loop, `element` in it: what
    it hands to its library is as small as a part. What two such loops shared would be written to memory.
    """
    if not sums_parts(*rows):
        return sums(element(*rows))
    num_classes = max(map(width, rows))
    size = num_classes // PARTS
    rows = apart(*rows)
    parts = (within(rows, begin, begin + size) for begin in range(0, PARTS * size, size))
    total = sums(functools.reduce(operator.add, (element(*part) for part in parts)))
    rest = within(rows, PARTS * size, num_classes)
    return total + sums(element(*rest)) if PARTS * size < num_classes else total


def summed_together(elements, *rows):
    """Σ_k of both of the two `elements(row_k, ...)`, in a compiled program by one loop: as a sum of complex numbers."""
    if not sums_parts(*rows):
        return [*map(sums, elements(*rows))]
    total = summed(lambda *rows: tf.complex(*elements(*rows)), *rows)
    return tf.math.real(total), tf.math.imag(total)


def sums_parts(*rows):
    """Whether rows are that long, in a compiled program, and it is known how long each is."""
    widths = [*map(width, rows)]
    return None not in widths and max(widths) >= WIDE and is_compiled()


def within(rows, begin, end):
    """The columns from `begin` to before `end`; the one where there is one."""
    return [row if width(row) == 1 else row[..., begin:end] for row in rows]


def width(row):
    return row.shape[-1] if row.shape.rank else 1


def sums(elements):
    return tf.reduce_sum(elements, -1, keepdims=True)


def is_compiled():
    """Whether what is made now becomes part of a program of XLA's."""
    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def largest(values):
    """The largest of each row, a constant to the gradient: a shift that cancels out."""
    return tf.reduce_max(tf.stop_gradient(values), -1, keepdims=True)


def places(values, like):
    """0 .. K-1, in the dtype of class ids."""
    return tf.range(values.shape[-1], dtype=like.dtype)


def at(values, place):
    """The entry of each row at a place."""
    return tf.gather(values, place, batch_dims=len(values.shape) - 1)


def log_denominator(height, *rows):
    """Σ exp(h_k) of heights of at most 0; the same without a top class that has most of it (elsewhere of no use); the logarithm.

    The logarithm is exact also where the top class has nearly all. The heights are `height(*rows)`.
    """
    others = summed(lambda *rows: below_top(height(*rows)), *rows)
    if sums_parts(*rows):  # an exponential less
        total = others + summed(lambda *rows: at_top(height(*rows)), *rows)
    else:
        total = sums(tf.exp(height(*rows)))
    log_total = tf.math.log(total)
    return total, others, log_total + tf.stop_gradient(tf.where(total < 2.0, tf.math.log1p(others) - log_total, 0.0))


def below_top(heights):
    """exp(h_k), and 0 at the top."""
    return tf.where(heights < 0.0, tf.exp(heights), 0.0)


def at_top(heights):
    """exp(h_k) = 1 at the top, with its first derivatives, and 0 below."""
    return tf.where(heights < 0.0, 0.0, 1.0 + heights * (1.0 + heights * (0.5 + heights / 6.0)))


def derived_twice(arguments):
    """Whether derivatives of derivatives may be asked for: a tape in a tape, or one around a `ForwardAccumulator`.

    To the latter, whatever a `tf.function` gives has no gradient.
    """
    asked = gradients_util.PossibleTapeGradientTypes(arguments)
    return asked == gradients_util.POSSIBLE_GRADIENT_TYPES_HIGHER_ORDER


def are_few(arguments):
    """Whether they are left to NumPy: few, in eager code, at hand, and one derivative at most, by the first, may be asked for."""
    logits, *rest = arguments
    if not tf.executing_eagerly() or math.prod(logits.shape) >= numpy_rows.A_FEW or "CPU" not in logits.device:
        return False
    asked = gradients_util.PossibleTapeGradientTypes(rest)
    return asked == gradients_util.POSSIBLE_GRADIENT_TYPES_NONE and not derived_twice(arguments)


def is_worth_a_program(logits, shapes):
    """Whether to compile: many numbers, of one of `shapes`, those that were compiled before, or of one of the first shapes."""
    shape = tuple(logits.shape)
    if None in shape or math.prod(shape) < LARGE:
        return False
    if len(shapes) < MOST_SHAPES:
        shapes.add(shape)
    return shape in shapes


@dataclass(frozen=True, eq=False)
class RowLosses:
    """A differentiable function of logits (..., num_classes) and more: one loss per row, of shape (..., 1) inside, (...) outside.

    `measure(*arguments)` gives the losses and what else of the rows their derivative needs, a number per row each, in a tuple.
    The entries of `slopes` belong to the arguments: `slope(upstream, measured, *arguments)` is the gradient of
    Σ upstream · losses by that argument; None where it has none. All are differentiable, and so is the gradient. `few` gives
    losses and slopes of NumPy's arrays, see `numpy_rows`.
    """

    measure: Callable[..., tuple[Any, ...]]
    slopes: tuple[Callable[..., Any] | None, ...]
    few: Callable[..., tuple[Any, Any]]
    shapes: set[Any] = field(default_factory=set)

    def __call__(self, *arguments):
        """The losses, in float32."""
        if are_few(arguments):
            return self._by_numpy(*arguments)
        return (self._compiled[tf.executing_eagerly()] if self._pays(arguments) else self._plain)(*arguments)

    def _pays(self, arguments):
        return not derived_twice(arguments) and is_worth_a_program(arguments[0], self.shapes)

    def _by_numpy(self, logits, *rest):
        """The losses of a few rows, whose gradient is there before it is asked for."""
        arrays = [widened(each).numpy() for each in (logits, *rest)]
        rows = arrays[0].reshape(-1, logits.shape[-1])
        targets = arrays[1].reshape(rows.shape if arrays[1].shape == logits.shape else -1)
        losses, slopes = self.few(rows, targets, *arrays[2:])

        @tf.custom_gradient
        def given(logits):
            def pull(upstream):
                return tf.cast(tf.expand_dims(upstream, -1) * slopes.reshape(logits.shape), logits.dtype)

            return tf.constant(losses.reshape(logits.shape[:-1])), pull

        return given(logits)

    @functools.cached_property
    def _plain(self):
        return with_gradients(widening(self.measure), [slope and rounded(slope, of) for of, slope in enumerate(self.slopes)])

    @functools.cached_property
    def _compiled(self):
        """Functions of their own, as these decide what is kept for the gradient: not what autodiff would need of the losses.

        One for graphs, where TensorFlow extends a function for second derivatives that may be asked for, and one for eager code.
        """
        program = functools.partial(uncompiled, jit_compile=True)
        measure = program(widening(self.measure))
        slopes = [slope and program(rounded(slope, of)) for of, slope in enumerate(self.slopes)]
        return {eagerly: uncompiled(with_gradients(measure, slopes)) for eagerly in (True, False)}


def widening(function):
    """A function that is given half precision in float32."""
    return lambda *arguments: function(*map(widened, arguments))


def rounded(slope, of):
    """A slope, in the dtype of the argument that it is of."""
    return lambda upstream, measured, *given: tf.cast(slope(upstream, measured, *map(widened, given)), given[of].dtype)


def with_gradients(measure, slopes):
    """The losses with their gradients."""

    @tf.custom_gradient
    def losses(*arguments):
        losses, *measured = measure(*arguments)

        def pull(upstream):
            return [slope and slope(tf.expand_dims(upstream, -1), tuple(measured), *arguments) for slope in slopes]

        return tf.squeeze(losses, -1), pull

    return losses

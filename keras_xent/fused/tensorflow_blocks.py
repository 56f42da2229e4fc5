"""Linear losses by blocks of classes on TensorFlow: a first sweep over the classes measures the rows, a second makes gradients.

A chunk of rows adds to all of the kernel's gradient, a block of classes to a part that no other block adds to. Where chunks of
rows are small that saves more time than the second sweep takes to make the logits anew.
"""

import tensorflow as tf

from .slopes import Measured, SparseCrossentropy, joined
from .tensorflow_classes import Classes, Rows, added
from .tensorflow_sweep import by_program, chunked, rows_of

FEW = 2**8  # rows of a chunk; where it has more, their logits are made once


def serves(operands, plan):
    """Whether this is a loss of class ids with several blocks to cut; a `chunk_size` asks for chunks of rows."""
    return plan.chunk_size is None and isinstance(plan.loss, SparseCrossentropy) and Classes(operands, plan).blocks.turns > 0


def pays(operands, plan):
    """Whether the logits are better made twice than the kernel's gradient added up by chunks of rows."""
    classes = Classes(operands, plan)
    return plan.rows(classes.number, classes.hidden) <= FEW


def losses_and_gradients(operands, plan, weights):
    """Both."""
    values, measured = losses(operands, plan)
    return values, *gradients(operands, plan, weights, measured)


@tf.autograph.experimental.do_not_convert
def losses(operands, plan):
    """One loss per row, and what was measured of the rows."""
    classes = Classes(operands, plan)

    def step(begin, size, totals):
        rows = Rows(classes, begin, size)

        def measure(turn, first, size, before):
            del turn
            given = rows.logits(*classes.part(first, size)), *rows.of_block(first, size), before
            return by_program(measure_more, plan.loss, *given)

        measured = classes.blocks.run(measure, None)
        return [plan.loss.losses(measured, rows.shares), *measured], totals

    kinds = len(Measured._fields)
    inner = ((), *[(1,)] * kinds)
    (values, *measured), _ = chunked(step, operands.features, classes.row_count, [classes.sums] * (1 + kinds), inner, {})
    return values, Measured(*measured)


def measure_more(loss, logits, ids, even, before):
    """What there is to know of a block's classes, and of those before it, if there are any."""
    measured = loss.measure(logits, ids, even)
    return measured if before is None else joined(before, measured)


@tf.autograph.experimental.do_not_convert
def gradients(operands, plan, weights, measured):
    """Those of Σ_i weights_i loss_i by features, kernel and bias. A weight of 0 removes a row, whatever its logits are."""
    classes = Classes(operands, plan)
    axes = {"kernel": 0 if plan.transposed else 1} | ({} if operands.bias is None else {"bias": None})

    def step(begin, size, totals):
        rows = Rows(classes, begin, size)
        factors = tf.cast(rows_of(weights, begin, size), classes.sums)
        of_rows = Measured(*(rows_of(each, begin, size) for each in measured))

        def derive(turn, first, size, carry):
            by_features, totals = carry
            kernel, bias = classes.part(first, size)
            ids, even = rows.of_block(first, size)
            given = rows.logits(kernel, bias), ids, of_rows, rows.shares._replace(even=even), factors
            slopes = by_program(type(plan.loss).slopes, plan.loss, *given)
            by_features = by_features + tf.matmul(slopes, kernel, transpose_b=not plan.transposed)
            pair = (slopes, rows.features) if plan.transposed else (rows.features, slopes)
            parts = {"kernel": tf.matmul(*pair, transpose_a=True)}
            if bias is not None:
                parts["bias"] = tf.reduce_sum(slopes, 0)
            return by_features, {name: added(totals[name], axes[name], turn, first, part) for name, part in parts.items()}

        by_features, totals = classes.blocks.run(derive, (tf.zeros_like(rows.features), totals))
        return [tf.cast(by_features, operands.features.dtype)], totals

    totals = {name: classes.nothing(axis) for name, axis in axes.items()}
    kinds = (operands.features.dtype,), ((classes.hidden,),)
    (by_features,), totals = chunked(step, operands.features, classes.row_count, *kinds, totals)
    whole = {name: classes.together(total, axes[name]) for name, total in totals.items()}
    return by_features, whole["kernel"], whole.get("bias")

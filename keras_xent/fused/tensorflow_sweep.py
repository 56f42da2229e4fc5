"""Chunks of rows on TensorFlow: one loop, in eager code, graphs and XLA; a smaller last chunk comes after it, unpadded."""

import functools
import itertools
from typing import Any

import tensorflow as tf

from .._kernels.tensorflow_rows import is_worth_a_program

PART = 2**22  # numbers of the kernel's gradient to be added at a time
MOST_PARTS = 16


def losses(operands, plan):
    """One loss per row, and nothing else that would save work later."""
    return sweep(operands, plan)[0], None


def losses_and_gradients(operands, plan, weights):
    """Both, from the same logits."""
    return sweep(operands, plan, weights)


def gradients(operands, plan, weights, nothing):
    """Those of Σ_i weights_i loss_i by features, kernel and bias, from logits that are made anew."""
    del nothing
    return sweep(operands, plan, weights)[1:]


@tf.autograph.experimental.do_not_convert
def sweep(operands, plan, weights=None):
    """The losses, and with `weights` the gradients of Σ_i weights_i loss_i by features, kernel and bias; else None for each.

    A weight of 0 removes a row from the gradients, whatever its logits are.
    """
    features, bias = operands.features, operands.bias
    sums = wide(features)
    kernel = tf.cast(operands.kernel, sums)
    num_classes, hidden = kernel.shape if plan.transposed else kernel.shape[::-1]
    bias = None if bias is None else tf.cast(bias, sums)

    def step(begin, size, totals):
        """What `size` rows from `begin` cost and what their features' gradient is; `totals` with theirs."""
        of_chunk, targets = rows_of(features, begin, size), tuple(rows_of(each, begin, size) for each in operands.targets)
        of_chunk = tf.cast(of_chunk, sums)
        factors = None if weights is None else tf.cast(rows_of(weights, begin, size), sums)
        logits = make_logits(of_chunk, kernel, bias, plan.transposed)
        losses, slopes = by_program(type(plan.loss).losses_and_slopes, plan.loss, logits, targets, operands.shared, factors)
        of_rows, totals = [losses], dict(totals)
        if slopes is None:
            return of_rows, totals
        of_rows.append(tf.cast(tf.matmul(slopes, kernel, transpose_b=not plan.transposed), features.dtype))
        totals["kernel"] = added(totals["kernel"], of_chunk, slopes, plan.transposed)
        if "bias" in totals:
            totals["bias"] = totals["bias"] + tf.reduce_sum(slopes, 0)
        return of_rows, totals

    size = plan.rows(num_classes, hidden, features.shape[0])
    if weights is None:
        (losses,), _ = chunked(step, features, size, (sums,), ((),), {})
        return losses, None, None, None
    totals: dict[str, Any] = {"kernel": zeros_in_parts(num_classes, hidden, sums, plan.transposed)}
    if bias is not None:
        totals["bias"] = tf.zeros((num_classes,), sums)
    (losses, by_features), totals = chunked(step, features, size, (sums, features.dtype), ((), (hidden,)), totals)
    return losses, by_features, tf.concat(totals["kernel"], 0 if plan.transposed else 1), totals.get("bias")


def by_program(function, loss, logits, *given):
    """`function(loss, logits, ...)`, by a program of its own where that pays: alone, each operation would write as much."""
    program, shapes = compiled(function, loss)
    return program(logits, *given) if loss.is_one_loop and is_worth_a_program(logits, shapes) else function(loss, logits, *given)


@functools.lru_cache(maxsize=64)
def compiled(function, loss):
    """That program, and the shapes that it was compiled for."""
    return tf.function(functools.partial(function, loss), autograph=False, jit_compile=True), set()


def zeros_in_parts(num_classes, hidden, dtype, transposed):
    """What becomes the kernel's gradient, some classes each: a graph adds nothing in place, and a product takes memory."""
    number = min(MOST_PARTS, num_classes, -(-num_classes * hidden // PART))
    bounds = [num_classes * i // number for i in range(number + 1)]
    sizes = [end - begin for begin, end in itertools.pairwise(bounds)]
    return tuple(tf.zeros((size, hidden) if transposed else (hidden, size), dtype) for size in sizes)


def added(parts, features, slopes, transposed):
    """Each part and the product that belongs to it, one after the other."""
    sums, begin, before = [], 0, []
    for part in parts:
        end = begin + part.shape[0 if transposed else 1]
        with tf.control_dependencies(before):
            of_part = slopes[:, begin:end] if len(parts) > 1 else slopes
            pair = (of_part, features) if transposed else (features, of_part)
            sums.append(part + tf.matmul(*pair, transpose_a=True))
        begin, before = end, sums[-1:]
    return tuple(sums)


def chunked(step, features, size, dtypes, inner, totals):
    """`step(begin, size, totals)` over all rows: what it gives of each chunk put together, and the totals.

    Sizes that only the running program knows are taken for sizes to come: there may be no whole chunk, or no row beside them.
    """
    count = features.shape[0]
    known = count is not None
    count = count if known else tf.shape(features)[0]
    whole = count // size
    if known and whole < 2:
        if whole == 0 or count == size:
            return step(0, count, totals)
        (first, totals), begin = step(0, size, totals), size
    else:
        slots = [tf.TensorArray(dtype, whole, element_shape=(size, *shape)) for dtype, shape in zip(dtypes, inner, strict=True)]

        def turn(i, slots, totals):
            made, totals = step(i * size, size, totals)
            made = [tf.ensure_shape(value, (size, *shape)) for value, shape in zip(made, inner, strict=True)]
            return i + 1, [slot.write(i, value) for slot, value in zip(slots, made, strict=True)], totals

        _, slots, totals = tf.while_loop(lambda i, *_: i < whole, turn, (0, slots, totals), parallel_iterations=1)
        first = [tf.reshape(slot.stack(), (whole * size, *shape)) for slot, shape in zip(slots, inner, strict=True)]
        begin = whole * size
        if known and begin == count:
            return first, totals
    last, totals = step(begin, count - begin, totals)
    return [tf.concat(pair, 0) for pair in zip(first, last, strict=True)], totals


def rows_of(values, begin, size):
    """`size` rows: not by indices, as XLA wants to know how many they are."""
    return tf.slice(values, [begin] + [0] * (len(values.shape) - 1), [size, *values.shape[1:]])


def make_logits(features, kernel, bias, transposed):
    """x W + b, in a dtype of at least float32."""
    logits = tf.matmul(tf.cast(features, kernel.dtype), kernel, transpose_b=transposed)
    return logits if bias is None else logits + tf.cast(bias, kernel.dtype)


@tf.autograph.experimental.do_not_convert
def top_classes(operands, plan):
    """The class with the largest logit of each row."""
    features, bias = operands.features, operands.bias
    kernel = tf.cast(operands.kernel, wide(features))
    num_classes, hidden = kernel.shape if plan.transposed else kernel.shape[::-1]

    def step(begin, size, totals):
        logits = make_logits(rows_of(features, begin, size), kernel, bias, plan.transposed)
        return [tf.argmax(logits, -1, output_type="int32")], totals

    size = plan.rows(num_classes, hidden, features.shape[0])
    return chunked(step, features, size, (tf.int32,), ((),), {})[0][0]


def factor_dtype(features):
    """The dtype of what is multiplied."""
    return wide(features)


def wide(features):
    """The dtype of sums: half precision is summed in float32."""
    return tf.float32 if features.dtype in (tf.float16, tf.bfloat16) else features.dtype

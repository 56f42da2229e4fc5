"""A barrier to XLA, with what TensorFlow does not know of it: its gradient, and how it is mapped over a batch."""

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops  # pyright: ignore[reportMissingImports]
from tensorflow.python.ops.parallel_for import pfor  # pyright: ignore[reportMissingImports]

BARRIER = "XlaOptimizationBarrier"


def apart(*values):
    """The same values, in a program of XLA's, which does not know that they are."""
    return gen_xla_ops.xla_optimization_barrier(values)


def gradient(op, *upstream):
    """Of what does nothing."""
    del op
    return upstream


def mapped(operation):
    """All elements of the batch at once."""
    given = operation.inputs
    made = apart(*(each.t for each in given))
    return [pfor.wrap(value, each.is_stacked) for value, each in zip(made, given, strict=True)]


def register(registry, function):
    """Unless this TensorFlow knows."""
    try:
        registry(BARRIER)(function)
    except (KeyError, ValueError):
        return


register(tf.RegisterGradient, gradient)
register(pfor.RegisterPFor, mapped)

"""TensorFlow."""

import functools

import numpy as np
import tensorflow as tf

_EAGER = type(tf.constant(0))


def read(x):
    if not tf.is_tensor(x):
        return np.asarray(x)
    if isinstance(x, tf.Variable):
        x = x.value()
    on_cpu = "CPU" in getattr(x, "device", "")
    return x.numpy() if tf.executing_eagerly() and hasattr(x, "numpy") and on_cpu else None


def fail_unless(ok, values, message, culprits):
    # An assertion costs nothing on a CPU; on an accelerator it would move data to the host each step.
    if tf.executing_eagerly() or tf.config.list_logical_devices("GPU"):
        return values

    def fail():
        return tf.raw_ops.Assert(condition=ok, data=[tf.constant(message), *map(tf.convert_to_tensor, culprits())])

    with tf.control_dependencies([tf.cond(ok, tf.no_op, fail)]):
        return tf.identity(values)


def scatter_add(ids, values, num_classes):
    shape = tf.shape(ids)
    rows, k = tf.reduce_prod(shape[:-1]), shape[-1]
    positions = tf.stack([tf.repeat(tf.range(rows), k), tf.reshape(ids, [-1])], axis=-1)
    sums = tf.scatter_nd(positions, tf.reshape(values, [-1]), tf.stack([rows, tf.cast(num_classes, "int32")]))
    sums = tf.reshape(sums, tf.concat([shape[:-1], tf.reshape(tf.cast(num_classes, "int32"), [1])], axis=0))
    if not tf.is_tensor(num_classes):
        sums.set_shape([*ids.shape[:-1], num_classes])
    return sums


def values_and_slopes(function, x, factors):
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = function(x)
    return values, tape.gradient(values, x, tf.cast(factors, values.dtype))


def at_once(function, recipe, quantities):
    return function(recipe, quantities)


def is_usual(x):
    return type(x) is _EAGER and (x.dtype.is_floating or x.dtype.is_integer)


def plain(x):
    return x.value() if isinstance(x, tf.Variable) else x


remembered = functools.lru_cache(256)


def total(x):
    return tf.reduce_sum(x)


def num_replicas():
    return tf.distribute.get_strategy().num_replicas_in_sync


def mask_of(y_pred):
    mask = getattr(y_pred, "_keras_mask", None) if tf.is_tensor(y_pred) else None
    return None if mask is None else tf.cast(mask, "bool")


def carry_mask(losses, mask):
    losses._keras_mask = mask
    return losses

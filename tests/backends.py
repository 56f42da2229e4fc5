"""What tests need of the active backend: tensors in and out, values with gradients, eager and compiled."""

import functools

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()
# How a function can be run here. "compiled" is tf.function, jax.jit or torch.compile.
MODES = {"tensorflow": ("eager", "compiled", "xla"), "jax": ("eager", "compiled"), "torch": ("eager", "compiled")}[BACKEND]
DTYPES = ("float32", "bfloat16", "float16") + (("float64",) if BACKEND != "jax" else ())


def tensor(array, dtype=None):
    """A tensor of the active backend."""
    return ops.convert_to_tensor(np.asarray(array), dtype=dtype)


def array(x):
    """A NumPy array; half precision as float32."""
    if isinstance(x, np.ndarray):
        return x
    if "float16" in str(x.dtype):
        x = ops.cast(x, "float32")
    return np.asarray(ops.convert_to_numpy(ops.stop_gradient(x)))


def rounded(values, dtype):
    """What `dtype` makes of the values, as float64."""
    if dtype == "float64":
        return np.asarray(values, dtype)
    return array(tensor(np.asarray(values), dtype)).astype("float64")


def compiled(function, mode):
    """`function` of tensors, run in one of `MODES`."""
    if mode == "eager":
        return function
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=mode == "xla")
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import torch

    torch._dynamo.reset()
    return torch.compile(function, backend="aot_eager")


def value_and_gradient(function, x, mode="eager"):
    """The values of `function(x)` and the gradient of their sum, as NumPy arrays."""
    if BACKEND == "tensorflow":
        return tuple(array(part) for part in compiled(functools.partial(_tensorflow_gradient, function), mode)(x))
    if BACKEND == "jax":
        return tuple(array(part) for part in compiled(functools.partial(_jax_gradient, function), mode)(x))
    leaf = x.detach().clone().requires_grad_(True)
    values = compiled(function, mode)(leaf)
    values.sum().backward()
    return array(values), array(leaf.grad)


def _tensorflow_gradient(function, x):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        values = function(x)
    return values, tape.gradient(values, x, unconnected_gradients="zero")


def _jax_gradient(function, x):
    import jax

    def total(x):
        values = function(x)
        return values.sum(), values

    gradient, values = jax.grad(total, has_aux=True)(x)
    return values, gradient

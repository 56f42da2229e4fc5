"""Runs a loss on the active backend: tensors in, arrays out, its values with their gradient, eager and compiled."""

import contextlib

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()
# How a function can be run here. "compiled" is tf.function, jax.jit or torch.compile.
MODES = {"tensorflow": ("eager", "compiled", "xla"), "jax": ("compiled", "eager"), "torch": ("eager", "compiled")}[BACKEND]
USUAL = MODES[0]  # what takes least time for a function that is called once: JAX compiles each operation of an eager one


def having(dtype):
    """A context in which the backend has that dtype: JAX has no float64 unless it is told to."""
    if BACKEND != "jax" or dtype != "float64":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


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


def compiled(function, mode, torch_backend="aot_eager", soon=False):
    """`function` of tensors, run in one of `MODES`; `soon`: compiled in little time, for few numbers and few runs."""
    if mode == "eager":
        return function
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=mode == "xla")
    if BACKEND == "jax":
        import jax

        from .._backend.jax import compiled_soon

        return (compiled_soon if soon else jax.jit)(function)
    import torch

    torch._dynamo.reset()
    return torch.compile(function, backend=torch_backend)


def with_gradient(function, mode="eager", **options):
    """What gives the values of `function(x, *others)` and the gradient of their sum by `x`, as arrays."""
    run = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[BACKEND](function, mode, **options)

    def arrays(x, *others):
        values, gradient = run(x, *others)
        return array(values), array(gradient)

    return arrays


def value_and_gradient(function, x, mode="eager"):
    """The values of `function(x)` and the gradient of their sum, as arrays."""
    return with_gradient(function, mode)(x)


def _tensorflow(function, mode, **options):
    import tensorflow as tf

    def run(x, *others):
        with tf.GradientTape() as tape:
            tape.watch(x)
            values = function(x, *others)
        return values, tape.gradient(values, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return compiled(run, mode, **options)


def _jax(function, mode, **options):
    import jax

    def total(x, *others):
        values = function(x, *others)
        return values.sum(), values

    run = compiled(jax.grad(total, has_aux=True), mode, **options)
    return lambda x, *others: run(x, *others)[::-1]


def _torch(function, mode, **options):
    forward = compiled(function, mode, **options)

    def run(x, *others):
        leaf = x.detach().clone().requires_grad_(True)
        values = forward(leaf, *others)
        values.sum().backward()
        return values, leaf.grad

    return run

"""JAX."""

import functools

import jax
import keras
import numpy as np
from jax.core import Tracer

_NUMBERS = {"b", "i", "u", "f", "V"}  # kinds of dtypes: V is bfloat16's and that of other extensions to NumPy
# Options of XLA for a program that runs once, on few numbers: it is compiled in a third of the time, and runs slower.
COMPILED_SOON = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_cpu_use_fusion_emitters": False,
}
FEW = 2**16


def read(x):
    if not isinstance(x, jax.Array):
        return np.asarray(x)
    if isinstance(x, Tracer):
        return None
    on_cpu = x.is_fully_addressable and all(device.platform == "cpu" for device in x.devices())
    return np.asarray(x) if on_cpu else None


def fail_unless(ok, values, message, culprits):
    del ok, message, culprits  # a compiled JAX program cannot raise
    return values


def scatter_add(ids, values, num_classes):
    flat_ids, flat_values = ids.reshape(-1, ids.shape[-1]), values.reshape(-1, values.shape[-1])
    sums = jax.numpy.zeros((flat_ids.shape[0], num_classes), values.dtype)
    sums = sums.at[jax.numpy.arange(flat_ids.shape[0])[:, None], flat_ids].add(flat_values)
    return sums.reshape(*ids.shape[:-1], num_classes)


def values_and_slopes(function, x, factors):
    values, pull = jax.vjp(function, x)
    return values, pull(factors.astype(values.dtype))[0]


def at_once(function, recipe, quantities):
    tensors = {name: value for name, value in quantities.items() if isinstance(value, jax.Array)}
    rest = tuple((name, type(value), value) for name, value in quantities.items() if name not in tensors)
    kinds = tuple((name, jax.typeof(value)) for name, value in tensors.items())
    try:
        program, static = _program(function, recipe, rest, kinds)
    except TypeError:  # of what cannot be a key
        return function(recipe, quantities)
    made = iter(program(tensors))
    return [next(made) if value is None else value for value in static]


@functools.lru_cache(maxsize=256)
def _program(function, recipe, rest, kinds):
    """What makes tensors of these kinds, and the values in their places that are none; these are known once it has run."""
    static = []

    def traced(tensors):
        values = function(recipe, {name: value for name, _, value in rest} | tensors)
        static[:] = [None if isinstance(value, jax.Array) else value for value in values]
        return [value for value in values if isinstance(value, jax.Array)]

    few = sum(kind.size for _, kind in kinds) < FEW
    return (compiled_soon if few else jax.jit)(traced), static


def compiled_soon(function):
    """A function of arrays as a program that is compiled in little time, or as any other where a JAX has other options."""
    soon, otherwise = jax.jit(function, compiler_options=COMPILED_SOON), jax.jit(function)

    def run(*arguments):
        try:
            return soon(*arguments)
        except jax.errors.JaxRuntimeError as error:
            if "No such compile option" not in str(error):
                raise
            return otherwise(*arguments)

    return run


def is_usual(x):
    return isinstance(x, jax.Array) and getattr(x.dtype, "kind", None) in _NUMBERS


def plain(x):
    return x


remembered = functools.lru_cache(256)


def total(x):
    return x.sum()


def num_replicas():
    return 1  # a sharded program is one program


class _MaskCarrier(keras.layers.Layer):
    """Arrays of JAX take no attributes; Keras keeps their masks elsewhere, where only a layer can put them."""

    def call(self, losses_and_mask):
        return losses_and_mask[0]

    def compute_mask(self, losses_and_mask, previous_mask):
        del previous_mask
        return losses_and_mask[1]


class _MaskReader(keras.losses.Loss):
    """Multiplies what it is given by the mask of the predictions."""

    def call(self, one, y_pred):
        del y_pred
        return one


@functools.cache
def _mask_reader(dtype):
    return _MaskReader(reduction="none", dtype=dtype)


def mask_of(y_pred):
    # Tracers take no attributes: only `keras.losses.Loss` knows where a mask is. It multiplies a 1 with it, and hands the very
    # same 1 back if there is none.
    if not isinstance(y_pred, jax.Array) or not jax.numpy.issubdtype(y_pred.dtype, jax.numpy.floating):
        return None
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    one = jax.numpy.ones((), dtype)
    masked = _mask_reader(dtype)(one, y_pred)
    return None if masked is one else masked != 0


def carry_mask(losses, mask):
    return _MaskCarrier(autocast=False, dtype="float32")([losses, mask])

"""What `keras.ops` lacks, in one small file per backend.

`read(x)`: the values of `x` as a NumPy array if they can be had now without waiting for a device, else None.
`fail_unless(ok, values, message, culprits)`: `values`, after a runtime error if `ok` is False and the running program
can raise one at no cost; elsewhere just `values`. `culprits()` are values that the message ends in.
`carry_mask(losses, mask)`: `losses`, with the mask attached as Keras attaches masks.
`mask_of(y_pred)`: the mask that Keras carries with predictions: True where they count; or None.
`scatter_add(ids, values, num_classes)`: for each row of `ids` (its last axis) a row of that many classes, which holds the sum of
the `values` of each id. (`keras.ops.scatter` is a loop in Python on PyTorch.)
`is_usual(x)`: whether `x` is an ordinary tensor of numbers, about which nothing else needs to be asked; False where that takes
more than a moment to see.
`plain(x)`: a tensor out of one, with the attributes of a tensor: a `tf.Variable` has no `ndim`, for example.
`values_and_slopes(function, x, factors)`: `function(x)`, one number per row of `x`, and the gradient of Σ factors · function(x)
by `x`: now, not when somebody asks for it.
`at_once(function, recipe, quantities)`: the list `function(recipe, quantities)`, of quantities by name; as one program, if each
operation by itself would have to be compiled.
`remembered(function)`: the function, which keeps what it has given for up to 256 arguments.
`total(x)`: the sum of all entries. (`keras.ops.sum` asks what it was given: that takes longer than the sum of a small batch.)
`num_replicas()`: how many replicas of the program add up their gradients, under a distribution strategy of the backend.
"""

import importlib

import keras
from keras import ops

try:
    _backend = importlib.import_module(f"{__name__}.{keras.backend.backend()}")
except ModuleNotFoundError as error:
    raise ImportError(
        f"keras_xent runs on the Keras backends tensorflow, jax and torch; this process uses {keras.backend.backend()!r}. "
        "Set the environment variable KERAS_BACKEND to one of the three before Keras is imported."
    ) from error


def read(x):
    return None if isinstance(x, keras.KerasTensor) else _backend.read(x)


def total(x):
    return ops.sum(x) if isinstance(x, keras.KerasTensor) else _backend.total(x)


fail_unless = _backend.fail_unless
at_once = _backend.at_once
carry_mask = _backend.carry_mask
mask_of = _backend.mask_of
num_replicas = _backend.num_replicas
is_usual = _backend.is_usual
plain = _backend.plain
remembered = _backend.remembered
scatter_add = _backend.scatter_add
values_and_slopes = _backend.values_and_slopes

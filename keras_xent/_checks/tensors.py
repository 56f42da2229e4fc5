"""From what users pass to tensors of a dtype that still holds it."""

import keras
import numpy as np
from keras import ops

from .. import _backend

NO_ID = -(2**31)  # stands for integers beyond 32 bits; `ignore_class` cannot be it
HALF_PRECISION = ("float16", "bfloat16")


@_backend.remembered
def _name_of(dtype):
    return keras.backend.standardize_dtype(dtype)


def dtype_of(tensor):
    """Keras's name of a tensor's dtype; kept, as it is asked for many times in each step of training."""
    return _name_of(tensor.dtype)


def of_dtype(tensor, dtype):
    """A tensor of that dtype."""
    return tensor if dtype_of(tensor) == dtype else ops.cast(tensor, dtype)


def float_tensor(name, values, dtype=None, array_dtype=None):
    """A tensor of floats, in `dtype` if that is given.

    Else a tensor keeps its own float dtype; an array or list becomes `array_dtype`, and a tensor of integers too (None is
    Keras's floatx).
    """
    tensor = _tensor(name, values, dtype or array_dtype)
    kept = dtype_of(tensor)
    if dtype is None:
        dtype = kept if "float" in kept else array_dtype or keras.config.floatx()
    return tensor if kept == dtype else ops.cast(tensor, dtype)


def label_tensor(labels):
    """Class ids as a tensor that still holds every one of them: small integers widened, large ones not wrapped."""
    labels = labels if _backend.is_usual(labels) else native("y_true", labels)
    if not ops.is_tensor(labels) and kind_of(labels) in "iu":
        # JAX has no int64 by default, and would wrap an id that is out of range into it.
        labels = np.asarray(labels)
        beyond = np.greater(labels, np.iinfo("int32").max) | np.less(labels, NO_ID)
        labels = np.where(beyond, NO_ID, labels.astype("int64")).astype("int32")
    tensor = _tensor("y_true", labels)
    kept = dtype_of(tensor)
    if kept in ("bool", "int8", "uint8", "int16", "uint16"):
        return ops.cast(tensor, "int32")
    if kept in HALF_PRECISION:  # which could not hold the number of classes to compare with
        return ops.cast(tensor, "float32")
    if kept in ("uint32", "uint64"):
        tensor = ops.cast(tensor, "int64")
        return ops.where(tensor < 0, NO_ID, tensor)  # what wrapped around
    return tensor


def native(name, values):
    """Arrays as this backend and NumPy know them: other frameworks' tensors, byte orders and precisions are converted."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"`{name}` is a masked array, whose mask would be lost. Pass `{name}.filled(...)`, and the mask as a `sample_weight` "
            "of 0."
        )
    if ops.is_tensor(values) or isinstance(values, (keras.Variable, keras.KerasTensor)) or not hasattr(values, "__array__"):
        return values
    if not isinstance(values, (np.ndarray, np.generic)):
        values = values.detach() if hasattr(values, "detach") else values
        try:
            values = np.asarray(values)
        except TypeError:  # bfloat16, which NumPy lacks
            values = np.asarray(values.float())
    dtype = values.dtype
    if dtype.kind not in "fiu":
        return values
    narrower = np.dtype("float64") if dtype.kind == "f" and dtype.itemsize > 8 else dtype.newbyteorder("=")
    return values if dtype == narrower and dtype.isnative else values.astype(narrower)


def _tensor(name, values, array_dtype=None):
    """A tensor; an array or list becomes one of `array_dtype` at once, as some backends take float64 for float32."""
    if _backend.is_usual(values):
        return ops.convert_to_tensor(values)  # PyTorch's may have to move to another device
    values = native(name, values)
    if values is None:
        raise TypeError(f"`{name}` is None; expected an array of numbers.")
    if isinstance(values, (dict, set)):
        raise TypeError(f"`{name}` must be one array of numbers. Received: a {type(values).__name__}.")
    if type(values).__name__ in ("RaggedTensor", "SparseTensor"):  # TensorFlow's, which `ops.is_tensor` takes for tensors
        raise TypeError(
            f"`{name}` is a {type(values).__name__}; expected a dense tensor, neither ragged nor sparse. Make the rows equally "
            "long, for example with `values.to_tensor()`, and give the padding a `sample_weight` of 0, a mask or `ignore_class`."
        )
    if ops.is_tensor(values) or isinstance(values, keras.Variable):
        if not any(kind in str(values.dtype) for kind in ("string", "complex")):
            tensor = _backend.plain(ops.convert_to_tensor(values))
            if getattr(tensor.shape, "rank", 0) is None:  # TensorFlow's
                raise ValueError(f"`{name}` has no known rank; expected a tensor whose number of axes is known.")
            return tensor
    elif not isinstance(values, (str, bytes)) and kind_of(values) in "biuf":
        return ops.convert_to_tensor(values, dtype=array_dtype)
    raise _no_numbers(name, values)


def number_array(name, values):
    """A NumPy array of numbers."""
    if kind_of(values) not in "biuf":
        raise _no_numbers(name, values)
    return np.asarray(values)


def _no_numbers(name, values):
    dtype = getattr(values, "dtype", "something else")
    held = getattr(dtype, "name", dtype)
    return TypeError(
        f"`{name}` must hold real numbers. Received: a {type(values).__name__} of {held}. Turn class names into "
        "integer ids first, for example with `keras.layers.StringLookup`, and make ragged rows equally long."
    )


def kind_of(values):
    """NumPy's letter for what an array-like holds; lists of tensors count as numbers."""
    if isinstance(values, (list, tuple)) and any(ops.is_tensor(element) for element in values):
        return "f"
    dtype = getattr(values, "dtype", None)
    if dtype is not None:  # bfloat16 is no kind of NumPy's own
        kind = getattr(dtype, "kind", "f")
        return "f" if "float" in str(dtype) else kind
    try:
        return np.asarray(values).dtype.kind
    except ValueError:  # ragged
        return "O"

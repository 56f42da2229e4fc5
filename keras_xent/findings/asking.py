"""Asking a model without a trace, and reading numbers out of whatever holds them."""

import warnings

import keras
import numpy as np

from .. import _checks


def answers(model, x):
    """What a model says in inference mode. Nothing that it assigns, such as a count or the state of a seed, is kept."""
    with keras.StatelessScope(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a softmax over one column, of a mask that is lost: findings say it
        return model(x, training=False)


def numbers(values):
    """An array of what tensors, arrays and lists hold; half precision as float32."""
    if keras.ops.is_tensor(values):
        if keras.backend.standardize_dtype(values.dtype) in _checks.HALF_PRECISION:
            values = keras.ops.cast(values, "float32")
        return np.asarray(keras.ops.convert_to_numpy(values))
    array = np.asarray(values)
    return array.astype("float32") if str(array.dtype) in _checks.HALF_PRECISION else array


def real_numbers(name, values):
    """The same of targets and weights, which have to be real numbers."""
    array = numbers(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"`{name}` must hold real numbers. Received: an array of dtype {array.dtype}.")
    return array


def dtype_of(values):
    """The dtype as Keras names it, before anything is converted."""
    if keras.ops.is_tensor(values):
        return keras.backend.standardize_dtype(values.dtype)
    return str(np.asarray(values).dtype)


def arrays(structure):
    """The same structure, in which tables and lists of plain numbers are arrays; tensors stay what they are."""
    if structure is None or keras.ops.is_tensor(structure) or hasattr(structure, "dtype"):
        return structure
    if hasattr(structure, "to_numpy"):  # of pandas
        return structure.to_numpy()
    if isinstance(structure, (list, tuple)) and all(is_plain(one) for one in structure):
        try:
            return np.asarray(structure)
        except ValueError as error:
            raise ValueError("Lists within a list must be of one length to be an array. Pad them, or pass an array.") from error
    if isinstance(structure, dict):
        return {key: arrays(one) for key, one in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [arrays(one) for one in structure]
    return np.asarray(structure)


def is_plain(value):
    """A number, or lists of numbers."""
    if isinstance(value, (list, tuple)):
        return all(is_plain(one) for one in value)
    return isinstance(value, (int, float, np.number, np.bool_))


def first(structure, number):
    """The first so many examples."""
    return keras.tree.map_structure(lambda leaf: leaf if leaf is None else leaf[:number], structure)


def first_batch(x, y=None, sample_weight=None):
    """`x`, `y` and weights; those of the first batch where `x` is a data set of batches."""
    if isinstance(x, keras.utils.PyDataset):
        batch = x[0]
    elif is_dataset(x):
        if hasattr(x, "__next__"):
            raise ValueError(
                f"`x` is a {type(x).__name__}, out of which a batch cannot be taken without being lost for training. Pass the "
                "arrays of one batch, or a data set that can be read again."
            )
        batch = next(iter(x), None)
        if batch is None:
            raise ValueError(f"`x` is a data set ({type(x).__name__}) without a batch: there is nothing to look at.")
    else:
        return x, y, sample_weight
    if y is not None or sample_weight is not None:
        raise ValueError(
            f"`x` is a data set ({type(x).__name__}), which holds the targets and weights too: expected `y` and "
            "`sample_weight` to be left out."
        )
    return keras.utils.unpack_x_y_sample_weight(batch if not isinstance(batch, list) else tuple(batch))


def is_dataset(x):
    """Something to iterate over that is neither an array nor a structure of arrays."""
    is_data = isinstance(x, (dict, list, tuple)) or hasattr(x, "shape") or hasattr(x, "to_numpy")
    return hasattr(x, "__iter__") and not is_data

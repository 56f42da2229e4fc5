"""Every check of an argument, a shape or a label, and every error message.

A message says what was passed, what was expected and what to do. Where Keras has an error for the case, its key phrase
is part of ours.
"""

import math
import numbers
from typing import Any

import keras
import numpy as np
from keras import ops

from . import _backend

HALF_PRECISION = ("float16", "bfloat16")

# -------------------------------------------------------------------------------------------------------- arguments


def flag(name, value):
    """A bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"`{name}` must be True or False. Received: {name}={value!r} of type {type(value).__name__}.")
    return bool(value)


def number(name, value, low=-math.inf, high=math.inf, *, open_low=False, open_high=False):
    """A finite float between two bounds."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        value = _zero_dim_number(name, value)
    value = float(value)
    inside = (value > low if open_low else value >= low) and (value < high if open_high else value <= high)
    if not (math.isfinite(value) and inside):
        bounds = f"{'above' if open_low else 'at least'} {low:g}" if math.isfinite(low) else ""
        if math.isfinite(high):
            bounds += f"{' and ' if bounds else ''}{'below' if open_high else 'at most'} {high:g}"
        raise ValueError(f"`{name}` must be a finite number{', ' + bounds if bounds else ''}. Received: {name}={value}.")
    return value


def _zero_dim_number(name, value):
    """The number in a NumPy scalar array, or a `TypeError`."""
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "fiu":
        return float(value)
    raise TypeError(f"`{name}` must be a number. Received: {name}={value!r} of type {type(value).__name__}.")


def choice(name, value, allowed):
    """One of a few strings (or None, where that is among them)."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"`{name}` must be one of {_listed(allowed)}. Received: {name}={value!r} of type {type(value).__name__}.")
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {_listed(allowed)}. Received: {name}={value!r}.")
    return value


def class_axis(value):
    """The class axis: an int."""
    if isinstance(value, (bool, np.bool_)):  # Keras raises ValueError here, and only here
        raise ValueError(f"`axis` must be of type `int`. Received: axis={value} of type {type(value)}")
    if not isinstance(value, numbers.Integral):
        raise TypeError(f"`axis` must be of type `int`. Received: axis={value!r} of type {type(value).__name__}.")
    return int(value)


def mean_axis(value):
    """The axes of a mean: an int, several ints, () for none or None for all."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return tuple(class_axis(axis) for axis in value)
    return class_axis(value)


def optional_epsilon(value):
    """Where probabilities are clipped: None (Keras's) or a number."""
    return None if value is None else number("epsilon", value, 0.0, 0.5, open_low=True, open_high=True)


def class_ids(name, value):
    """None, or a list of class ids out of an int or a collection of ints."""
    if value is None:
        return None
    several = isinstance(value, (list, tuple, set, frozenset, range)) or (isinstance(value, np.ndarray) and value.ndim)
    ids: list[Any] = [value]
    if several:
        ids = list(value)
    for class_id in ids:
        if isinstance(class_id, (bool, np.bool_)) or not isinstance(class_id, numbers.Integral):
            raise TypeError(
                f"`{name}` must be an int or a collection of ints. "
                f"Received: {name}={value!r}, in which {class_id!r} is of type {type(class_id).__name__}."
            )
        if abs(int(class_id)) >= 2**31:
            raise ValueError(f"`{name}` must hold class ids of 32 bits. Received: {name}={value!r}.")
    if isinstance(value, (set, frozenset)):
        ids = sorted(ids)
    return [int(class_id) for class_id in ids] if several else int(ids[0])


def class_weight(value):
    """None, a list with one weight per class, or (from a mapping) a list of [class id, weight] pairs."""
    if value is None:
        return None
    named = [[key, value[key]] for key in value] if hasattr(value, "items") else value
    if np.size(named) == 0:
        raise ValueError("`class_weight` is empty; name at least one class, or pass None.")
    array = np.asarray(named) if _kind(named) in "fiu" else np.asarray("not numbers")
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"`class_weight` must map class ids to numbers or hold one number per class. Received: class_weight={value!r}."
        )
    pairs = array.ndim == 2 and array.shape[1] == 2 and not (array[:, 0] % 1).any() and (array[:, 0] >= 0).all()
    if not (pairs or (array.ndim == 1 and array.size)):
        raise ValueError(
            "`class_weight` must be a mapping from class ids (integers from 0) to weights, or a vector with one weight "
            f"per class. Received: class_weight={value!r}."
        )
    weights = array[:, 1] if pairs else array
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(f"`class_weight` must hold finite weights of at least 0. Received: class_weight={value!r}.")
    if pairs:
        return sorted([int(class_id), float(weight)] for class_id, weight in array)
    return [float(weight) for weight in array]


def pos_weight(value):
    """None, a number, or a list with one number per output."""
    if value is None:
        return None
    if np.ndim(value) == 0:
        return number("pos_weight", value, 0.0)
    if _kind(value) not in "biuf" or np.ndim(value) != 1 or not np.size(value):
        raise ValueError(
            "`pos_weight` must be a number, or a vector with one number per output (the last axis of `y_pred`). "
            f"Received: pos_weight={value!r}."
        )
    return [number("pos_weight", element, 0.0) for element in np.asarray(value).tolist()]


def _listed(allowed):
    return ", ".join(repr(item) for item in allowed)


# ----------------------------------------------------------------------------------------------------------- shapes


def resolve_axis(axis, y_pred):
    """`axis` counted from the front."""
    rank = len(y_pred.shape)
    if rank == 0:
        raise ValueError("`y_pred` is a scalar; expected at least one axis, that of the classes or outputs.")
    if not -rank <= axis < rank:
        raise ValueError(
            f"`axis` is out of range: y_pred.shape={tuple(y_pred.shape)} has {rank} axes, so axis must lie between "
            f"{-rank} and {rank - 1}. Received: axis={axis}."
        )
    return axis % rank


def resolve_mean_axis(axis, y_pred):
    """`axis` of a mean, counted from the front: an int, a tuple, () or None."""
    if axis is None:
        return None
    if isinstance(axis, tuple):
        resolved = tuple(sorted(resolve_axis(one, y_pred) for one in axis))
        if len(set(resolved)) != len(resolved):
            raise ValueError(f"`axis` names an axis twice. Received: axis={axis}.")
        return resolved
    return resolve_axis(axis, y_pred)


def several_classes(y_pred, axis, name="y_pred"):
    """A class axis with at least two classes."""
    if len(y_pred.shape) == 0 or y_pred.shape[axis] in (0, 1):
        raise ValueError(
            f"{name}.shape={tuple(y_pred.shape)} has {y_pred.shape[axis]} class along axis {axis}; expected num_classes > 1: "
            "one class leaves nothing to tell apart. Consider using `BinaryCrossentropy` on a single sigmoid output, give "
            "the last layer one unit per class, or say with `axis` where the classes are."
        )


def same_shape(y_true, y_pred, hint=""):
    """Two tensors of one shape."""
    if not shapes_agree(y_true.shape, y_pred.shape):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape (and so the same rank (ndim)). "
            f"Received: y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}.{hint}"
        )


def drop_singleton_axis(y_true, y_pred):
    """Keras's rule for ranks that differ by a last axis of size 1: rank 1 is given one, elsewhere it is dropped."""
    for_true = len(y_true.shape) - len(y_pred.shape)
    longer, shorter = (y_true, y_pred) if for_true > 0 else (y_pred, y_true)
    if abs(for_true) == 1 and longer.shape[-1] == 1:
        if len(shorter.shape) == 1:
            shorter = ops.expand_dims(shorter, -1)
        else:
            longer = ops.squeeze(longer, -1)
    return (longer, shorter) if for_true > 0 else (shorter, longer)


def one_label_per_row(labels, y_pred, axis):
    """Labels of `y_pred`'s shape without the class axis; an axis of size 1, where `axis` is or last, is dropped."""
    wanted = tuple(y_pred.shape[:axis]) + tuple(y_pred.shape[axis + 1 :])
    if len(labels.shape) == len(y_pred.shape):
        for singleton in (axis, len(labels.shape) - 1):
            rest = tuple(labels.shape[:singleton]) + tuple(labels.shape[singleton + 1 :])
            if labels.shape[singleton] == 1 and shapes_agree(rest, wanted):
                return ops.squeeze(labels, axis=singleton)
    if not shapes_agree(labels.shape, wanted):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape up until the last dimension (without the class axis, "
            f"{axis}): expected one class id per position, y_true.shape={wanted} or an additional axis of size 1. Received: "
            f"y_true.shape={tuple(labels.shape)}, y_pred.shape={tuple(y_pred.shape)}. One-hot or soft targets go to "
            "`CategoricalCrossentropy`."
        )
    return labels


def leading_axes(name, array, losses_shape):
    """Shapes weights or a mask to broadcast over the losses: leading axes equal or 1, trailing ones missing or 1."""
    shape, rank = tuple(array.shape), len(losses_shape)
    fits = all(size in (1, None) or wanted in (size, None) for size, wanted in zip(shape, losses_shape, strict=False))
    if not fits or any(size != 1 for size in shape[rank:]):
        raise ValueError(
            f"`{name}` must align with the leading axes of the per-example losses: each of its axes equals theirs or is 1, "
            f"trailing axes may be left out. Received: {name} of shape {shape} for losses of shape {tuple(losses_shape)}. "
            "To weigh positions along a later axis, give it axes of size 1 in front, as in `weights[None, :]`."
        )
    if len(shape) > rank:
        return ops.squeeze(array, axis=tuple(range(rank, len(shape))))
    return ops.expand_dims(array, axis=tuple(range(len(shape), rank))) if shape and len(shape) < rank else array


def class_weights_per_class(weights, num_classes):
    """One weight per class, as a NumPy vector, out of what `class_weight` made."""
    if num_classes is None:
        raise ValueError("`class_weight` needs to know the number of classes, but the class axis of `y_pred` has no static size.")
    if isinstance(weights[0], list):
        beyond = [class_id for class_id, _ in weights if class_id >= num_classes]
        if beyond:
            raise ValueError(
                f"`class_weight` names class {beyond[0]}, but `y_pred` has {num_classes} classes (0 to {num_classes - 1})."
            )
        vector = np.ones(num_classes)
        for class_id, weight in weights:
            vector[class_id] = weight
        return vector
    if len(weights) != num_classes:
        raise ValueError(
            f"`class_weight` holds {len(weights)} weights, but `y_pred` has {num_classes} classes. Pass one weight per class, or "
            "a mapping from class id to weight, in which classes left out weigh 1."
        )
    return np.asarray(weights)


def pos_weight_fits(weights, y_pred):
    """As many positive weights as outputs."""
    if isinstance(weights, list) and y_pred.shape[-1] not in (None, len(weights)):
        raise ValueError(
            f"`pos_weight` holds {len(weights)} numbers, but the last axis of y_pred.shape={tuple(y_pred.shape)} has "
            f"{y_pred.shape[-1]} outputs. Pass a single number or one per output."
        )


def shapes_agree(one, other):
    return len(one) == len(other) and all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))


# ----------------------------------------------------------------------------------------------------------- dtypes


def float_tensor(name, values, dtype=None, array_dtype=None):
    """A tensor of floats, in `dtype` if that is given.

    Else a tensor keeps its own float dtype; an array or list becomes `array_dtype`, and a tensor of integers too (None is
    Keras's floatx).
    """
    tensor = _tensor(name, values, dtype or array_dtype)
    kept = keras.backend.standardize_dtype(tensor.dtype)
    if dtype is None:
        dtype = kept if "float" in kept else array_dtype or keras.config.floatx()
    return tensor if kept == dtype else ops.cast(tensor, dtype)


def label_tensor(labels):
    """Class ids as a tensor that still holds every one of them: small integers widened, large ones not wrapped."""
    if not ops.is_tensor(labels) and _kind(labels) in "iu":
        labels = np.asarray(labels)
        if labels.size:
            int32 = np.iinfo("int32")  # JAX has no int64 by default and would wrap an id that is out of range into it
            labels = np.clip(labels, int32.min, int32.max).astype("int32")
    tensor = _tensor("y_true", labels)
    kept = keras.backend.standardize_dtype(tensor.dtype)
    if kept in ("bool", "int8", "uint8", "int16", "uint16"):
        return ops.cast(tensor, "int32")
    if kept in HALF_PRECISION:  # which could not hold the number of classes to compare with
        return ops.cast(tensor, "float32")
    return ops.cast(tensor, "int64") if kept in ("uint32", "uint64") else tensor


def _tensor(name, values, array_dtype=None):
    """A tensor; an array or list becomes one of `array_dtype` at once, as some backends take float64 for float32."""
    if values is None:
        raise TypeError(f"`{name}` is None; expected an array of numbers.")
    if isinstance(values, (dict, set)):
        raise TypeError(f"`{name}` must be one array of numbers. Received: a {type(values).__name__}.")
    if ops.is_tensor(values) or isinstance(values, keras.Variable):
        if not any(kind in str(values.dtype) for kind in ("string", "complex")):
            return ops.convert_to_tensor(values)
    elif not isinstance(values, (str, bytes)) and _kind(values) in "biuf":
        return ops.convert_to_tensor(values, dtype=array_dtype)
    raise _no_numbers(name, values)


def number_array(name, values):
    """A NumPy array of numbers."""
    if _kind(values) not in "biuf":
        raise _no_numbers(name, values)
    return np.asarray(values)


def _no_numbers(name, values):
    return TypeError(
        f"`{name}` must hold real numbers. Received: a {type(values).__name__} of something else. Turn class names into "
        "integer ids first, for example with `keras.layers.StringLookup`, and make ragged rows equally long."
    )


def float_dtype(dtype):
    """The dtype of a loss."""
    if "float" not in dtype:
        raise ValueError(f"`dtype` must be a float dtype, or a policy that computes in one. Received: dtype={dtype!r}.")


def _kind(values):
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


# ----------------------------------------------------------------------------------------------------------- labels


def invalid_labels(labels, num_classes, considered=None):
    """Where a label that counts is not one of the classes: a bool tensor, or None if it is known to be so nowhere.

    Raises now, naming the first such label, if labels can be read now; `considered` marks those that count.
    """
    known = _backend.read(labels)
    counted = True if considered is None else _backend.read(considered)
    classes = num_classes if isinstance(num_classes, int) else _backend.read(num_classes)
    if known is not None and counted is not None and classes is not None:
        wrong = counted & ~_valid(known, classes, np.floor)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(_invalid_label_message(known[where].item(), where, int(classes)))
        return None
    wrong = ops.logical_not(valid_labels(labels, num_classes))
    return wrong if considered is None else ops.logical_and(wrong, considered)


def exact_ids(labels, largest):
    """Class ids (or negative marks to ignore) that a float32 holds exactly, as far as they can be read now."""
    known = _backend.read(labels)
    if known is None:
        return
    wrong = ~((np.abs(known) <= largest) & (known == np.floor(known)))
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0][:-1])
        raise ValueError(
            f"`labels` must hold class ids: whole numbers up to {largest}, which float32 holds exactly. Received: "
            f"{known[wrong][0].item()} at position {where[0] if len(where) == 1 else where}."
        )


def valid_labels(labels, num_classes):
    """Where a label is a whole number from 0 to num_classes - 1."""
    return _valid(labels, ops.cast(num_classes, labels.dtype), ops.floor)


def _valid(labels, num_classes, floor):
    inside = (labels >= 0) & (labels < num_classes)
    return inside & (labels <= floor(labels)) if "float" in str(labels.dtype) else inside


def invalid_labels_message(labels, wrong, num_classes):
    """The same for a runtime error: the text, and the values that only the running program knows."""
    first = ops.take(ops.reshape(labels, (-1,)), ops.argmax(ops.reshape(wrong, (-1,))))
    return "`y_true` holds a label that is not a class id: label, number of classes", (first, num_classes)


def _invalid_label_message(label, where, num_classes):
    position = where[0] if len(where) == 1 else where
    if label != label or label % 1:
        return (
            f"`y_true` holds {label} at position {position}, which is not a class id; expected whole numbers from 0 to "
            f"{num_classes - 1}. Probabilities and other soft targets go to `CategoricalCrossentropy`."
        )
    label = int(label)
    return (
        f"`y_true` holds class {label} at position {position}, but `y_pred` has {num_classes} classes (0 to "
        f'{num_classes - 1}). To skip such positions pass `ignore_class={label}`, or `invalid_labels="ignore"` to skip every '
        "label out of range."
    )

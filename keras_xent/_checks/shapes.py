"""Axes and shapes: what has to fit what."""

import numpy as np
from keras import ops


def resolve_axis(axis, y_pred, name="y_pred"):
    """`axis` counted from the front."""
    rank = len(y_pred.shape)
    if rank == 0:
        raise ValueError(f"`{name}` is a scalar; expected at least one axis, that of the classes or outputs.")
    if not -rank <= axis < rank:
        raise ValueError(
            f"`axis` is out of range: {name}.shape={tuple(y_pred.shape)} has {rank} axes, so axis must lie between "
            f"{-rank} and {rank - 1}. Received: axis={axis}."
        )
    return axis % rank


def resolve_mean_axis(axis, y_pred):
    """`axis` of a mean, counted from the front: an int, a tuple in ascending order, () or None."""
    if axis is None:
        return None
    if isinstance(axis, tuple):
        named = [resolve_axis(one, y_pred) for one in axis]
        # not by `sorted` and `set`, which know nothing of the symbols that axes are under `torch.compile(dynamic=True)`
        resolved = tuple(place for place in range(len(y_pred.shape)) if any(place == one for one in named))
        if len(resolved) != len(named):
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


def drop_singleton_axis(y_true, y_pred, axes):
    """Keras's rule for ranks that differ by a last axis of size 1: rank 1 is given one, elsewhere it is dropped.

    The loss's `axes`, counted from the end, could then mean another axis of `y_pred` than the caller meant, but for the last.
    """
    true_rank, pred_rank = len(y_true.shape), len(y_pred.shape)
    if true_rank == pred_rank + 1 and y_true.shape[-1] == 1:
        y_pred, y_true = _of_one_rank(y_pred, y_true)
    elif pred_rank == true_rank + 1 and y_pred.shape[-1] == 1:
        y_true, y_pred = _of_one_rank(y_true, y_pred)
    several = axes if isinstance(axes, tuple) else () if axes is None else (axes,)
    if any(axis < -1 for axis in several) and len(y_pred.shape) != pred_rank:
        raise ValueError(
            f"axis={axes} is ambiguous, as `y_pred` of rank {pred_rank} and `y_true` of rank {true_rank} differ by a last axis "
            "of size 1. Give both the same shape, or count the axis from the front."
        )
    return y_true, y_pred


def _of_one_rank(shorter, longer):
    """Two tensors, the longer of which has a last axis of size 1 more than the other."""
    if len(shorter.shape) == 1:
        return ops.expand_dims(shorter, -1), longer
    return shorter, ops.squeeze(longer, -1)


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
            "`CategoricalCrossentropy` or `CategoricalFocalCrossentropy`."
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
            f"One number per position of a later axis needs axes of size 1 in front, as in `{name}[None, :]`."
        )
    if len(shape) > rank:
        return ops.squeeze(array, axis=tuple(range(rank, len(shape))))
    return ops.expand_dims(array, axis=tuple(range(len(shape), rank))) if shape and len(shape) < rank else array


def one_per_class(name, values, y_pred, axis, each="class"):
    """A list with as many numbers as there are classes (or outputs) along `axis`."""
    axis = resolve_axis(axis, y_pred)
    size = known_size(name, y_pred, axis)
    if len(values) != size:
        raise ValueError(
            f"`{name}` holds {len(values)} numbers, but y_pred.shape={tuple(y_pred.shape)} has size {size} along axis {axis}. "
            f"Pass one number per {each}{MAPPING if name == 'class_weight' else ', or a single one for all'}."
        )


MAPPING = ", or a mapping from class id to weight, in which classes left out weigh 1"


def known_size(name, y_pred, axis):
    """The static size of an axis that an argument has one number for."""
    if y_pred.shape[axis] is None:
        raise ValueError(
            f"`{name}` needs to know the size of axis {axis} of `y_pred`, which is not static: "
            f"y_pred.shape={tuple(y_pred.shape)}. Set it, for example with `keras.ops.reshape`."
        )
    return y_pred.shape[axis]


def class_weights_per_class(weights, y_pred, axis):
    """One weight per class, as a NumPy vector, out of what `class_weight` made."""
    if not isinstance(weights[0], list):
        one_per_class("class_weight", weights, y_pred, axis)
        return np.asarray(weights)
    num_classes = known_size("class_weight", y_pred, axis)
    beyond = [class_id for class_id, _ in weights if class_id >= num_classes]
    if beyond:
        raise ValueError(
            f"`class_weight` names class {beyond[0]}, but `y_pred` has {num_classes} classes (0 to {num_classes - 1})."
        )
    vector = np.ones(num_classes)
    for class_id, weight in weights:
        vector[class_id] = weight
    return vector


def shapes_agree(one, other):
    return len(one) == len(other) and all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))

"""What `y_true` holds for a student: its shape, what is taken out of it, and what stands in for positions that do not count."""

from keras import ops

from .. import _checks
from .._reduction import blank
from ..steps.tensors import FAR_BELOW, move_axis
from .packing import unpack_targets, width_of


def split_targets(y_true, y_pred, axis, options):
    """The teacher's numbers and the hard labels or None.

    The teacher's have their class axis where `y_pred` has it, or are pairs of a top-k along the last two axes.
    """
    _checks.several_classes(y_pred, axis)
    check_shape(y_true, y_pred, axis, options)
    labels = options["labels"]
    if labels is None:
        return y_true, None
    soft, hard = unpack_targets(y_true, labels, ops.shape(y_pred)[axis])
    last = len(y_true.shape) - 1
    hard = move_axis(hard, last, axis) if labels == "dense" else hard
    if options["targets"] == "top_k":
        return ops.reshape(soft, (*ops.shape(soft)[:-1], -1, 2)), hard
    return move_axis(soft, last, axis), hard


def check_shape(y_true, y_pred, axis, options):
    """`y_true` fits `y_pred`, and holds as many of the teacher's numbers as it should, as far as shapes are static."""
    rows, num_classes = tuple(y_pred.shape[:axis]) + tuple(y_pred.shape[axis + 1 :]), y_pred.shape[axis]
    heard = options["teacher_classes"]
    if None not in (heard, num_classes) and heard > num_classes:
        raise ValueError(
            f"teacher_classes={heard} is more than the {num_classes} classes along axis {axis} of "
            f"y_pred.shape={tuple(y_pred.shape)}."
        )
    given_rows, numbers = rows_and_numbers(tuple(y_true.shape), num_classes, axis, options)
    fits = given_rows is not None and _checks.shapes_agree(given_rows, rows)
    most = heard or num_classes
    if fits and numbers is not None and most is not None:
        if options["targets"] == "top_k":
            fits = 1 <= numbers <= most
        else:
            fits = numbers == num_classes if heard is None else numbers >= heard
    if not fits:
        raise ValueError(
            f"{expectation(options, rows, num_classes)} Received: y_true.shape={tuple(y_true.shape)}, "
            f"y_pred.shape={tuple(y_pred.shape)}, axis={axis}, targets={options['targets']!r}, labels={options['labels']!r}, "
            f"teacher_classes={heard}."
        )


def fits_when_run(y_true, y_pred, axis, options):
    """What of `check_shape` is left to the running program; None for nothing."""
    sizes = ops.shape(y_pred)
    rows, wanted = ops.shape(y_true), sizes[:axis] + sizes[axis + 1 :]
    top_k, heard = options["targets"] == "top_k", options["teacher_classes"]
    if options["labels"] is not None:
        *rows, numbers = rows
        teacher_width = sizes[axis] if heard is None and not top_k else None
        width = None if teacher_width is None else teacher_width + width_of(options["labels"], sizes[axis])
    elif top_k:
        *rows, _, numbers = rows
        width = 2
    else:
        numbers, width = rows[axis], sizes[axis] if heard is None else None
        rows = rows[:axis] + rows[axis + 1 :]
    more = ([], []) if width is None else ([numbers], [width])
    return _checks.same_sizes([*rows, *more[0]], [*wanted, *more[1]])


def rows_and_numbers(shape, num_classes, axis, options):
    """The shape of `y_true` without the teacher's numbers, and how many there are in each row: classes, or pairs of a top-k.

    None for what is not known, and for rows that cannot be told from the rest.
    """
    top_k = options["targets"] == "top_k"
    if options["labels"] is not None:
        width = width_of(options["labels"], num_classes)
        numbers = None if not shape or None in (shape[-1], width) else shape[-1] - width
        if top_k and numbers is not None:
            numbers = numbers // 2 if numbers % 2 == 0 else 0  # no number of pairs
        return shape[:-1], numbers
    if top_k:
        return (shape[:-2], shape[-2]) if len(shape) > 1 and shape[-1] in (2, None) else (None, None)
    return (shape[:axis] + shape[axis + 1 :], shape[axis]) if len(shape) > axis else (None, None)


def expectation(options, rows, num_classes):
    """What the shape of `y_true` should have been."""
    heard, labels, top_k = options["teacher_classes"], options["labels"], options["targets"] == "top_k"
    classes, most = num_classes if heard is None else f"{heard} or more", heard or num_classes
    if labels is not None:
        numbers = f"2 k numbers, with k at most {most}," if top_k else f"{classes} numbers"
        return (
            f"With labels={labels!r}, `y_true` and `y_pred` must have the same shape but for the class axis, which "
            f"`keras_xent.pack_targets` puts last: {numbers} of the teacher and {width_of(labels, num_classes)} of the label "
            f"behind the rows {rows}."
        )
    if top_k:
        return (
            f"A top-k must hold pairs of a class id and a log-probability, y_true.shape={(*rows, 'k', 2)} with k at most {most}, "
            "as `keras_xent.distill.top_k_targets` returns them."
        )
    return (
        f"`y_true` and `y_pred` must have the same shape{'' if heard is None else f', but for {classes} classes'}. For hard "
        "labels in `y_true`, see `keras_xent.pack_targets` and `labels`; for a teacher with other classes, `teacher_classes`."
    )


def hear(values, axis, teacher_classes):
    """The first `teacher_classes` classes."""
    if teacher_classes is None or values.shape[axis] == teacher_classes:
        return values
    return values[(*[slice(None)] * axis, slice(teacher_classes))]


def target_axes(y_true, axes, options):
    """The axes of `y_true` that its losses no longer have."""
    last = len(y_true.shape) - 1
    if options["labels"] is not None:
        return (last,)
    return (last - 1, last) if options["targets"] == "top_k" else axes


def blank_soft(soft, kept, axis, options):
    """The teacher's numbers, with harmless ones where a position does not count; a top-k lists no class there."""
    if options["targets"] != "top_k":
        return blank(soft, kept, (axis,))
    return ops.where(kept[..., None, None] if len(kept.shape) else kept, soft, FAR_BELOW)


def blank_targets(y_true, kept, axes, options, num_classes):
    """The same of all that `y_true` holds."""
    if options["targets"] != "top_k":
        return blank(y_true, kept, target_axes(y_true, axes, options))
    if options["labels"] is None:
        return blank_soft(y_true, kept, axes[0], options)
    width = width_of(options["labels"], num_classes)
    label, teacher = ops.ones_like(y_true[..., -width:]), FAR_BELOW * ops.ones_like(y_true[..., :-width])
    return ops.where(kept[..., None] if len(kept.shape) else kept, y_true, ops.concatenate([teacher, label], axis=-1))

"""The targets, against what the loss takes them for."""

import keras
import numpy as np

from .meaning import ANSWERS, CLASS_IDS, DISTRIBUTIONS, TEACHER
from .situation import share, short

LARGEST = {"bfloat16": 2**8, "float16": 2**11, "float32": 2**24}  # up to which every whole number is there


def not_finite(situation):
    """NaN and infinity in what is given beside the inputs; a teacher may rule classes out, by a logit of -inf."""
    given, weights = situation.y_true, situation.weights
    if situation.ids is not None:
        given = situation.ids[situation.counts]
    elif situation.all_targets is not None:
        given = situation.all_targets
    wrong = {"y_true": np.isnan(given) | (given == np.inf)}
    if situation.meaning.kind != TEACHER:
        wrong["y_true"] |= given == -np.inf
    if weights is not None:
        wrong["sample_weight"] = ~np.isfinite(weights)
    for name, places in wrong.items():
        if places.any():
            yield situation.found(
                "non-finite-data",
                f"{share(places)} numbers of {name} are NaN or infinite, and so is the loss.",
                "Look for what is missing where the data come from; leave such examples out, or mask them with a weight of 0."
                if name == "y_true"
                else "Pass a finite weight for each example: 0 leaves one out.",
            )


def shape(situation):
    """Targets of another kind than those of the loss."""
    meaning, y_true, y_pred = situation.meaning, situation.y_true, situation.y_pred
    if meaning.kind == TEACHER:  # whose loss checks this itself
        return
    shapes = f"y_true has shape {y_true.shape}, y_pred {y_pred.shape}"
    if meaning.kind == CLASS_IDS:
        if situation.num_classes > 1 and situation.has_class_axis:
            yield situation.found(
                "onehot-with-sparse",
                f"{shapes}: there is one number per class, where {meaning.name} takes one class id per row.",
                f"Use `CategoricalCrossentropy`, or pass class ids: `y.argmax({situation.axis})`.",
            )
        elif pairs_all(situation):
            yield situation.found(
                "shapes-differ",
                f"{shapes}: Keras's {meaning.name} compares every label with every row.",
                "Pass `y_true[..., 0]`, or use `keras_xent`'s loss of that name.",
            )
        elif situation.num_classes > 1 and not situation.has_ids:
            yield situation.found(
                "shapes-differ", f"{shapes}.", f"Pass one class id per row: {(len(y_true), *situation.losses_shape[1:])}."
            )
    elif meaning.kind == DISTRIBUTIONS and not situation.has_class_axis:
        if situation.has_ids:
            whole = f", with whole numbers from {short(y_true.min())} to {short(y_true.max())}" if is_whole(y_true) else ""
            yield situation.found(
                "integers-with-dense",
                f"{shapes}{whole}: that is one number per row, where {meaning.name} takes one per class.",
                "Use `SparseCategoricalCrossentropy`, or one-hot targets: `keras.ops.one_hot(y, num_classes)`.",
            )
        else:
            yield situation.found("shapes-differ", f"{shapes}.", "Pass targets of the shape of the model's output.")
    elif meaning.kind == ANSWERS and squeezed(y_true.shape[1:]) != squeezed(y_pred.shape[1:]):
        ids = y_true.shape[1:] == y_pred.shape[1:-1] or y_true.shape[1:] == (*y_pred.shape[1:-1], 1)
        if ids and is_whole(y_true) and y_true.max() > 1:
            yield situation.found(
                "integers-with-dense",
                f"{shapes}, with whole numbers up to {short(y_true.max())}: those are class ids, where {meaning.name} takes a "
                "yes or no for each output.",
                "For one class per row use `SparseCategoricalCrossentropy` with a softmax.",
            )
        else:
            yield situation.found("shapes-differ", f"{shapes}.", "Pass a yes or no for each output, of the shape of y_pred.")


def pairs_all(situation):
    """Whether labels have an axis of size 1 that makes a loss of Keras broadcast them."""
    keras_generalized = situation.meaning.name == "CategoricalGeneralizedCrossEntropy" and not situation.meaning.ours
    return (
        keras_generalized and situation.has_ids and situation.y_true.ndim == situation.y_pred.ndim and len(situation.y_true) > 1
    )


def squeezed(sizes):
    """A shape without last axes of size 1, which Keras adds and takes away."""
    return sizes[:-1] if sizes and sizes[-1] == 1 else sizes


def is_whole(values):
    """Whether there are numbers, and all of them are whole."""
    return bool(values.size and (values == np.floor(values)).all())


def ids(situation):
    """Class ids that are none."""
    if situation.ids is None:
        return
    labels, counts = situation.ids, situation.counts
    if labels.dtype.kind == "f":
        counts = counts & np.isfinite(labels)
        fractional = counts & (labels != np.floor(labels))
        if fractional.any():
            yield situation.found(
                "float-labels",
                f"{share(fractional)} labels are not whole numbers, the first {said_of_first(labels, fractional)}; Keras "
                "cuts off what is behind the point, and `keras_xent` refuses them.",
                "Pass class ids as integers. For soft labels use `CategoricalCrossentropy` with one number per class.",
            )
            return
    wrong = counts & ((labels < 0) | (labels >= situation.num_classes))
    if wrong.any() and situation.meaning.options["invalid_labels"] != "ignore":
        first = labels[wrong][0]
        starts_at_1 = labels[counts].min() == 1 and labels[counts].max() == situation.num_classes
        yield situation.found(
            "label-out-of-range",
            f"{share(wrong)} labels are no class id, the first {said_of_first(labels, wrong)}: y_pred has "
            f"{situation.num_classes} classes, 0 to {situation.num_classes - 1}.",
            "Labels start at 0: subtract 1."
            if starts_at_1
            else f"If such positions are to be left out, pass `ignore_class={int(first)}`; else give the last layer a unit for "
            "every class.",
        )


def said_of_first(labels, wrong):
    """The first one and where it is."""
    where = tuple(int(place) for place in np.argwhere(wrong)[0])
    return f"{short(labels[where])} at position {where[0] if len(where) == 1 else where}"


def answers(situation):
    """Targets of a binary loss that are neither yes nor no nor in between."""
    if situation.meaning.kind != ANSWERS or squeezed(situation.y_true.shape[1:]) != squeezed(situation.y_pred.shape[1:]):
        return
    targets = situation.all_targets
    if targets is None:  # shapes that differ by an axis of size 1
        rows = situation.y_true.reshape(len(situation.y_true), -1)
        counts = situation.counts.reshape(len(rows), -1)
        targets = rows[counts] if counts.shape == rows.shape else rows[counts.any(-1)]
    wrong = np.isfinite(targets) & ((targets < 0) | (targets > 1))
    if wrong.any():
        plus_minus = set(np.unique(targets).tolist()) == {-1.0, 1.0}
        yield situation.found(
            "label-out-of-range",
            f"{share(wrong)} targets lie outside of 0 (no) to 1 (yes), such as {short(targets[wrong][0])}.",
            "Map -1 and 1 to 0 and 1: `(y + 1) / 2`." if plus_minus else "Pass a 0 or a 1 for each output.",
        )


def precision(situation):
    """Class ids that are rounded to other class ids on their way."""
    meaning = situation.meaning
    if situation.ids is None:
        return
    largest = int(np.nanmax(situation.ids)) if situation.ids.size else 0
    loss_dtype = str(getattr(meaning.loss, "dtype", keras.config.floatx()))  # a function is given what `compile` casts
    if situation.true_dtype in LARGEST and situation.num_classes - 1 > LARGEST[situation.true_dtype]:
        dtype, whose, remedy = situation.true_dtype, "y_true has", "Pass class ids as integers."
    elif not meaning.ours and loss_dtype in LARGEST and largest > LARGEST[loss_dtype]:
        dtype, whose = loss_dtype, f"{meaning.name} casts labels to its own"
        remedy = "Give the loss `dtype='float32'`, or use `keras_xent`'s loss of that name, which keeps integers."
    else:
        return
    exact = LARGEST[dtype]
    yield situation.found(
        "half-precision-labels" if dtype != "float32" else "float-labels",
        f"{whose} dtype {dtype}, which holds whole numbers up to {exact:,} exactly: class {exact + 1:,} becomes {exact:,}. There "
        f"are {situation.num_classes:,} classes; the largest label here is {largest:,}.",
        remedy,
    )


def distributions(situation):
    """Rows of targets that are no distributions, or all zero."""
    meaning = situation.meaning
    targets = situation.all_targets
    if meaning.kind == DISTRIBUTIONS and targets is not None and targets.size and situation.num_classes > 1:
        if (targets < 0).any() or not np.isfinite(targets).all():
            return  # what a teacher's logits look like, or NaN: see there
        sums = targets.sum(-1)
        zero, wrong = sums == 0, ~(np.abs(sums - 1) <= (1e-3 if situation.true_dtype not in ("float16", "bfloat16") else 3e-2))
        if zero.any():
            yield situation.found(
                "zero-rows",
                f"{share(zero)} rows of y_true are all zero: they cost 0 and teach nothing, but count in the mean.",
                "Leave them out with a weight of 0 and reduction='mean_with_sample_weight', or with a mask.",
            )
        if (wrong & ~zero).any():
            yield situation.found(
                "targets-not-normalized",
                f"{share(wrong & ~zero)} rows of y_true do not sum to 1 (sums from {short(sums[~zero].min())} to "
                f"{short(sums.max())}): their gradients are longer or shorter by that much.",
                "For labels that do not exclude each other use `BinaryCrossentropy` with a sigmoid; else divide each by its sum.",
            )


CHECKS = not_finite, shape, ids, answers, precision, distributions

"""From a model, its data and its loss to one `Situation` per output and loss."""

import contextlib

import keras
import numpy as np

from .. import _backend
from ..distill.distiller import Distiller
from ..distill.keras_adapter import KerasDistillation
from ..distill.outputs import match_outputs
from ..distill.targets import split_targets
from .asking import answers, arrays, dtype_of, first, numbers, real_numbers
from .heads import head_of
from .meaning import DISTRIBUTIONS, TEACHER, Meaning, meaning_of
from .situation import Situation

MOST = 2**24  # numbers, of which copies in float64 are made
DISTILLERS = Distiller, keras.distillation.Distiller


def gather(model, x, y, loss, sample_weight, max_examples):
    """One situation per output and loss that this package knows."""
    x, y, sample_weight = arrays(x), arrays(y), arrays(sample_weight)
    looked_at = first(x, max_examples)
    is_distiller = isinstance(model, DISTILLERS)
    student = model.student if is_distiller else model
    y_pred = answers(student, looked_at)
    if y is None and not is_distiller:
        raise ValueError("There are no targets to look at: y=None. Pass `y`, or a data set that holds them as `x`.")
    outputs, names = keras.tree.flatten(y_pred), output_names(student, y_pred)
    masks = [_backend.mask_of(output) for output in outputs]
    taught = keras.tree.flatten(answers(model.teacher, looked_at)) if is_distiller else None
    common = {"x": looked_at, "model": model, "network": student, "unheard": isinstance(model, keras.distillation.Distiller)}
    losses = compiled_loss(model) if loss is None else loss
    if losses is None and not is_distiller:
        raise ValueError(
            "There is no loss to look at: the model is not compiled with one, and loss=None. Pass `loss`, as `compile` takes it."
        )
    if y is not None and losses is not None:
        given = zip(
            outputs,
            per_output(losses, y_pred, names, "loss"),
            per_output(y, y_pred, names, "y"),
            per_output(sample_weight, y_pred, names, "sample_weight"),
            strict=True,
        )
        for index, (output, its_loss, targets, weights) in enumerate(given):
            if its_loss is None or targets is None or not is_float(output):
                continue
            meaning = meaning_of(its_loss, targets, output)
            if meaning is not None:
                place = f"output {label(index, names)}" if len(outputs) > 1 else ""
                place = f"label loss{f', {place}' if place else ''}" if is_distiller else place
                teacher = numbers(taught[index]) if taught is not None and len(taught) == len(outputs) else None
                head = head_of(student, index, output.shape[-1] if output.shape else 1)
                yield from situations(place, meaning, targets, output, masks[index], weights, head=head, taught=teacher, **common)
    if is_distiller:
        yield from distilled(model, student, taught, y_pred, masks, names, common)


def situations(place, meaning, targets, output, mask, weights, **rest):
    """The situation of one loss; of packed targets two, that of the teacher and that of the labels."""
    y_pred, y_true = numbers(output), real_numbers("y", targets)
    mask = None if mask is None else numbers(mask)
    weights = None if weights is None else real_numbers("sample_weight", weights)
    if y_true.size > MOST:
        y_true, weights = y_true[: len(y_pred)], weights if weights is None or not weights.ndim else weights[: len(y_pred)]
    if mask is not None and len(mask) < len(y_true):  # the mask of the others is not known
        y_true = y_true[: len(mask)]
        weights = weights[: len(mask)] if weights is not None and weights.ndim else weights
    behind = keras.backend.backend() == "tensorflow" and hasattr(output, "_keras_logits") and not meaning.ours
    rest |= {"mask": mask, "weights": weights, "behind": behind}
    true_dtype, pred_dtype = dtype_of(targets), dtype_of(output)
    if meaning.kind == TEACHER and meaning.options.get("labels") is not None:
        y_true = y_true[: len(y_pred)].astype("float32")
        axis = meaning.options["axis"] % y_pred.ndim
        try:
            soft, hard = split_targets(y_true, y_pred, axis, meaning.options)
        except ValueError:  # which the loss says better
            return
        name = "SparseCategoricalCrossentropy" if meaning.options["labels"] == "sparse" else "CategoricalCrossentropy"
        own = Meaning(name, meaning.loss, True, meaning.options | {"invalid_labels": "error"})
        weights = weights[: len(y_pred)] if weights is not None and weights.ndim else weights
        rest["weights"] = weights
        where = f"{place}, labels" if place else "packed labels"
        yield Situation(where, own, numbers(hard), true_dtype, y_pred, pred_dtype, packed=True, **rest)
        y_true = numbers(soft)
    yield Situation(place, meaning, y_true, true_dtype, y_pred, pred_dtype, **rest)


def distilled(model, student, taught, y_pred, masks, names, common):
    """The situations between teacher and student."""
    outputs, paths = keras.tree.flatten(y_pred), [path for path, _ in keras.tree.flatten_with_path(y_pred)]
    if len(taught) != len(outputs):
        return
    teacher_outputs = keras.tree.pack_sequence_as(y_pred, taught)
    for loss in [model.distillation_loss] if isinstance(model, Distiller) else distillation_losses(model):
        adapted = isinstance(loss, KerasDistillation)
        if isinstance(model, Distiller) or adapted:
            matched = match_outputs(loss.loss if adapted else loss, teacher_outputs, y_pred)
            pairs = [(paths.index(path), its_loss) for path, its_loss, _, _ in matched]
        else:
            pairs = enumerate(per_output(loss.loss, y_pred, names, "loss"))
        for index, its_loss in pairs:
            output, its_taught = outputs[index], taught[index]
            meaning = None if its_loss is None else distilled_meaning(model, loss, its_loss, its_taught, output)
            if meaning is None:
                continue
            place = "distillation loss" + (f", output {label(index, names)}" if len(outputs) > 1 else "")
            head = head_of(student, index, output.shape[-1] if output.shape else 1)
            yield from situations(place, meaning, its_taught, output, masks[index], None, head=head, live=True, **common)


def distilled_meaning(model, distillation, loss, taught, output):
    """What a loss between teacher and student takes them for; None for what compares features, or is not known."""
    if isinstance(distillation, keras.distillation.LogitsDistillation):
        options = {"axis": -1, "temperature": float(distillation.temperature), "keras": True, "targets": "logits"}
        if isinstance(loss, keras.losses.KLDivergence):
            return Meaning("DistillationLoss", loss, False, meaning_options(options | {"from_logits": True}))
        meaning = meaning_of(loss, taught, output)
        if meaning is None or meaning.kind != DISTRIBUTIONS:
            return None
        options |= {"targets": "probs", "from_logits": meaning.from_logits}
        return Meaning("DistillationLoss", meaning.loss, False, meaning_options(options))
    temperature = getattr(model, "temperature", None)
    if isinstance(temperature, (int, float)):
        loss = loss._with(temperature=float(temperature))
    return meaning_of(loss, taught, output)


def meaning_options(options):
    """With what a loss inside of Keras's distiller leaves open."""
    return {"ignore_class": None, "invalid_labels": "error", "saturated_gradient": "zero"} | options


def distillation_losses(model):
    """Those of Keras's distiller that compare outputs, unless the labels are all that counts."""
    if model.student_loss_weight >= 1.0:
        return []
    kinds = keras.distillation.LogitsDistillation, KerasDistillation
    return [loss for loss in model.distillation_losses if isinstance(loss, kinds)]


def compiled_loss(model):
    """What `compile` was given; Keras's distiller keeps it under a name of its own."""
    loss = getattr(model, "loss", None)
    return getattr(model, "_student_loss", None) if loss is None else loss


def per_output(given, y_pred, names, what):
    """For each output what belongs to it: one for all, or by name, or in order."""
    outputs = keras.tree.flatten(y_pred)
    if isinstance(given, dict) and "class_name" not in given:
        if len(names) == len(outputs):
            unknown = [key for key in given if key not in names]
            if unknown:
                raise ValueError(f"`{what}` has no output {unknown[0]!r} to belong to; expected some of {names}.")
            return [given.get(name) for name in names]
    elif not isinstance(given, (list, tuple)):
        if what == "y" and len(outputs) > 1:
            raise ValueError(f"`y` is one array for a model with {len(outputs)} outputs; expected one for each of them.")
        return [given] * len(outputs)
    flat = keras.tree.flatten(given)
    if len(flat) != len(outputs):
        raise ValueError(f"`{what}` holds {len(flat)} values for a model with {len(outputs)} outputs; expected one for each.")
    return flat


def output_names(model, y_pred):
    """The names by which losses and targets may be given, in the order of the outputs."""
    if isinstance(y_pred, dict):
        return [path[0] for path, _ in keras.tree.flatten_with_path(y_pred)]
    return list(getattr(model, "output_names", None) or [])


def label(index, names):
    """What an output is called."""
    return repr(names[index]) if index < len(names) else f"number {index}"


def is_float(output):
    """Whether it holds the numbers that a loss can take."""
    return keras.ops.is_tensor(output) and "float" in keras.backend.standardize_dtype(output.dtype)


def number_of(structure):
    """How many examples there are; None where that differs, or cannot be told."""
    with contextlib.suppress(TypeError, IndexError, AttributeError):
        sizes = {np.shape(leaf)[0] for leaf in keras.tree.flatten(structure) if leaf is not None}
        return sizes.pop() if len(sizes) == 1 else None

"""The outputs of a teacher and of its student: which belong together, which loss compares them, and whether it can."""

import keras
from keras import ops

from .loss import DistillationLoss


def check_losses(losses):
    """One distillation loss, or a structure of them and None."""
    places = by_place(losses)
    for place, loss in places.items():
        if loss is None:
            continue
        if not isinstance(loss, DistillationLoss):
            raise ValueError(
                "`distillation_loss` must be a keras_xent.DistillationLoss, or dicts and lists like the outputs of the student "
                f"that hold one or None for each. Received: {loss!r} of type {type(loss).__name__}{named(place)}."
            )
        if loss.label_weight != 0.0 or loss.labels is not None:
            raise ValueError(
                "`distillation_loss` must have label_weight=0 and labels=None: the labels are those of the `Distiller`, "
                f"weighed by its own `label_weight`. Received: label_weight={loss.label_weight}, labels={loss.labels!r}"
                f"{named(place)}."
            )
        if loss.reduction in (None, "none"):
            raise ValueError(
                f"`distillation_loss` must reduce to one number. Received: reduction={loss.reduction!r}{named(place)}."
            )
    if all(loss is None for loss in places.values()):
        raise ValueError(f"`distillation_loss` must hold a loss for at least one output. Received: {losses!r}.")


def check_outputs(losses, teacher, student):
    """Outputs that fit each other and the losses, as far as it can be seen without calling the models."""
    outputs = [symbolic_outputs(model) for model in (teacher, student)]
    if any(output is None for output in outputs):
        return
    for place, loss, taught, predicted in match_outputs(losses, *outputs):
        comparison = Comparison(loss)
        pair = (keras.KerasTensor(filled(*both), both[0].dtype) for both in ((taught, predicted), (predicted, taught)))
        try:
            comparison.compute_output_spec(*pair)
        except ValueError as error:  # Keras wraps it in advice on writing operations
            raise misfit(comparison.error or error, loss, taught, predicted, place) from None


class Comparison(keras.Operation):
    """What a loss says to the shapes of its arguments, without computing it."""

    def __init__(self, loss):
        super().__init__()
        self.loss, self.error = loss, None

    def call(self, taught, predicted):
        """The loss."""
        try:
            return self.loss(taught, predicted)
        except ValueError as error:
            self.error = error
            raise


def compare(loss, taught, predicted, place, weights=None):
    """The loss of one output."""
    try:
        return loss(taught, predicted, weights)
    except ValueError as error:
        raise misfit(error, loss, taught, predicted, place) from error


def misfit(error, loss, taught, predicted, place):
    """The error of a loss, said of a teacher and a student."""
    return ValueError(
        f"{loss.name!r} cannot compare the teacher's output of shape {tuple(taught.shape)} with the student's of shape "
        f"{tuple(predicted.shape)}{named(place)}: {error} (There, `y_true` is the teacher's output.)"
    )


def symbolic_outputs(model):
    """The outputs of a model as it was defined; None where only calling it would tell."""
    outputs = getattr(model, "outputs", None)
    if outputs is None or not isinstance(model, keras.Sequential):
        return None if outputs is None else model.output
    return outputs[0] if len(outputs) == 1 else None


def filled(tensor, other):
    """The shape of a tensor, in which sizes left open are those of the other; 2 if neither says."""
    others = [*other.shape, *[None] * len(tensor.shape)]
    return tuple(size or another or 2 for size, another in zip(tensor.shape, others, strict=False))


def match_outputs(losses, teacher_outputs, student_outputs):
    """For each output that has a loss: its place, the loss, the teacher's tensor and the student's."""
    taught, predicted = by_place(teacher_outputs), by_place(student_outputs)
    if taught.keys() != predicted.keys() or not all(is_tensor(output) for output in taught.values()):
        raise ValueError(
            "The teacher must return one tensor per output of the student, in the same structure. Received: teacher outputs "
            f"{shapes(teacher_outputs)}, student outputs {shapes(student_outputs)}."
        )
    losses_by_place = by_place(losses)
    if () in losses_by_place:  # one for all
        losses_by_place = dict.fromkeys(predicted, losses)
    if losses_by_place.keys() != predicted.keys():
        raise ValueError(
            "`distillation_loss` must have the structure of the student's outputs, with None for an output without one. "
            f"Received: losses {losses!r}, student outputs {shapes(student_outputs)}."
        )
    return [(place, losses_by_place[place], taught[place], predicted[place]) for place in predicted if losses_by_place[place]]


def is_tensor(output):
    """Whether it is a tensor, symbolic or not."""
    return ops.is_tensor(output) or isinstance(output, keras.KerasTensor)


def by_place(structure):
    """The leaves of a structure by their paths, in which a list and a tuple are the same."""
    return dict(keras.tree.flatten_with_path(structure))


def weights_of(sample_weight, place, y_pred):
    """The sample weights of one output."""
    weights = by_place(sample_weight)
    if () in weights:
        return sample_weight
    if not weights.keys() <= by_place(y_pred).keys():
        raise ValueError(
            "`sample_weight` must be one tensor for all outputs, or have the structure of the student's outputs, of which some "
            "may be left out. Received: "
            f"sample_weight {shapes(sample_weight)}, student outputs {shapes(y_pred)}."
        )
    return weights.get(place)


def shapes(structure):
    """The shapes in a structure, for messages."""
    return keras.tree.map_structure(
        lambda leaf: tuple(leaf.shape) if hasattr(leaf, "shape") else f"{leaf!r} of type {type(leaf).__name__}", structure
    )


def named(place):
    """Which output it is, for messages."""
    return f" (output {'/'.join(str(key) for key in place)!r})" if place else ""

"""The distillation loss inside Keras's own distiller."""

from typing import Any

import keras

from .._base import register
from .outputs import check_losses, check_outputs, compare, match_outputs


@register
class KerasDistillation(keras.distillation.DistillationLoss):
    """A `DistillationLoss` for `keras.distillation.Distiller(distillation_losses=...)`.

    loss = Σ_o loss_o over the outputs o that have a loss, in nats.

    Args:
        loss: A `DistillationLoss` with `label_weight=0` and `labels=None`, for every output; or dicts and lists of them like
            the outputs, with None for an output without one.

    Returns:
        From `compute_loss(teacher_outputs, student_outputs)`: a scalar.

    Raises:
        ValueError: A `loss` of the wrong kind; outputs of teacher and student that do not fit each other or the losses.

    Differs from Keras:
        Against `keras.distillation.LogitsDistillation`:

        1. The loss is that of the definition, softmax and T² included.

        What `keras.distillation.Distiller` does around the loss stays as it is: it ignores sample weights, class weights and
        masks, drops regularisers and `add_loss`, runs the teacher in `evaluate` too, and asks for equal shapes and dtypes.
        `keras_xent.distill.Distiller` does not.

    Example:
        >>> loss = keras_xent.DistillationLoss(temperature=3.0, targets="logits")
        >>> adapter = keras_xent.distill.KerasDistillation(loss)
        >>> teacher, student = keras.ops.array([[1.0, -2.0, 3.0, 0.5]]), keras.ops.array([[0.2, -1.0, 1.0, 0.1]])
        >>> round(float(adapter.compute_loss(teacher, student)), 5)
        0.47697

    Source:
        The interface: https://keras.io/api/distillation/
    """

    teacher_layer_name = None  # Keras reads these: None is the model's output
    student_layer_name = None

    def __init__(self, loss: Any) -> None:
        check_losses(loss)
        self.loss = loss

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """The sum of the losses of all outputs; Keras documents no keyword that it would have to look at."""
        del kwargs
        matched = match_outputs(self.loss, teacher_outputs, student_outputs)
        return sum(compare(loss, taught, predicted, place) for place, loss, taught, predicted in matched)

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Raises a `ValueError` unless there is one tensor of the teacher per output of the student, and a loss or None."""
        match_outputs(self.loss, teacher_outputs, student_outputs)

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """Raises a `ValueError` if it can be seen without calling the models that their outputs do not fit."""
        check_outputs(self.loss, teacher, student)

    def get_config(self) -> dict[str, Any]:
        """All arguments."""
        return {"loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config):
        """The adapter that `get_config` describes."""
        return cls(keras.saving.deserialize_keras_object(config["loss"]))

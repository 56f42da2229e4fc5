"""A model that trains a student on labels and on what a teacher says, both in one step."""

import contextlib
from typing import Any

import keras
from keras import ops

from .. import _backend
from .._base import register
from .outputs import check_losses, check_outputs, compare, match_outputs, weights_of
from .schedules import BOUNDS, Schedule, number_or_schedule, said_now


@register
class Distiller(keras.Model):
    """Trains `student` on labels and on the outputs of `teacher`; everywhere else it is the student.

    loss = λ label loss + (1 - λ) distillation loss + the student's regularisers and `add_loss`, in nats.

    `compile(loss=...)` names the label loss, which is all that `evaluate` computes. `fit` logs `label_loss`,
    `distillation_loss` (summed over the outputs) and, where they are schedules, `temperature` and `label_weight`: means over
    the epoch. `distiller.student` is the student alone. A saved distiller holds both models, and goes on where it stopped.

    The teacher runs in inference mode, once a step of `fit`, never in `evaluate` or `predict`. It is left as it was: its
    weights, statistics and `trainable` flags. The optimizer never sees it. `trainable` is the student's.

    Sample weights (with them `fit(class_weight=...)`) and masks count for both parts of the loss. `loss_weights` of `compile`
    are of the label loss alone.

    Args:
        teacher: A built `keras.Model` that takes what the student takes, and returns one tensor per output of the student.
            Its dtype may be another: the loss computes in its own.
        student: The `keras.Model` to train.
        distillation_loss: A `DistillationLoss` with `label_weight=0` and `labels=None`, for every output; or dicts and lists
            of them like the outputs, with None for an output that is trained on its labels alone. With its
            `teacher_classes` the two may differ in vocabulary.
        label_weight: λ in [0, 1], or a schedule.
        temperature: None (that of `distillation_loss`), a number above 0 for all outputs, or a schedule.
        name: The name of the model.

    A schedule is a `keras.optimizers.schedules.LearningRateSchedule` of `distiller.step`: how many batches `fit` has seen, over
    all calls. The count is saved with the weights. `distiller.step.assign(0)` starts anew. Where a schedule leaves its range,
    `fit` raises if the number can be read, and in a compiled program the loss is NaN.

    `distillation_loss`, `label_weight` and `temperature` may be set later; they are checked again, and count from the next call
    of `fit` on. With `label_weight=0` the data need no labels.

    Returns:
        When called: what the student returns.

    Raises:
        ValueError: An argument of the wrong kind or range; outputs of the teacher that do not fit those of the student (from
            `fit` where only calling the models tells); from `fit`, no `loss` where λ is not 0.

    Differs from Keras:
        Against `keras.distillation.Distiller`:

        1. Sample weights, masks, regularisers and `add_loss` count; there they are dropped.
        2. `evaluate` computes the label loss, and does not run the teacher.
        3. The teacher is not frozen for good: its `trainable` flags stay.
        4. Dtypes and vocabularies may differ.
        5. λ and the temperature may be schedules.
        6. A saved distiller can go on training.
        7. It distils outputs, not features of inner layers.

    Example:
        >>> teacher, student = (keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)]) for _ in range(2))
        >>> loss = keras_xent.DistillationLoss(temperature=2.0, targets="logits")
        >>> distiller = keras_xent.distill.Distiller(teacher=teacher, student=student, distillation_loss=loss)
        >>> distiller.compile("sgd", loss=keras_xent.SparseCategoricalCrossentropy(from_logits=True))
        >>> x, y = keras.random.normal((16, 8)), keras.ops.arange(16) % 3
        >>> sorted(distiller.fit(x, y, verbose=0).history)
        ['distillation_loss', 'label_loss', 'loss']

    Source:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2.
    """

    def __init__(
        self,
        *,
        teacher: keras.Model,
        student: keras.Model,
        distillation_loss: Any,
        label_weight: Any = 0.5,
        temperature: Any = None,
        name: str | None = "distiller",
    ) -> None:
        for role, model in (("teacher", teacher), ("student", student)):
            if not isinstance(model, keras.Model):
                raise ValueError(f"`{role}` must be a keras.Model. Received: {role}={model!r} of type {type(model).__name__}.")
        if not teacher.built:
            raise ValueError(
                f"`teacher` ({teacher.name!r}) has no weights yet, so there is nothing that the student ({student.name!r}) "
                "could learn from it. Call it on a batch of data and load its weights first."
            )
        # The student's policy, by which `compile` decides on loss scaling. But the student casts its inputs itself: some of its
        # layers may want them as they are.
        super().__init__(name=name, dtype=student.dtype_policy, autocast=False)
        self.teacher = teacher
        self.student = student
        self.distillation_loss = distillation_loss
        self.label_weight = label_weight
        self.temperature = temperature
        # The optimizer counts too, but under JAX what it counts cannot be read where the loss is computed.
        self.step = self.add_weight(
            name="step",
            shape=(),
            dtype="int",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self._means = [keras.metrics.Mean(name=name) for name in ("label_loss", "distillation_loss", *BOUNDS)]
        self._evaluating = False
        self._labelled = True
        self._hides_losses = False
        self.built = student.built

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; an argument is checked as when it is passed, and what was compiled with the last one is dropped."""
        if name == "distillation_loss":
            check_losses(value)
            check_outputs(value, self.teacher, self.student)
            object.__setattr__(self, name, value)  # which keeps Keras from wrapping dicts and lists
        elif name == "label_weight":
            super().__setattr__(name, number_or_schedule(name, value))
        elif name == "temperature":
            super().__setattr__(name, value if value is None else number_or_schedule(name, value))
        else:
            super().__setattr__(name, value)
            return
        self.train_function = None

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """What the student returns."""
        return self.student(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss of one step: with `training`, both parts; without, the label loss."""
        self._note_labels(y)
        if not training:
            if not self._labelled:  # `fit` builds the label loss and the metrics first, for which there is nothing to build from
                return ops.zeros(())
            return super().compute_loss(x, y, y_pred, sample_weight, training=False)
        now = {name: said_now(name, getattr(self, name), self.step) for name in BOUNDS}
        parts = {
            "label_loss": self._label_loss(x, y, y_pred, sample_weight),
            "distillation_loss": self._distillation_loss(x, y_pred, sample_weight, now["temperature"]),
        }
        shares = now["label_weight"], 1.0 - now["label_weight"]
        total = self._added_losses()
        for share, part in zip(shares, parts.values(), strict=True):
            # An infinite loss would survive the share 0.
            if part is not None and not (isinstance(share, float) and share == 0.0):
                total = total + share * part
        batch_size = ops.shape(keras.tree.flatten(y_pred)[0])[0]
        replicas = {name: _backend.num_replicas() for name in parts}  # each of which has its share of the mean
        for mean in self._means:
            value = (parts | now)[mean.name]
            if value is not None:
                mean.update_state(value * replicas.get(mean.name, 1), sample_weight=batch_size)
        self.step.assign_add(1)
        return total

    def _note_labels(self, y):
        """Whether there are labels, or have to be: to evaluate, or where they weigh something."""
        self._labelled = self._evaluating or y is not None or self.label_weight != 0.0

    def make_train_function(self, force: bool = False) -> Any:
        """As `keras.Model.make_train_function`, once there is a label loss where one is weighed."""
        self._has_label_loss()  # not first while training: under JAX an error there costs the models their weights
        return super().make_train_function(force)

    def _has_label_loss(self):
        """Whether `compile` named a label loss; that it named none is an error unless its share is 0."""
        if getattr(self, "loss", None) is not None:
            return True
        if self.label_weight != 0.0:
            raise ValueError(
                f"label_weight={self.label_weight} weighs a label loss, but `compile` was given loss=None. Pass `loss` to "
                "`compile`, or label_weight=0 to train on the teacher alone."
            )
        return False

    def _label_loss(self, x, y, y_pred, sample_weight):
        """What `compile(loss=...)` named, without the losses that the student adds; None if it named none."""
        if not self._has_label_loss() or not self._labelled:
            return None
        with set_while(self, "_hides_losses"):
            return super().compute_loss(x, y, y_pred, sample_weight, training=True)

    def _distillation_loss(self, x, y_pred, sample_weight, temperature):
        """The distillation losses of all outputs together."""
        total = 0.0
        for place, loss, taught, predicted in match_outputs(self.distillation_loss, self._ask_teacher(x), y_pred):
            if temperature is not None:
                loss = loss._with(temperature=temperature)
            value = compare(loss, taught, predicted, place, weights_of(sample_weight, place, y_pred))
            total = total + ops.cast(value, keras.config.floatx())
        return total

    def _ask_teacher(self, x):
        """The outputs of the teacher, as constants; nothing of its state moves and nothing it adds as a loss is kept."""
        # Constants from the weights on: its activations need not be kept for a gradient.
        constants = [(variable, ops.stop_gradient(variable.value)) for variable in self.teacher.variables]
        with keras.StatelessScope(state_mapping=constants):
            return self.teacher(x, training=False)

    def _added_losses(self):
        """The student's regularisers, and what it added by `add_loss`."""
        dtype = keras.config.floatx()
        # Gradients of replicas are summed.
        return sum(ops.sum(ops.cast(loss, dtype)) for loss in self.losses) / _backend.num_replicas()

    @property
    def losses(self) -> list[Any]:
        """The losses that the student adds: its regularisers and `add_loss`."""
        return [] if self._hides_losses else super().losses

    @property
    def metrics(self) -> list[Any]:
        """The metrics; those of `fit` alone are left out while evaluating, and those in the teacher always."""
        unused = {name for name in BOUNDS if not isinstance(getattr(self, name), Schedule)}
        unused |= {"label_loss"} if getattr(self, "loss", None) is None else set()
        hidden = [*self.teacher.metrics, *(mean for mean in self._means if self._evaluating or mean.name in unused)]
        ids = {id(metric) for metric in hidden}
        return [metric for metric in super().metrics if id(metric) not in ids]

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """As `keras.Model.compute_metrics`; without labels, the losses alone."""
        self._note_labels(y)
        return super().compute_metrics(x, y, y_pred, sample_weight) if self._labelled else self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """As `keras.Model.get_metrics_result`; without labels, the losses that need none."""
        if self._labelled or self._evaluating:  # what was compiled is not asked again, and does not say which of the two ran
            return super().get_metrics_result()
        known = {"loss", "distillation_loss", *BOUNDS}
        return {metric.name: metric.result() for metric in self.metrics if metric.name in known}

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.export`, of the student."""
        return self.student.export(*args, **kwargs)

    @property
    def output_names(self) -> list[str]:
        """Those of the student, by which `compile` may be given a loss for each output."""
        return self.student.output_names

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`: the student's label loss and metrics."""
        with set_while(self, "_evaluating"):
            return super().evaluate(*args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.test_on_batch`: the student's label loss and metrics."""
        with set_while(self, "_evaluating"):
            return super().test_on_batch(*args, **kwargs)

    @property
    def trainable(self) -> bool:
        """Whether the student is trainable; the teacher is not asked."""
        return self.student.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.student.trainable = value

    @property
    def trainable_variables(self) -> list[Any]:
        """Those of the student."""
        return self.student.trainable_variables

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The other variables, all those of the teacher among them."""
        return others(self.variables, self.trainable_variables)

    @property
    def trainable_weights(self) -> list[Any]:
        """Those of the student."""
        return self.student.trainable_weights

    @property
    def non_trainable_weights(self) -> list[Any]:
        """The other weights, all those of the teacher among them."""
        return others(self.weights, self.trainable_weights)

    def get_config(self) -> dict[str, Any]:
        """All arguments, both models among them.

        Raises:
            ValueError: The models share weights, which would be read back as those of one of them.
        """
        taught = {id(weight) for weight in self.teacher.weights}
        shared = [weight.path for weight in self.student.weights if id(weight) in taught]
        if shared:
            raise ValueError(
                f"The teacher and the student share the weights {shared}; they could not be loaded from a file, where each model "
                "has its own. Save `distiller.student`, or give the teacher layers of its own and copy the weights."
            )
        arguments = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("teacher", "student", "distillation_loss", "label_weight", "temperature")
        }
        return {"name": self.name, **arguments}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The distiller that `get_config` describes."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
                for name, value in config.items()
            }
        )


@contextlib.contextmanager
def set_while(owner, flag):
    """Sets an attribute of a distiller, and unsets it afterwards."""
    setattr(owner, flag, True)
    try:
        yield
    finally:
        setattr(owner, flag, False)


def others(variables, those):
    """The variables that are not among those."""
    ids = {id(variable) for variable in those}
    return [variable for variable in variables if id(variable) not in ids]

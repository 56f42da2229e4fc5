"""`linear_distillation_loss` as a loss for `compile`: it knows what each loss will be multiplied with."""

from collections.abc import Collection
from typing import Any

from keras import ops

from .. import _checks, _labels
from .._base import finite_rows, register
from ..distill.targets import blank_targets, target_axes
from .distillation import checked
from .distillation_problem import DistillationProblem, Teacher, right_pairs, split_targets
from .features_loss import FeaturesLoss
from .heads import Head


@register
class LinearDistillationLoss(FeaturesLoss):
    """`linear_distillation_loss`, weighed and reduced: a loss for a student that ends in its features.

    loss = Σ_i v_i loss_i / N in nats, with v the sample weights; N is the number of losses that are neither masked nor
    ignored. What each loss is multiplied with is known beforehand, so the gradients are made beside the loss, out of the same
    logits.

    Args:
        head: The student's output layer, as in `keras_xent.LinearSparseCategoricalCrossentropy`.
        temperature: T > 0, as in `distillation_loss`.
        targets: `"top_k"` or `"features"`: what `y_true` holds of the teacher, as in `linear_distillation_loss`.
        teacher_head: With `targets="features"` the teacher's output layer, of the kinds that `head` may be; it is read, and not
            trained. The config does not hold it: give it to a loaded loss by `bind_teacher(layer)`.
        divergence, beta, label_weight, labels, scale_by_temperature_squared, tail, ignore_class, logit_softcap, chunk_size: As in
            `linear_distillation_loss`; a cap that a layer has of its own counts.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses that are neither masked nor
            ignored), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those
            neither masked nor ignored), `"none"`, which makes the logits a second time for the gradient.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, features, sample_weight=None)`: a scalar, or one loss per position without reduction.

    Raises:
        ValueError: As `linear_distillation_loss`; also a head of another kind, one with an activation, none at all when
            called, a teacher's head without `targets="features"` or the reverse, and weights or a mask that fit no leading axes.
        TypeError, NotImplementedError: As `linear_distillation_loss`.

    Differs from Keras:
        Keras has nothing of the kind. The numbers are those of `keras_xent.DistillationLoss` on the logits; a mask counts
        where the head would hand it on.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1000)])
        >>> student, head = keras_xent.fused.split_head(model)
        >>> student.compile("sgd", keras_xent.LinearDistillationLoss(head, targets="top_k", temperature=2.0))
        >>> teacher = keras_xent.distill.top_k_targets(np.zeros((2, 1000)), 20, temperature=2.0)
        >>> history = student.fit(np.zeros((2, 4)), teacher, verbose=0)
        >>> abs(history.history["loss"][0]) < 1e-5  # student and teacher know nothing yet
        True

    Source:
        As `linear_distillation_loss`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    targets: str
    labels: str | None
    ignore_class: int | list[int] | None
    _checked = staticmethod(checked)

    def __init__(
        self,
        head: Any = None,
        temperature: float = 4.0,
        *,
        targets: str,
        teacher_head: Any = None,
        divergence: str = "kl",
        beta: float = 0.5,
        label_weight: float = 0.0,
        labels: str | None = None,
        scale_by_temperature_squared: bool = True,
        tail: str = "bucket",
        ignore_class: int | Collection[int] | None = None,
        logit_softcap: float | None = None,
        chunk_size: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "linear_distillation_loss",
        dtype: Any = None,
    ) -> None:
        options = checked(
            temperature,
            targets,
            divergence,
            beta,
            label_weight,
            labels,
            scale_by_temperature_squared,
            tail,
            ignore_class,
            logit_softcap,
            chunk_size,
        )
        self._configure(name, reduction, dtype, options)
        self.bind(head)
        self.bind_teacher(teacher_head)

    def bind_teacher(self, layer: Any) -> None:
        """Makes the teacher's logits with `layer` from now on."""
        if layer is not None and self.targets != "features":
            raise ValueError(f'`teacher_head` goes with targets="features". Received: targets={self.targets!r}.')
        self.__dict__["_teacher"] = layer if layer is None or isinstance(layer, Head) else Head(layer)

    def _problem(self, y_true, features):
        head, teacher = self._bound(), self.__dict__["_teacher"]
        if teacher is None and self.targets == "features":
            raise ValueError(
                f"`LinearDistillationLoss` {self.name!r} has no teacher's output layer: a config does not hold one. Pass "
                "`teacher_head`, or call `bind_teacher(layer)`."
            )
        if teacher is not None:
            teacher = Teacher(teacher.kernel, teacher.bias, teacher.transposed, teacher.logit_softcap)
        options, features = head.with_own_cap(self._options), ops.cast(features, head.dtype)
        return DistillationProblem(y_true, features, head.kernel, head.bias, teacher, options, head.transposed)

    def _split(self, y_true, features):
        return split_targets(y_true, features, self._bound().num_classes, self._options)

    def _match(self, y_true, y_pred):
        self._split(y_true, y_pred)
        return self._floats("y_true", y_true), y_pred

    def _fits_when_run(self, y_true, y_pred):
        rows = ops.shape(y_pred)[:-1]
        return _checks.same_sizes(ops.shape(y_true)[: len(rows)], rows)

    def _counted(self, y_true, y_pred):
        if self.ignore_class is None:
            return None
        return _labels.counted(self._split(y_true, y_pred)[1], None, self.ignore_class, "error")

    def _unusable(self, y_true, y_pred, axes):
        (soft, hard), num_classes = self._split(y_true, y_pred), self._bound().num_classes
        usable = ops.logical_and(finite_rows(y_pred, axes), finite_rows(y_true, target_axes(y_true, axes, self._options)))
        if hard is not None:
            usable = ops.logical_and(usable, _checks.valid_labels(hard, num_classes))
        if self.targets == "top_k":
            usable = ops.logical_and(usable, right_pairs(soft, num_classes))
        return ops.logical_not(usable)

    def _blank(self, y_true, y_pred, kept, axes):
        return blank_targets(y_true, kept, axes, self._options, self._bound().num_classes)

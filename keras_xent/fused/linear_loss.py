"""`linear_sparse_categorical_crossentropy` as a loss for `compile`: it knows what each loss will be multiplied with."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from keras import ops

from .. import _checks, _labels
from .._base import blank, finite_rows, register
from .features_loss import FeaturesLoss
from .linear import checked


@register
class LinearSparseCategoricalCrossentropy(FeaturesLoss):
    """`linear_sparse_categorical_crossentropy`, weighed and reduced: a loss for a model that ends in its features.

    loss = Σ_i v_i loss_i / N in nats, with v the sample weights; N is the number of losses that are neither masked nor
    ignored. What each loss is multiplied with is known beforehand, so the gradients are made beside the loss, out of the same
    logits. On TensorFlow the logits are made twice, in blocks of classes, where they are so many that a chunk of rows would
    hold no more than 256: that takes no longer there, and less memory.

    Args:
        head: The output layer that the logits would be made with: a `Dense` without activation, or a `ReversibleEmbedding`, whose
            own soft cap counts. None leaves it to the model made by `keras_xent.fused.split_head`, which binds its own when it is
            compiled or loaded.
        ignore_class, label_smoothing, class_weight, z_loss, logit_softcap, invalid_labels, chunk_size: As in
            `linear_sparse_categorical_crossentropy`.
        reduction: `"sum_over_batch_size"` or `"mean"` (denominator: the number of losses that are neither masked nor
            ignored), `"sum"`, `"mean_with_sample_weight"` (denominator: the sum of `sample_weight`, of those
            neither masked nor ignored), `"none"`, which makes the logits a second time for the gradient.
        name: The name of the loss, as it appears in logs.
        dtype: The dtype of the result, or a policy whose compute dtype that is; None is `keras.config.floatx()`.

    Returns:
        When called with `(y_true, features, sample_weight=None)`: a scalar, or one loss per position without reduction.

    Raises:
        ValueError: As `linear_sparse_categorical_crossentropy`; also a head of another kind, one with an activation, none at all
            when called, a second soft cap, and weights or a mask that fit no leading axes.
        TypeError, NotImplementedError: As `linear_sparse_categorical_crossentropy`.

    Differs from Keras:
        Keras has nothing of the kind. The numbers are those of `keras_xent.SparseCategoricalCrossentropy(from_logits=True)` on
        the logits; a mask counts where the head would hand it on, as `Dense` does and `ReversibleEmbedding`
        does not. The config does not hold the head.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1000)])
        >>> features_model, head = keras_xent.fused.split_head(model)
        >>> features_model.compile("sgd", keras_xent.LinearSparseCategoricalCrossentropy(head))
        >>> history = features_model.fit(np.zeros((2, 4)), np.array([3, 7]), verbose=0)
        >>> round(history.history["loss"][0], 4)
        6.9078

    Source:
        As `linear_sparse_categorical_crossentropy`; the reductions: `keras_xent.reference.reduce_losses`.
    """

    ignore_class: int | list[int] | None
    invalid_labels: str
    logit_softcap: float | None
    _checked = staticmethod(checked)

    def __init__(
        self,
        head: Any = None,
        *,
        ignore_class: int | Collection[int] | None = None,
        label_smoothing: float = 0.0,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        z_loss: float = 0.0,
        logit_softcap: float | None = None,
        invalid_labels: str = "error",
        chunk_size: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "linear_sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        options = checked(ignore_class, label_smoothing, class_weight, z_loss, logit_softcap, invalid_labels, chunk_size)
        self._configure(name, reduction, dtype, options)
        self.bind(head)

    def _problem(self, y_true, features):
        return self._bound().problem(y_true, features, self._options)

    def _match(self, y_true, y_pred):
        axes = self._reduced_axes(y_pred)
        return _checks.one_label_per_row(_checks.label_tensor(y_true), y_pred, *axes), y_pred

    def _fits_when_run(self, y_true, y_pred):
        return _checks.same_sizes(ops.shape(y_true), ops.shape(y_pred)[:-1])

    def _counted(self, y_true, y_pred):
        return _labels.counted(y_true, self._bound().num_classes, self.ignore_class, self.invalid_labels)

    def _unusable(self, y_true, y_pred, axes):
        valid = _checks.valid_labels(y_true, self._bound().num_classes)
        return ops.logical_not(ops.logical_and(valid, finite_rows(y_pred, axes)))

    def _blank(self, y_true, y_pred, kept, axes):
        return blank(y_true, kept, ())  # labels have no axis of features

"""Metrics of a model that ends in features, a chunk of the logits at a time."""

import contextlib
from collections.abc import Collection
from typing import Any

import keras
from keras import ops

from .. import _checks, _labels
from .._base import register
from .heads import NeedsHead, variables_of_step
from .linear import checked

UNSEEN = object(), None  # no features are these


class LinearMetric(NeedsHead, keras.metrics.Mean):
    """A mean over the positions that are neither masked nor ignored, weighed by their sample weights."""

    def __init__(self, head, ignore_class, logit_softcap, chunk_size, name, dtype):
        keras.metrics.Mean.__init__(self, name=name, dtype=dtype)
        self._checked_options = checked(ignore_class, 0.0, None, 0.0, logit_softcap, "error", chunk_size)
        self._seen = UNSEEN
        self.bind(head)

    def look(self, y_true: Any, y_pred: Any) -> None:
        """Computes now what `update_state` will add for the same features: by then the optimizer may have changed the kernel."""
        self._seen = y_pred, self._values_of(*self._matched(y_true, y_pred))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds up what each position says, given labels and features."""
        labels, features = self._matched(y_true, y_pred)
        options, head = self._checked_options, self._bound()
        weights = _labels.counted(labels, head.num_classes, options["ignore_class"], options["invalid_labels"])
        weights = ops.ones(ops.shape(features)[:-1]) if weights is None else ops.cast(weights, "float32")
        for name, other in (("mask", head.mask_of(y_pred)), ("sample_weight", sample_weight)):
            if other is not None:
                other = _checks.leading_axes(
                    name, _checks.float_tensor(name, ops.cast(other, "float32")), tuple(features.shape[:-1])
                )
                weights = weights * other
        seen, self._seen = self._seen, UNSEEN
        values = seen[1] if seen[0] is y_pred else self._values_of(labels, features)
        values = ops.where(ops.equal(weights, 0.0), 0.0, values)
        super().update_state(ops.reshape(values, (-1,)), ops.reshape(weights, (-1,)))

    def _matched(self, y_true, y_pred):
        features = _checks.float_tensor("features", y_pred)
        return _checks.one_label_per_row(_checks.label_tensor(y_true), features, len(features.shape) - 1), features

    def _values_of(self, labels, features):
        """One number per position, with the kernel as it is."""
        with keras.StatelessScope(variables_of_step.get()) if variables_of_step.get() else contextlib.nullcontext():
            problem = self._bound().problem(labels, ops.stop_gradient(features), self._checked_options)
        return ops.stop_gradient(ops.cast(self._values(problem), "float32"))

    def get_config(self):
        """All arguments but the head."""
        names = ("ignore_class", "logit_softcap", "chunk_size")
        return {**super().get_config(), **{name: self._checked_options[name] for name in names}}


@register
class LinearSparseCategoricalAccuracy(LinearMetric):
    """The share of positions whose label has the largest logit.

    accuracy = Σ_i v_i [y_i = argmax_k (x_i W + b)_k] / Σ_i v_i, with v the sample weights, 0 where masked or ignored.

    Args:
        head: The output layer, as in `keras_xent.LinearSparseCategoricalCrossentropy`.
        ignore_class: A class id, or several: positions with such a label do not count.
        logit_softcap: As in `keras_xent.LinearSparseCategoricalCrossentropy`; it changes no order.
        chunk_size: How many rows' logits are held at once; None as in `keras_xent.linear_sparse_categorical_crossentropy`.
        name: The name of the metric.
        dtype: The dtype of the metric's state and result.

    Returns:
        From `result()`: a scalar from 0 to 1.

    Raises:
        ValueError: On update, as `keras_xent.LinearSparseCategoricalCrossentropy`.

    Differs from Keras:
        `keras.metrics.SparseCategoricalAccuracy` takes logits, and counts masked positions where there are no sample weights.

    Example:
        >>> head = keras.layers.Dense(3, kernel_initializer="identity")
        >>> head.build((None, 3))
        >>> accuracy = keras_xent.fused.LinearSparseCategoricalAccuracy(head)
        >>> accuracy.update_state([0, 1], [[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]])
        >>> float(accuracy.result())
        0.5

    Source:
        `keras.metrics.SparseCategoricalAccuracy`.
    """

    def __init__(
        self,
        head: Any = None,
        *,
        ignore_class: int | Collection[int] | None = None,
        logit_softcap: float | None = None,
        chunk_size: int | None = None,
        name: str = "accuracy",
        dtype: Any = None,
    ) -> None:
        super().__init__(head, ignore_class, logit_softcap, chunk_size, name, dtype)

    def _values(self, problem):
        return ops.equal(ops.cast(problem.top_classes(), "int32"), problem.labels.ids)


@register
class LinearPerplexity(LinearMetric):
    """How many classes a model is torn between, on average: the exponential of the mean cross-entropy.

    perplexity = exp(Σ_i v_i loss_i / Σ_i v_i), with v the sample weights, 0 where masked or ignored.

    Args:
        head: The output layer, as in `keras_xent.LinearSparseCategoricalCrossentropy`.
        ignore_class: A class id, or several: positions with such a label do not count.
        logit_softcap: As in `keras_xent.LinearSparseCategoricalCrossentropy`.
        chunk_size: How many rows' logits are held at once; None as in `keras_xent.linear_sparse_categorical_crossentropy`.
        name: The name of the metric.
        dtype: The dtype of the metric's state and result.

    Returns:
        From `result()`: a scalar, at least 1.

    Raises:
        ValueError: On update, as `keras_xent.LinearSparseCategoricalCrossentropy`.

    Differs from Keras:
        Keras has no perplexity; KerasHub's takes logits.

    Example:
        >>> head = keras.layers.Dense(3, kernel_initializer="zeros")
        >>> head.build((None, 3))
        >>> perplexity = keras_xent.fused.LinearPerplexity(head)
        >>> perplexity.update_state([0, 1], [[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]])
        >>> round(float(perplexity.result()), 5)
        3.0

    Source:
        Jelinek et al., "Perplexity - a measure of the difficulty of speech recognition tasks" (1977).
    """

    def __init__(
        self,
        head: Any = None,
        *,
        ignore_class: int | Collection[int] | None = None,
        logit_softcap: float | None = None,
        chunk_size: int | None = None,
        name: str = "perplexity",
        dtype: Any = None,
    ) -> None:
        super().__init__(head, ignore_class, logit_softcap, chunk_size, name, dtype)

    def _values(self, problem):
        return problem.losses()

    def result(self):
        """The exponential of the mean."""
        return ops.exp(super().result())

"""Metrics that see the hard labels of packed targets."""

from typing import Any

import keras
from keras import ops

from .. import _checks
from .._base import PACKAGE
from .packing import check_precision, kind_of_labels, unpack_targets


def on_labels(metric: Any, *, labels: str | None = None) -> keras.metrics.Metric:
    """A metric that is given the hard labels of packed targets.

    Args:
        metric: A `keras.metrics.Metric`, a metric function, or the name of either, for the kind of labels that were packed:
            `"sparse_categorical_accuracy"` for class ids, `"categorical_accuracy"` for dense ones.
        labels: `"sparse"` or `"dense"`: the kind of labels that were packed. None finds out by the shape, which is possible
            where the teacher's numbers are one for each of the student's classes; a top-k needs to be told.

    Returns:
        A metric of the same name. Its `y_true` is what `pack_targets` returned, its `y_pred` has the class axis last.

    Raises:
        ValueError: An unknown name, or other `labels`; on update, a `y_true` that `pack_targets` did not make for `y_pred`'s
            classes.

    Differs from Keras:
        Keras has nothing of the kind, and would compare the predictions with the whole packed tensor.

    Example:
        >>> accuracy = keras_xent.distill.on_labels("sparse_categorical_accuracy")
        >>> accuracy.update_state(keras_xent.pack_targets([[0.1, 0.9], [0.6, 0.4]], [1, 1]), [[0.2, 0.8], [0.3, 0.7]])
        >>> float(accuracy.result())
        1.0

    Source:
        `keras_xent.pack_targets`.
    """
    return OnLabels(metric, labels=labels)


@keras.saving.register_keras_serializable(package=PACKAGE)
class OnLabels(keras.metrics.Metric):
    """What `on_labels` returns: passes the hard labels on to the metric that it holds."""

    def __init__(self, metric, name=None, dtype=None, labels=None):
        if metric in (None, "accuracy", "acc"):
            raise ValueError(
                f"Which metric {metric!r} is depends on the labels, which are packed here. Name one for their kind, "
                'such as "sparse_categorical_accuracy" for class ids or "categorical_accuracy" for dense labels.'
            )
        metric = keras.metrics.get(metric)
        if not isinstance(metric, keras.metrics.Metric):
            metric = keras.metrics.MeanMetricWrapper(metric, name=metric.__name__)
        super().__init__(name=name or metric.name, dtype=dtype or metric.dtype)
        self.metric = metric
        self.labels = _checks.choice("labels", labels, (None, "sparse", "dense"))

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Updates the metric with the labels behind the teacher's numbers."""
        check_precision(y_true)
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        num_classes = y_pred.shape[-1]
        kind = self.labels or kind_of_labels(y_true, num_classes)
        _, labels = unpack_targets(y_true, kind, num_classes)
        return self.metric.update_state(labels, y_pred, sample_weight=sample_weight)

    def result(self):
        """The metric's result."""
        return self.metric.result()

    def reset_state(self):
        """Resets the metric."""
        self.metric.reset_state()

    def get_config(self):
        """The configuration, that of the metric included."""
        return {**super().get_config(), "metric": keras.metrics.serialize(self.metric), "labels": self.labels}

    @classmethod
    def from_config(cls, config):
        """The metric that `get_config` describes."""
        return cls(**{**config, "metric": keras.metrics.deserialize(config["metric"])})

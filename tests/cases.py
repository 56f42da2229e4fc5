"""Inputs for the losses: one small case per combination of options, drawn from a given generator."""

import numpy as np

import keras_xent
from keras_xent import reference

from .backends import rounded

SHAPES = ((3,), (4, 5), (2, 3, 4), (2, 2, 3, 3), (2, 2, 2, 3, 2))  # ranks 1 to 5


def softmax(logits, axis=-1):
    """Probabilities out of logits."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def one_hot(labels, num_classes, axis=-1):
    """Dense targets out of class ids."""
    return np.moveaxis(np.eye(num_classes)[labels], -1, axis)


def predictions(rng, shape, axis, from_logits, dtype="float32", scale=3.0):
    """Logits, or probabilities that sum to about 1 over `axis` (each for itself if it is None), as `dtype` holds them."""
    logits = scale * rng.normal(size=shape)
    if from_logits:
        return rounded(logits, dtype)
    return rounded(1 / (1 + np.exp(-logits)) if axis is None else softmax(logits, axis), dtype)


class Case:
    """One loss, its targets and predictions: what the implementation and the definition are both asked."""

    def __init__(self, name, y_true, y_pred, **options):
        self.name, self.y_true, self.y_pred, self.options = name, y_true, y_pred, options

    def loss(self, **arguments):
        """The loss object."""
        class_name = "".join(part.capitalize() for part in self.name.split("_"))
        return getattr(keras_xent, class_name)(**self.options, **arguments)

    def expected(self, dtype="float32"):
        """The definition's losses and gradient."""
        losses = getattr(reference, self.name)(self.y_true, self.y_pred, **self.options, dtype=dtype)
        gradient = getattr(reference, f"{self.name}_gradient")(self.y_true, self.y_pred, **self.options, dtype=dtype)
        return losses, gradient


def every_case(rng, shape, from_logits, dtype="float32"):
    """Every loss over classes and of yes/no outputs, on predictions of one shape; axes and options take turns."""
    for turn, axis in enumerate(sorted({-1, 0, len(shape) // 2})):
        y_pred = predictions(rng, shape, axis, from_logits, dtype)
        num_classes = shape[axis]
        labels = rng.integers(0, num_classes, size=np.delete(shape, axis))
        soft = softmax(rng.normal(size=shape), axis)
        class_weight = rng.uniform(0.5, 2.0, num_classes).tolist()
        every_option = (
            {},
            {"label_smoothing": 0.1},
            {"class_weight": class_weight, "saturated_gradient": "zero"},
            {"label_smoothing": 0.3, "class_weight": {0: 3.0}, "epsilon": 1e-3},
        )
        for options in (every_option[(turn + len(shape)) % 4], every_option[(turn + len(shape) + 2) % 4]):
            options = {"from_logits": from_logits, "axis": axis, **options}
            yield Case("categorical_crossentropy", one_hot(labels, num_classes, axis), y_pred, **options)
            yield Case("categorical_crossentropy", rounded(soft, dtype), y_pred, **options)
            yield Case("sparse_categorical_crossentropy", labels, y_pred, **options)
            yield Case("sparse_categorical_crossentropy", labels, y_pred, ignore_class=[0, 7], **options)
    y_pred = predictions(rng, shape, None, from_logits, dtype)
    every_option = {}, {"label_smoothing": 0.2, "pos_weight": 2.5}, {"saturated_gradient": "zero", "epsilon": 1e-2}
    for turn, axis in enumerate((-1, 0, (), None)):
        options = every_option[(turn + len(shape)) % 3]
        y_true = rng.integers(0, 2, size=shape)
        yield Case("binary_crossentropy", y_true, y_pred, from_logits=from_logits, axis=axis, **options)

"""Inputs for the losses: one small case per combination of options, drawn from a given generator."""

import numpy as np

import keras_xent
from keras_xent import reference
from keras_xent.parity.cases import KINDS, function_name, one_hot, softmax

from .backends import rounded


def predictions(rng, shape, axis, from_logits, dtype="float32", scale=3.0):
    """Logits, or probabilities that sum to about 1 over `axis` (each for itself if it is None), as `dtype` holds them."""
    logits = scale * rng.normal(size=shape)
    if from_logits:
        return rounded(logits, dtype)
    return rounded(1 / (1 + np.exp(-logits)) if axis is None else softmax(logits, axis), dtype)


LOSS_CLASSES = {function_name(loss): getattr(keras_xent, loss) for loss in KINDS}


class Case:
    """One loss, its targets and predictions: what the implementation and the definition are both asked."""

    def __init__(self, name, y_true, y_pred, **options):
        self.name, self.y_true, self.y_pred, self.options = name, y_true, y_pred, options

    def loss(self, **arguments):
        """The loss object."""
        return LOSS_CLASSES[self.name](**self.options, **arguments)

    def expected(self, dtype="float32"):
        """The definition's losses and gradient."""
        losses = getattr(reference, self.name)(self.y_true, self.y_pred, **self.options, dtype=dtype)
        gradient = getattr(reference, f"{self.name}_gradient")(self.y_true, self.y_pred, **self.options, dtype=dtype)
        return losses, gradient


def every_case(rng, shape, from_logits, dtype="float32"):
    """Every loss on predictions of one shape; axes and options take turns, so that each meets each."""
    for turn, axis in enumerate(sorted({-1, 0, len(shape) // 2})):
        y_pred = predictions(rng, shape, axis, from_logits, dtype)
        num_classes = shape[axis]
        labels = rng.integers(0, num_classes, size=np.delete(shape, axis))
        dense, soft = one_hot(labels, num_classes, axis), rounded(softmax(rng.normal(size=shape), axis), dtype)
        class_weight = rng.uniform(0.5, 2.0, num_classes).tolist()
        every_option = (
            {},
            {"label_smoothing": 0.1},
            {"class_weight": class_weight, "saturated_gradient": "zero"},
            {"label_smoothing": 0.3, "class_weight": {0: 3.0}, "epsilon": 1e-3},
        )
        every_focus = (
            {"gamma": 2.0},
            {"gamma": 0.5, "alpha": rng.uniform(0.5, 2.0, num_classes).tolist()},
            {"gamma": 1.0, "alpha": 1.0},
            {"gamma": 0.0},
            {"gamma": 3.5},
        )
        for take in (turn + len(shape), turn + len(shape) + 2):
            options = {"from_logits": from_logits, "axis": axis, **every_option[take % 4]}
            yield Case("categorical_crossentropy", dense, y_pred, **options)
            yield Case("categorical_crossentropy", soft, y_pred, **options)
            yield Case("sparse_categorical_crossentropy", labels, y_pred, **options)
            yield Case("sparse_categorical_crossentropy", labels, y_pred, ignore_class=[0, 7], **options)
            focus = every_focus[take % 5]
            yield Case("categorical_focal_crossentropy", dense, y_pred, **options, **focus)
            yield Case("categorical_focal_crossentropy", soft, y_pred, **options, **every_focus[(take + 1) % 5])
            yield Case("sparse_categorical_focal_crossentropy", labels, y_pred, **options, **focus)
            yield Case("sparse_categorical_focal_crossentropy", labels, y_pred, ignore_class=0, **options, **focus)
        options = {"from_logits": from_logits, "axis": axis}
        yield Case("kl_divergence", soft, y_pred, **options)
        yield Case("kl_divergence", dense, y_pred, saturated_gradient="zero", **options)
        yield Case("categorical_generalized_cross_entropy", labels, y_pred, q=0.7, **options)
        yield Case("categorical_generalized_cross_entropy", labels, y_pred, q=0.1, ignore_class=0, **options)
    y_pred = predictions(rng, shape, None, from_logits, dtype)
    every_option = {}, {"label_smoothing": 0.2, "pos_weight": 2.3}, {"saturated_gradient": "zero", "epsilon": 1e-2}
    every_focus = {}, {"gamma": 0.5, "apply_class_balancing": True, "alpha": 0.3}, {"gamma": 1.0}, {"gamma": 0.0}
    for turn, axis in enumerate((-1, 0, (), None)):
        options = {"from_logits": from_logits, "axis": axis, **every_option[(turn + len(shape)) % 3]}
        y_true = rng.integers(0, 2, size=shape)
        yield Case("binary_crossentropy", y_true, y_pred, **options)
        yield Case("binary_focal_crossentropy", y_true, y_pred, **options, **every_focus[turn])
        yield Case("binary_focal_crossentropy", rng.uniform(size=shape), y_pred, **options, **every_focus[turn - 1])

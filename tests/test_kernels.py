"""Kernels: they take the place of steps, and give what the steps and the definition give."""

import numpy as np
import pytest

import keras_xent
from keras_xent import _kernels, reference, steps
from keras_xent._kernels.shortcuts import Kernel, shortened
from keras_xent._recipe import Step, run
from keras_xent.losses import sparse, sparse_focal
from keras_xent.losses._common import TARGET_FROM_LOGITS

from .backends import array, tensor, value_and_gradient
from .cases import one_hot

FLUSHED = 2.0**-124  # TensorFlow and JAX take an exponential below 2**-126 for 0
STEPS = (Step("gap", steps.measure_gap), Step("losses", steps.negate, log_prob="gap"))
KERNEL = Kernel(lambda target_logit: 7.0, lambda quantities: quantities["small"])


def shorter(recipe, small=True):
    return shortened(recipe, {"small": small}, STEPS, KERNEL)


def test_a_kernel_takes_the_place_of_its_steps():
    before, after = Step("probs", steps.renormalize), Step("losses", steps.generalize)
    taken = shorter((before, *STEPS, after))
    assert taken[0] is before and taken[2] is after and len(taken) == 3
    assert taken[1].gives == "losses" and run(taken[1:2], {"target_logit": 1.0}) == 7.0


def test_the_steps_are_taken_where_it_cannot():
    needing = Step("losses", steps.log_denominator, non_targets="losses")  # it takes the gap
    for recipe, small in (((*STEPS, needing), True), (STEPS, False), (STEPS[:1], True), ((), True)):
        assert shorter(recipe, small) == recipe
    assert shortened(STEPS, {}, STEPS, None) == STEPS


def test_recipes_that_are_shortened():
    """Those that need the loss alone, as the focal factor of a class id does; smoothed labels need what is made on the way."""
    everywhere = Kernel(lambda logits: logits, lambda quantities: True)
    plain = {"from_logits": True, "class_weight": None, "label_smoothing": 0.0, "gamma": 2.0, "alpha": 0.5}
    for recipe, options, count in (
        (sparse.recipe, {}, 1),
        (sparse.recipe, {"class_weight": [1.0, 2.0]}, 2),
        (sparse.recipe, {"label_smoothing": 0.1}, len(sparse.recipe(plain | {"label_smoothing": 0.1}))),
        (sparse_focal.recipe, {}, 5),
        (sparse_focal.recipe, {"gamma": 0.0}, 2),
    ):
        assert len(shortened(recipe(plain | options), {}, TARGET_FROM_LOGITS, everywhere)) == count


def inputs(scale, num_classes, rows=9, seed=0):
    """Logits, half of whose targets are the largest."""
    logits = np.float32(scale * np.random.default_rng(seed).normal(size=(rows, num_classes)))
    labels = np.where(np.arange(rows) % 2, logits.argmin(-1), logits.argmax(-1))
    return logits, labels


@pytest.mark.parametrize("num_classes", [2, 7, 3001])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1000.0])
def test_kernel_steps_and_definition(scale, num_classes, monkeypatch):
    """All three within 64 ε, element by element, whatever the gradient of each loss is multiplied with."""
    logits, labels = inputs(scale, num_classes)
    pull = np.linspace(0.5, 2.0, len(labels)).astype("float32")
    for name, y_true in (("sparse_categorical_crossentropy", labels), ("categorical_crossentropy", one_hot(labels, num_classes))):
        expected = pull * getattr(reference, name)(y_true, logits, from_logits=True)
        slope = pull[:, None] * getattr(reference, f"{name}_gradient")(y_true, logits, from_logits=True)

        def pulled(x, name=name, y_true=y_true):
            return tensor(pull) * getattr(keras_xent, name)(y_true, x, from_logits=True)

        for kernels in (True, False):
            with monkeypatch.context() as patch:
                for kernel in () if kernels else ("DENSE", "SPARSE"):
                    patch.setattr(_kernels, kernel, None)
                losses, gradient = value_and_gradient(pulled, tensor(logits))
            for actual, right in ((losses, expected), (gradient, slope)):
                assert (np.abs(actual - right) <= 64 * 2.0**-23 * np.abs(right) + FLUSHED).all()


def dense_terms(targets, slope):
    """The larger of the two terms whose difference a gradient is, of the class itself or of all others."""
    by_itself = np.maximum(targets, np.abs(slope + targets))
    return np.minimum(by_itself, np.maximum(*(every.sum(-1, keepdims=True) - every for every in (targets, slope + targets))))


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_soft_targets(scale, smoothing):
    """Of any mass."""
    logits, labels = inputs(scale, 300)
    rng = np.random.default_rng(1)
    targets = np.float32(rng.uniform(size=logits.shape) * (rng.uniform(size=logits.shape) < 0.1) + one_hot(labels, 300))
    options = {"from_logits": True, "label_smoothing": smoothing, "class_weight": rng.uniform(0.5, 2.0, 300).tolist()}
    expected = reference.categorical_crossentropy(targets, logits, **options)
    slope = reference.categorical_crossentropy_gradient(targets, logits, **options)
    weighed = (targets * (1.0 - smoothing) + smoothing / 300) * options["class_weight"]
    losses, gradient = value_and_gradient(
        lambda x: keras_xent.categorical_crossentropy(tensor(targets), x, **options), tensor(logits)
    )
    assert (np.abs(losses - expected) <= 64 * 2.0**-23 * expected).all()
    assert (
        np.abs(gradient - slope) <= 64 * 2.0**-23 * dense_terms(weighed, slope) + FLUSHED * weighed.sum(-1, keepdims=True)
    ).all()


leaders = pytest.mark.parametrize(("share", "num_classes"), [(1e-6, 4), (1e-6, 3001), (1e-4, 3001), (0.1, 3001)])


def check_leaders(share, num_classes, gradient):
    """Where a class has nearly all of the prediction and of the target, its gradient is that of the others, whatever the mass.

    `gradient(targets, logits)` is that of the losses' sum.
    """
    logits = np.random.default_rng(0).normal(size=(9, num_classes)).astype("float32")
    logits[:, 1] += np.linspace(10.0, 30.0, 9)
    targets = np.zeros_like(logits)
    targets[:, 1:3] = np.linspace(0.1, 10.0, 9)[:, None] * [1.0 - share, share]
    slope = reference.categorical_crossentropy_gradient(targets, logits, from_logits=True)
    off = np.abs(gradient(targets, logits) - slope)
    assert (off <= 64 * 2.0**-23 * dense_terms(targets.astype("float64"), slope) + FLUSHED).all()


@leaders
def test_a_leader_of_soft_targets(share, num_classes):
    def gradient(targets, logits):
        return value_and_gradient(
            lambda x: keras_xent.categorical_crossentropy(tensor(targets), x, from_logits=True), tensor(logits)
        )[1]

    check_leaders(share, num_classes, gradient)


@pytest.mark.parametrize("name", [name for name in _kernels.__all__ if name.isupper()])
def test_where_kernels_are(name):
    assert getattr(_kernels, name) is not None


def test_infinite_logits():
    """Impossible classes cost nothing, an impossible target everything."""
    logits = np.float32([[1.0, -np.inf, 2.0], [1.0, -np.inf, 2.0], [-np.inf, -np.inf, 2.0], [0.0, 0.0, 300.0]])
    labels = np.array([0, 1, 2, 0])
    for name, y_true in (("sparse_categorical_crossentropy", labels), ("categorical_crossentropy", one_hot(labels, 3))):
        losses = array(getattr(keras_xent, name)(y_true, tensor(logits), from_logits=True))
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(losses, getattr(reference, name)(y_true, logits, from_logits=True), rtol=1e-6)

"""Where arithmetic ends: confident predictions, vanishing probabilities, infinite and huge logits."""

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import reference
from keras_xent.parity.bounds import error_in_bounds

from .backends import BACKEND, DTYPES, MODES, array, rounded, tensor, value_and_gradient
from .cases import one_hot, softmax

SMALLEST_NORMAL = {"float32": 2.0**-126, "float64": 2.0**-1022}


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_flows_through_the_clip(mode):
    probs = np.array([[1e-9, 1.0 - 1e-9], [0.0, 1.0], [1.0, 0.0]])
    labels = np.array([0, 0, 0])
    for saturated_gradient in ("flow", "zero"):
        options = {"saturated_gradient": saturated_gradient}
        loss = keras_xent.SparseCategoricalCrossentropy(reduction="none", **options)
        losses, gradient = value_and_gradient(lambda x, loss=loss: loss(labels, x), tensor(probs, "float32"), mode)
        inputs = rounded(probs, "float32")
        expected = reference.sparse_categorical_crossentropy(labels, inputs, dtype="float32", **options)
        expected_gradient = reference.sparse_categorical_crossentropy_gradient(labels, inputs, dtype="float32", **options)
        assert error_in_bounds(losses, expected, "float32", floor=1.0) <= 1
        assert error_in_bounds(gradient, expected_gradient, "float32") <= 1
        assert (gradient[0, 0] != 0) == (saturated_gradient == "flow")
        assert gradient[1, 0] == 0  # at p = 0 either way


@pytest.mark.parametrize(("y", "p", "value"), [(0.0, 1.0, 15.942385), (1.0, 0.0, 16.118095), (1.0, 1.0, 1.1920929e-07)])
def test_binary_at_the_clip(y, p, value):
    loss = keras_xent.BinaryCrossentropy()
    losses, gradient = value_and_gradient(lambda x: loss(np.array([[y]]), x), tensor([[p]], "float32"))
    assert error_in_bounds(losses, value, "float32") <= 1
    assert error_in_bounds(gradient, [[-1.0 if p == y else 0.0]], "float32") <= 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_gradients_stay_finite(dtype):
    smallest = {"float16": 6e-8, "bfloat16": 1.2e-38}[dtype]
    probs = np.array([[smallest, 1.0]])
    loss = keras_xent.SparseCategoricalCrossentropy(dtype=dtype, reduction="sum")
    value, gradient = value_and_gradient(lambda x: loss(np.array([0]), x), tensor(probs, dtype))
    assert np.isfinite(gradient).all() and gradient[0, 0] < -1e3 and 15 < value < 17


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32(rng, dtype):
    """70,000 equal logits cost log 70,000, though float16 ends at 65,504 and bfloat16 counts to 256."""
    logits = tensor(np.zeros((2, 70_000)), dtype)
    losses = keras_xent.sparse_categorical_crossentropy([1, 69_999], logits, from_logits=True)
    assert error_in_bounds(array(losses), [np.log(70_000)] * 2, dtype) <= 1
    losses = keras_xent.BinaryCrossentropy(dtype=dtype)(np.ones((2, 3)), tensor(np.ones((2, 3)), dtype))
    assert 0 <= float(losses) < 1e-3


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype in SMALLEST_NORMAL])
def test_a_row_of_tiny_probabilities(dtype):
    """Two of a kind are one half each, unless their sum is no normal number: then they are zeros."""
    tiny = SMALLEST_NORMAL[dtype]
    loss = keras_xent.SparseCategoricalCrossentropy(dtype=dtype, reduction="none")
    probs = tensor([[2 * tiny] * 2, [tiny] * 2, [tiny / 4] * 2], dtype)
    losses, gradient = value_and_gradient(lambda x: loss(np.array([0, 0, 0]), x), probs)
    epsilon = np.asarray(1e-7, dtype).astype("float64")
    assert error_in_bounds(losses, [np.log(2), np.log(2), -np.log(epsilon)], dtype) <= 1
    assert error_in_bounds(gradient[:, 0], [-0.25 / tiny, -0.5 / tiny, 0.0], dtype) <= 1


def test_a_row_of_zero_probabilities():
    loss = keras_xent.CategoricalCrossentropy(reduction="none")
    losses, gradient = value_and_gradient(lambda x: loss(np.eye(2, 3), x), tensor(np.zeros((2, 3)), "float32"))
    assert error_in_bounds(losses, [-np.log(1e-7)] * 2, "float32") <= 1
    assert np.isfinite(gradient).all()


HOSTILE = [
    [1.0, 2.0, -np.inf],
    [1e4, -1e4, 0.0],
    [3e38, -3e38, 0.0],
    [-1e4, -1e4, -1e4],
    [7.0, 7.0, 7.0],
    [-np.inf, -np.inf, 0.0],
]


@pytest.mark.parametrize("mode", MODES)
def test_hostile_logits(mode):
    """Sparse and dense, value and gradient; a class at -inf with target 0 contributes nothing."""
    logits = np.repeat(rounded(np.array(HOSTILE), "float32"), 3, axis=0)
    labels = np.tile([0, 1, 2], len(HOSTILE))
    with np.errstate(over="ignore"):
        expected = np.float32(reference.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        gradients = reference.sparse_categorical_crossentropy_gradient(labels, logits, from_logits=True)
    for loss, y_true in (
        (keras_xent.SparseCategoricalCrossentropy, labels),
        (keras_xent.CategoricalCrossentropy, one_hot(labels, 3).astype("float32")),
    ):
        loss = loss(from_logits=True, reduction="none")
        losses, gradient = value_and_gradient(lambda x, loss=loss, y=y_true: loss(y, x), tensor(logits, "float32"), mode)
        assert error_in_bounds(losses, expected, "float32") <= 1
        assert error_in_bounds(gradient, gradients, "float32") <= 1


def test_hostile_binary_logits():
    logits = np.array([[-np.inf, np.inf, -3e38, 3e38, -1e4, 1e4, 0.0]])
    right = np.array([[0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.5]])
    loss = keras_xent.BinaryCrossentropy(from_logits=True, axis=(), reduction="none")
    losses, gradient = value_and_gradient(lambda x: loss(right, x), tensor(logits, "float32"))
    assert error_in_bounds(losses, [[0, 0, 0, 0, 0, 0, np.log(2)]], "float32") <= 1
    assert error_in_bounds(gradient, np.zeros((1, 7)), "float32", floor=1.0) <= 1
    losses, gradient = value_and_gradient(lambda x: loss(1 - right, x), tensor(logits, "float32"))
    assert error_in_bounds(losses, np.float32([[np.inf, np.inf, 3e38, 3e38, 1e4, 1e4, np.log(2)]]), "float32") <= 1
    assert error_in_bounds(gradient, [[-1, 1, -1, 1, -1, 1, 0]], "float32") <= 1


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_example_stays_alone(rng, bad, from_logits):
    values = rng.normal(size=(3, 4)) if from_logits else softmax(rng.normal(size=(3, 4)))
    spoiled = values.copy()
    spoiled[1, 2] = bad
    labels = np.array([0, 1, 3])
    for loss, y_true in (
        (keras_xent.SparseCategoricalCrossentropy(from_logits, reduction="none"), labels),
        (keras_xent.CategoricalCrossentropy(from_logits, reduction="none"), one_hot(labels, 4).astype("float32")),
        (keras_xent.BinaryCrossentropy(from_logits, reduction="none"), one_hot(labels, 4).astype("float32")),
        (keras_xent.DistillationLoss(targets="probs", from_logits=from_logits, reduction="none"), one_hot(labels, 4)),
    ):
        good, good_gradient = value_and_gradient(lambda x, f=loss, y=y_true: f(y, x), tensor(values, "float32"))
        losses, gradient = value_and_gradient(lambda x, f=loss, y=y_true: f(y, x), tensor(spoiled, "float32"))
        others = [0, 2]
        np.testing.assert_array_equal(losses[others], good[others])
        np.testing.assert_array_equal(gradient[others], good_gradient[others])
        if np.isnan(bad):
            assert np.isnan(losses[1])


def test_keras_logits_behind_a_softmax_are_left_alone():
    """The loss of probabilities is at most -log ε, also where TensorFlow keeps the logits that they came from."""
    probs = keras.ops.softmax(tensor([[-30.0, 0.0]], "float32"))
    losses = keras_xent.sparse_categorical_crossentropy([0], probs)
    assert error_in_bounds(array(losses), [-np.log(1e-7)], "float32") <= 1
    assert BACKEND != "tensorflow" or float(keras.losses.sparse_categorical_crossentropy(tensor([0]), probs)[0]) > 29

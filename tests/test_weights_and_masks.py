"""Sample weights, Keras masks and reductions: how they align, what they remove, what the denominator is."""

import functools
import itertools

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import _backend, reference
from keras_xent.parity.bounds import error_in_bounds

from .backends import DTYPES, MODES, array, rounded, tensor, value_and_gradient
from .cases import one_hot, predictions

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None)
BATCH, TIME, CLASSES = 3, 4, 5


class AttachMask(keras.layers.Layer):
    """Leaves its input as a layer does that computes a mask."""

    def __init__(self, mask):
        super().__init__(autocast=False)
        self.supports_masking = True
        self.mask = tensor(mask)

    def call(self, inputs):
        return inputs * 1.0

    def compute_mask(self, inputs, previous_mask=None):
        return self.mask


def with_mask(y_pred, mask):
    return AttachMask(mask)(y_pred)


def sequence(rng, from_logits=True):
    labels = rng.integers(0, CLASSES, size=(BATCH, TIME))
    return labels, predictions(rng, (BATCH, TIME, CLASSES), -1, from_logits)


def losses_of(labels, y_pred):
    return reference.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)


def close(actual, expected):
    return error_in_bounds(array(actual), expected, "float32", BATCH * TIME * CLASSES, 20) <= 1


WEIGHTS = {
    "none": None,
    "scalar": 2.5,
    "(B,)": np.array([0.5, 0.0, 2.0]),
    "(B, 1)": np.array([[0.5], [0.0], [2.0]]),
    "(1, T)": np.array([[1.0, 0.5, 0.0, 3.0]]),
    "(B, T)": np.arange(12.0).reshape(3, 4),
    "(B, T, 1)": np.arange(12.0).reshape(3, 4, 1),
    "all zero": np.zeros(3),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_reduction_with_every_weight(rng, reduction, masked):
    labels, y_pred = sequence(rng)
    mask = rng.uniform(size=(BATCH, TIME)) < 0.7 if masked else None
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    for sample_weight in WEIGHTS.values():
        logits = tensor(y_pred, "float32")
        logits = logits if mask is None else with_mask(logits, mask)
        expected = reference.reduce_losses(losses_of(labels, y_pred), sample_weight, mask, reduction)
        assert close(loss(labels, logits, sample_weight=sample_weight), expected), (sample_weight, mask)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_equals_keras_wherever_keras_takes_the_weights(rng, reduction):
    labels, y_pred = sequence(rng)
    mask = rng.uniform(size=(BATCH, TIME)) < 0.7
    arguments = {"from_logits": True, "reduction": reduction}
    ours = keras_xent.SparseCategoricalCrossentropy(**arguments)
    theirs = keras.losses.SparseCategoricalCrossentropy(**arguments)
    dense, their_dense = keras_xent.CategoricalCrossentropy(**arguments), keras.losses.CategoricalCrossentropy(**arguments)
    binary, their_binary = keras_xent.BinaryCrossentropy(**arguments), keras.losses.BinaryCrossentropy(**arguments)
    targets = one_hot(labels, CLASSES).astype("float32")
    alone = itertools.product(("none", "scalar", "(B, 1)", "(B, T)", "(B, T, 1)"), (False,))
    under_a_mask = itertools.product(("none", "(B, T)", "(B, T, 1)"), (True,))  # others Keras cannot multiply on PyTorch
    for name, masked in (*alone, *under_a_mask):
        logits, weights = tensor(y_pred, "float32"), WEIGHTS[name]
        logits = with_mask(logits, mask) if masked else logits
        assert close(ours(labels, logits, weights), array(theirs(labels, logits, weights))), (name, masked)
        assert close(dense(targets, logits, weights), array(their_dense(targets, logits, weights))), (name, masked)
        assert close(binary(targets, logits, weights), array(their_binary(targets, logits, weights))), (name, masked)


def test_batch_weights_weigh_the_batch_even_if_there_are_as_many_steps(rng):
    labels = rng.integers(0, CLASSES, size=(3, 3))
    y_pred = predictions(rng, (3, 3, CLASSES), -1, True)
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    weights = np.array([1.0, 10.0, 100.0])
    assert close(loss(labels, tensor(y_pred, "float32"), weights), losses_of(labels, y_pred) * weights[:, None])


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "eager"])
def test_weights_of_every_shape_in_compiled_code(rng, mode):
    """With as many steps as there are sequences, where only the shape says which of them are weighed."""
    labels, y_pred = rng.integers(0, CLASSES, size=(3, 3)), predictions(rng, (3, 3, CLASSES), -1, True)
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True)
    weights = [rng.uniform(size=shape) for shape in ((), (3,), (3, 1), (1, 3), (3, 3), (3, 3, 1))]
    given, labels_given = [tensor(each, "float32") for each in weights], tensor(labels)
    values, _ = value_and_gradient(
        lambda x: keras.ops.stack([loss(labels_given, x, each) for each in given]), tensor(y_pred, "float32"), mode
    )
    assert close(values, [reference.reduce_losses(losses_of(labels, y_pred), each) for each in weights])
    for shape in ((2,), (3, 3, 3), (1, 1, 1, 2)):
        wrong = tensor(np.ones(shape), "float32")
        with pytest.raises(Exception, match="must align with the leading axes"):
            value_and_gradient(lambda x, wrong=wrong: loss(labels_given, x, wrong), tensor(y_pred, "float32"), mode)


@pytest.mark.parametrize("shape", [(4,), (2,), (3, 5), (3, 4, 2), (3, 4, 5), (4, 3)])
def test_weights_that_fit_no_leading_axes(rng, shape):
    labels, y_pred = sequence(rng)
    with pytest.raises(ValueError, match=r"`sample_weight` must align with the leading axes"):
        keras_xent.SparseCategoricalCrossentropy(from_logits=True)(labels, tensor(y_pred, "float32"), np.ones(shape))


def test_a_mask_that_fits_no_leading_axes(rng):
    labels, y_pred = sequence(rng)
    logits = with_mask(tensor(y_pred, "float32"), np.ones((BATCH, TIME + 1), bool))
    with pytest.raises(ValueError, match=r"`mask` must align"):
        keras_xent.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)


LOSSES = {
    "dense": keras_xent.CategoricalCrossentropy(from_logits=True),
    "dense, from probabilities": keras_xent.CategoricalCrossentropy(),
    "sparse": keras_xent.SparseCategoricalCrossentropy(from_logits=True),
    "sparse, from probabilities": keras_xent.SparseCategoricalCrossentropy(label_smoothing=0.1),
    "binary": keras_xent.BinaryCrossentropy(from_logits=True),
    "binary, from probabilities": keras_xent.BinaryCrossentropy(),
    "distillation": keras_xent.DistillationLoss(targets="logits"),
}


# compiling takes seconds: the values take turns there
@pytest.mark.parametrize(
    ("mode", "removed_by", "bad"),
    [("eager", by, bad) for by in ("weight", "mask") for bad in (np.nan, np.inf, -np.inf, 3e38)]
    + [(mode, by, bad) for mode in MODES if mode != "eager" for by, bad in (("weight", np.nan), ("mask", np.inf))],
)
def test_a_removed_position_reaches_nothing(rng, bad, removed_by, mode):
    """Neither its prediction, nor its target, nor an invalid label changes the loss or any other gradient."""
    compiled_losses = ("sparse", "binary, from probabilities", "distillation")  # each takes seconds
    for name, loss in LOSSES.items():
        if mode != "eager" and name not in compiled_losses:
            continue
        sparse = name.startswith("sparse")
        y_pred = predictions(rng, (BATCH, CLASSES), -1, "probabilities" not in name)
        y_true = rng.integers(0, CLASSES, BATCH) if sparse else one_hot(rng.integers(0, CLASSES, BATCH), CLASSES)
        kept = np.array([True, False, True])
        spoiled, spoiled_true = y_pred.copy(), y_true.copy()
        spoiled[1, 2] = bad
        spoiled_true[1] = -5 if sparse else bad
        spoiled_true = spoiled_true.astype("int32" if sparse else "float32")

        y_true_tensor, weight, attach_mask = tensor(spoiled_true), tensor(kept, "float32"), AttachMask(kept)

        def compute(x, loss=loss, y_true=y_true_tensor, weight=weight, attach_mask=attach_mask):
            return loss(y_true, x, sample_weight=weight) if removed_by == "weight" else loss(y_true, attach_mask(x))

        value, gradient = value_and_gradient(compute, tensor(spoiled, "float32"), mode)
        weights = kept if removed_by == "weight" else kept * 1.5
        clean, clean_gradient = value_and_gradient(
            functools.partial(loss, tensor(y_true, "int32" if sparse else "float32"), sample_weight=tensor(weights, "float32")),
            tensor(y_pred, "float32"),
        )
        assert error_in_bounds(value, clean, "float32") <= 1, name
        assert error_in_bounds(gradient, clean_gradient, "float32") <= 1, name
        assert not gradient[1].any()


def test_a_weight_of_zero_has_its_gradient():
    """Weights can be learned from zero: the gradient with respect to a weight is its loss."""
    labels, y_pred = np.array([0, 1]), np.array([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]])
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    _, gradient = value_and_gradient(
        lambda weights: loss(labels, tensor(y_pred, "float32"), sample_weight=weights), tensor([0.0, 1.0], "float32")
    )
    assert close(gradient, losses_of(labels, y_pred))


def test_one_prediction_and_a_weight_is_a_weighted_mean_of_one(rng):
    """A single row has one loss; `"mean_with_sample_weight"` divides by the weight that it multiplies with."""
    y_pred = predictions(rng, (3,), -1, True)
    for reduction, factor in (("sum", 2.0), ("mean_with_sample_weight", 1.0), ("sum_over_batch_size", 2.0)):
        loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
        assert close(loss(np.array(1), tensor(y_pred, "float32"), 2.0), factor * losses_of(np.array(1), y_pred))


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if "16" not in dtype])
def test_lists_of_numbers_keep_the_digits_of_the_dtype(dtype):
    targets, logits, weights = [[0.1, 0.9], [0.3, 0.7]], [[0.2, 0.8], [-0.6, 0.4]], [0.1, 0.7]
    value = keras_xent.CategoricalCrossentropy(from_logits=True, dtype=dtype, reduction="sum")(targets, logits, weights)
    losses = reference.categorical_crossentropy(rounded(targets, dtype), rounded(logits, dtype), from_logits=True)
    assert error_in_bounds(array(value), (rounded(weights, dtype) * losses).sum(), dtype, 2) <= 1


@pytest.mark.parametrize(("reduction", "share"), [("sum", 1.0), ("sum_over_batch_size", 0.25), ("mean_with_sample_weight", 0.25)])
def test_replicas_share_the_mean(rng, monkeypatch, reduction, share):
    """Their gradients are added up: each takes its part of a mean, and all of a sum."""
    labels, y_pred = sequence(rng)
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    alone = array(loss(labels, tensor(y_pred, "float32"), WEIGHTS["(B, T)"]))
    monkeypatch.setattr(_backend, "num_replicas", lambda: 4)
    assert close(loss(labels, tensor(y_pred, "float32"), WEIGHTS["(B, T)"]), share * alone)


def test_weights_that_add_up_to_nothing():
    loss = keras_xent.BinaryCrossentropy(reduction="mean_with_sample_weight")
    assert float(loss(np.ones((3, 1)), np.full((3, 1), 0.5), np.array([1.0, -2.0, 1.0]))) == 0.0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_nothing_left(loss):
    """All weights 0, and an empty batch, cost 0."""
    labels = np.zeros((2,), "int32") if isinstance(loss, keras.losses.SparseCategoricalCrossentropy) else np.eye(2, 3)
    y_pred = tensor(np.full((2, 3), 0.5), "float32")
    assert float(loss(labels, y_pred, sample_weight=np.zeros(2))) == 0.0
    assert float(loss(labels[:0], y_pred[:0])) == 0.0


@pytest.mark.parametrize("loss", [keras_xent.SparseCategoricalCrossentropy(True, reduction="sum"), None])
def test_a_weight_of_zero_has_its_gradient_beside_a_removed_row(loss):
    """A bad prediction is removed, and nothing else: neither from the loss nor from the gradient of other weights."""
    y_true, y_pred = np.array([0, 1, 1]), np.array([[2.0, 0.5], [0.1, np.nan], [0.3, 0.2]])
    expected = losses_of(y_true, y_pred)
    if loss is None:  # each output has its weight
        loss = keras_xent.BinaryCrossentropy(True, axis=(), reduction="sum")
        y_true = one_hot(y_true, 2).astype("float32")
        expected = reference.binary_crossentropy(y_true, y_pred, from_logits=True, axis=())
    weights = np.zeros(y_true.shape)
    value, gradient = value_and_gradient(
        lambda weights: loss(y_true, tensor(y_pred, "float32"), sample_weight=weights), tensor(weights, "float32")
    )
    assert value == 0.0 and close(gradient, np.nan_to_num(expected))


@pytest.mark.parametrize(("axis", "left"), [(-1, 0), (0, 1), ((1,), 0), ((0, 2), 1), ((), 0)])
def test_weights_of_binary_losses_over_any_axes(rng, axis, left):
    """They align with the first axis that is left; where one is 0 it removes what is under it."""
    y_true, y_pred = rng.integers(0, 2, size=(2, 3, 4)).astype("float32"), predictions(rng, (2, 3, 4), None, True)
    losses = reference.binary_crossentropy(y_true, y_pred, from_logits=True, axis=axis)
    sample_weight = np.arange(float(len(losses)))
    np.moveaxis(y_pred, left, 0)[0] = np.nan
    loss = keras_xent.BinaryCrossentropy(True, axis=axis)
    value, gradient = value_and_gradient(
        lambda x: loss(y_true, x, sample_weight=tensor(sample_weight, "float32")), tensor(y_pred, "float32")
    )
    assert close(value, reference.reduce_losses(losses, sample_weight, None, "sum_over_batch_size"))
    assert np.array_equal(gradient != 0, ~np.isnan(y_pred))


def test_no_outputs_cost_nothing():
    assert array(keras_xent.BinaryCrossentropy(reduction="none")(np.ones((2, 0)), np.ones((2, 0)))).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["CategoricalGeneralizedCrossEntropy", "BinaryFocalCrossentropy", "KLDivergence"])
def test_a_prediction_outside_of_the_domain_without_weight(name):
    """Its loss is 0, and so is its gradient, though a power of a negative number is NaN."""
    options = {"gamma": 1.5} if "Focal" in name else {}
    loss, y_pred = getattr(keras_xent, name)(**options), np.full((3, 2), 0.5)
    y_pred[1] = -1.0, 2.0
    y_true = np.array([0, 1, 0]) if "Generalized" in name else one_hot([0, 1, 0], 2)
    value, gradient = value_and_gradient(lambda x: loss(y_true, x, np.array([1.0, 0.0, 1.0])), tensor(y_pred, "float32"))
    assert np.isfinite(value) and np.isfinite(gradient).all() and not gradient[1].any() and gradient[0].any()


def test_float64_predictions_of_a_float32_loss():
    """A slope that float64 holds is bounded by what float32 does."""
    for loss in (keras_xent.CategoricalCrossentropy(), keras_xent.KLDivergence(), keras_xent.BinaryCrossentropy()):
        y_pred = tensor(np.array([[1e-40, 1 - 1e-40]]), None if keras.backend.backend() == "jax" else "float64")
        value, gradient = value_and_gradient(lambda x, loss=loss: loss(one_hot([0], 2), x), y_pred)
        assert np.isfinite(value) and np.isfinite(gradient).all()

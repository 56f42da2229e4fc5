"""Kernels from probabilities: as exact as the steps, and with all their derivatives, however many numbers there are."""

import re

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import _kernels, reference
from keras_xent._kernels import numpy_rows

from .backends import BACKEND, MODES, array, tensor, value_and_gradient
from .kernels import taken
from .test_transforms import TRANSFORMS, gradient_of

NAMES = [f"{name}_FROM_PROBS" for name in ("SPARSE", "DENSE", "BINARY", "KL", "FOCAL", "BINARY_FOCAL")]
SPARSE, DENSE, BINARY = "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"
KL, FOCAL, BINARY_FOCAL = "kl_divergence", "categorical_focal_crossentropy", "binary_focal_crossentropy"
LOSSES = {
    "class ids": (NAMES[0], SPARSE, {}),
    "class ids, zero": (NAMES[0], SPARSE, {"saturated_gradient": "zero"}),
    "class ids, weighed": (NAMES[0], SPARSE, {"class_weight": {1: 2.5}, "epsilon": 0.01}),
    "distributions": (NAMES[1], DENSE, {}),
    "distributions, zero": (NAMES[1], DENSE, {"saturated_gradient": "zero"}),
    "distributions, smoothed": (NAMES[1], DENSE, {"label_smoothing": 0.1, "epsilon": 0.01}),
    "binary": (NAMES[2], BINARY, {}),
    "binary, zero": (NAMES[2], BINARY, {"saturated_gradient": "zero", "epsilon": 0.01}),
    "binary, weighed": (NAMES[2], BINARY, {"pos_weight": 2.5}),
    "divergence": (NAMES[3], KL, {}),
    "focal": (NAMES[4], FOCAL, {}),
    "focal, zero": (NAMES[4], FOCAL, {"saturated_gradient": "zero", "gamma": 1.0, "epsilon": 0.01}),
    "focal, 1.5": (NAMES[4], FOCAL, {"gamma": 1.5, "alpha": 0.75}),
    "binary focal": (NAMES[5], BINARY_FOCAL, {}),
    "binary focal, zero": (NAMES[5], BINARY_FOCAL, {"saturated_gradient": "zero", "gamma": 1.0, "epsilon": 0.01}),
    "binary focal, 1.5": (NAMES[5], BINARY_FOCAL, {"gamma": 1.5, "pos_weight": 2.5}),
    "divergence, zero": (NAMES[3], KL, {"saturated_gradient": "zero", "epsilon": 0.01}),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
SIZE_OF_FEW = {"jax": ("jax_rows", "A_FEW"), "tensorflow": ("tensorflow_rows", "LARGE"), "torch": ("torch_blocks", "BLOCK")}


@pytest.fixture(params=["few", "many"])
def as_many(request, monkeypatch):
    """A few numbers, computed as few are and as many are."""
    if request.param == "few":
        return
    module, size = SIZE_OF_FEW[BACKEND]
    monkeypatch.setattr(numpy_rows, "A_FEW", 0)
    monkeypatch.setattr(f"keras_xent._kernels.{module}.{size}", 1)
    if BACKEND == "tensorflow":
        monkeypatch.setattr("keras_xent._kernels.tensorflow_rows.WIDE", 1)
        monkeypatch.setattr("keras_xent._kernels.tensorflow_rows.PARTS", 2)


def example(name, num_classes=6, rows=8):
    """The loss, its options, its targets, and probabilities: two saturated, one 0, rows that sum to 3, to nothing and below 0."""
    kernel, function, options = LOSSES[name]
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(num_classes, 0.5), rows).astype("float32")
    labels = rng.integers(0, num_classes, rows)
    soft = np.float32(rng.uniform(size=probs.shape) * (rng.uniform(size=probs.shape) < 0.5))
    probs[0, :3] = 1e-9, 0.0, 1e-4
    probs[1], probs[1, 1] = 0.0, 1.0
    probs[2] *= 3.0
    labels[:2] = 0, 1
    if function not in (BINARY, BINARY_FOCAL):
        probs[3], probs[4] = 0.0, -probs[4]
    return kernel, getattr(keras_xent, function), options, labels if function == SPARSE else soft, probs


def without_kernels(monkeypatch):
    for name in NAMES:
        monkeypatch.setattr(_kernels, name, None)


@every_loss
def test_they_are_taken(name, monkeypatch):
    kernel, function, options, y_true, probs = example(name)
    assert taken(kernel, lambda: function(y_true, tensor(probs), **options), monkeypatch) == 1


@every_loss
def test_the_steps_are_taken_where_they_cannot(name, monkeypatch):
    kernel, function, options, y_true, probs = example(name)
    too_small = options | {"epsilon": 1e-9}  # 1 less that is 1
    assert taken(kernel, lambda: function(y_true, tensor(probs), **too_small), monkeypatch) == 0
    square = np.float32(np.random.default_rng(0).uniform(size=(6, 6)))
    y_true = y_true[:6]
    assert taken(kernel, lambda: function(y_true, tensor(square), **options, axis=0), monkeypatch) == 0


# a program of PyTorch's does not know few from many
WAYS = [(way, mode) for way in ("few", "many") for mode in MODES if (BACKEND, way, mode) != ("torch", "many", "compiled")]


@pytest.mark.parametrize(("as_many", "mode"), WAYS, indirect=["as_many"])
@pytest.mark.parametrize("num_classes", [5, 3001])
@pytest.mark.usefixtures("as_many")
@every_loss
def test_within_64_epsilon(name, num_classes, mode):
    """Of the definition: the losses, and each gradient of the larger of the two parts that it is the difference of."""
    _, function, options, y_true, probs = example(name, num_classes)
    pull = np.linspace(0.5, 2.0, len(probs)).astype("float32")
    losses, gradient = value_and_gradient(lambda x: tensor(pull) * function(y_true, x, **options), tensor(probs, "float32"), mode)
    given = y_true, np.float64(probs)
    right = pull * getattr(reference, function.__name__)(*given, **options, dtype="float32")
    slope = pull[:, None] * getattr(reference, f"{function.__name__}_gradient")(*given, **options, dtype="float32")
    assert (np.abs(losses - right) <= 64 * 2.0**-23 * np.abs(right) + 2.0**-30).all()
    assert (np.abs(gradient - slope) <= 64 * 2.0**-23 * larger_part(function, options, y_true, probs, pull[:, None], slope)).all()


def larger_part(function, options, y_true, probs, pull, slope):
    """A gradient from shares is what all classes of the target pull together, less what one pulls by itself.

    The one of a focal answer is its costs', of a yes and of a no, weighed, and what the weight changes.
    """
    if function is keras_xent.binary_focal_crossentropy:
        mistake = y_true * (1.0 - probs) + (1.0 - y_true) * probs
        unfocused = {name: value for name, value in options.items() if name != "gamma"}
        of_yes, of_no = (
            share
            * np.abs(reference.binary_crossentropy_gradient(np.full_like(share, answer), probs, **unfocused, dtype="float32"))
            for share, answer in ((y_true, 1.0), (1.0 - y_true, 0.0))
        )
        return np.maximum(np.abs(slope), pull * mistake ** options.get("gamma", 2.0) * np.maximum(of_yes, of_no))
    if function in (keras_xent.binary_crossentropy, keras_xent.kl_divergence):
        return np.abs(slope)
    mass = 2.5 if function is keras_xent.sparse_categorical_crossentropy else y_true.sum(-1, keepdims=True)
    totals = np.abs(probs.sum(-1, keepdims=True))
    return np.maximum(np.abs(slope), pull * mass / np.where(totals == 0.0, np.inf, totals))


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100, 2.0**127])
@pytest.mark.usefixtures("as_many")
@pytest.mark.parametrize("name", ["class ids", "distributions"])
def test_rows_of_any_size(name, scale):
    """Also those whose sum is no number of float32: the losses are the same, the gradients less by the factor."""
    _, function, options, y_true, _ = example(name)
    probs = np.float32(np.random.default_rng(1).dirichlet(np.full(6, 5.0), 8)) * np.float32(0.9)
    losses, gradient = value_and_gradient(lambda x: function(y_true, x, **options), tensor(probs))
    scaled = probs * np.float32(scale) * (2.0 if scale > 2.0**120 else 1.0)
    assert np.isfinite(scaled).all()
    of_scaled, slope = value_and_gradient(lambda x: function(y_true, x, **options), tensor(scaled))
    np.testing.assert_allclose(of_scaled, losses, rtol=1e-5)
    if scale < 2.0**120:  # else they are too small for a number of float32
        np.testing.assert_allclose(slope * scale, gradient, rtol=1e-4)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.usefixtures("as_many")
@every_loss
def test_transforms_are_those_of_the_steps(name, transform, monkeypatch):
    """Saturated probabilities included."""
    _, function, options, y_true, probs = example(name)
    weights = np.linspace(0.5, 2.0, len(probs)).astype("float32")
    apply, x = TRANSFORMS[transform], tensor(probs, "float32")

    def weighed(x):
        return keras.ops.sum(tensor(weights) * function(y_true, x, **options))

    results = keras.tree.flatten(apply(weighed, x))
    without_kernels(monkeypatch)
    for actual, expected in zip(results, keras.tree.flatten(apply(weighed, x)), strict=True):
        assert_alike(array(actual), array(expected))


@pytest.mark.usefixtures("as_many")
@every_loss
def test_second_derivatives_are_those_of_the_steps(name, monkeypatch):
    _, function, options, y_true, probs = example(name)
    gradient = gradient_of(lambda x: keras.ops.sum(function(y_true, x, **options)))
    along = tensor(np.float32(np.random.default_rng(1).normal(size=probs.shape)))
    twice = gradient_of(lambda x: keras.ops.sum(gradient(x) * along))
    actual = array(twice(tensor(probs)))
    without_kernels(monkeypatch)
    assert_alike(actual, array(twice(tensor(probs))))


@pytest.mark.usefixtures("as_many")
@pytest.mark.parametrize("name", [name for name, (_, function, _) in LOSSES.items() if function != SPARSE])
def test_derivatives_by_targets_are_those_of_the_steps(name, monkeypatch):
    """By targets, and those again by the probabilities."""
    _, function, options, y_true, probs = example(name)
    along = tensor(np.float32(np.random.default_rng(1).normal(size=probs.shape)))

    def by_targets(x):
        return gradient_of(lambda t: keras.ops.sum(function(t, x, **options)))(tensor(y_true))

    by_both = gradient_of(lambda x: keras.ops.sum(by_targets(x) * along))
    results = [array(each(tensor(probs))) for each in (by_targets, by_both)]
    without_kernels(monkeypatch)
    for actual, each in zip(results, (by_targets, by_both), strict=True):
        assert_alike(actual, array(each(tensor(probs))))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["class ids", "distributions", "binary", "divergence", "focal", "binary focal"])
def test_a_row_of_nan_stays_alone(name, mode):
    """In as many numbers as make blocks and programs; where a probability is 0, too."""
    _, function, options, y_true, probs = example(name, num_classes=700, rows=100)
    spoiled = probs.copy()
    spoiled[50, 7] = np.nan
    (good, slope), (losses, gradient) = (
        value_and_gradient(lambda x: function(y_true, x, **options), tensor(each), mode) for each in (probs, spoiled)
    )
    others = np.arange(100) != 50
    assert np.isnan(losses[50]) and np.isfinite(gradient[others]).all()
    np.testing.assert_array_equal(losses[others], good[others])
    np.testing.assert_array_equal(gradient[others], slope[others])


def test_a_target_of_nan():
    """It is clipped, too, by the divergence."""
    _, function, options, y_true, probs = example("divergence", num_classes=700, rows=100)
    y_true[50, 7] = np.nan
    assert np.isnan(array(function(y_true, tensor(probs), **options))).tolist() == (np.arange(100) == 50).tolist()


@every_loss
def test_no_rows(name):
    _, function, options, y_true, probs = example(name)
    assert array(function(y_true[:0], tensor(probs[:0]), **options)).shape == (0,)


if BACKEND == "torch":  # the others take numbers below the smallest normal one for 0, and rows of them for less than they are

    @pytest.mark.usefixtures("as_many")
    @every_loss
    def test_rows_of_numbers_that_are_not_normal(name):
        _, function, options, y_true, _ = example(name)
        tiny = np.tile(np.float32([0.06, 0.44, 0.5, 0.0, 0.0, 0.0]) * np.float32(1e-37), (8, 1))
        losses, gradient = value_and_gradient(lambda x: function(y_true, x, **options), tensor(tiny))
        definition = getattr(reference, f"{function.__name__}_gradient")(y_true, np.float64(tiny), **options, dtype="float32")
        assert np.isfinite(losses).all()
        assert (np.abs(gradient - definition) <= 1e-4 * np.abs(definition).max()).all()


@pytest.mark.parametrize("name", ["class ids", "distributions", "binary", "divergence"])
def test_nothing_else_is_as_large_as_the_gradient(name, monkeypatch):
    _, function, options, y_true, probs = example(name, num_classes=3000, rows=48)
    y_true, probs = tensor(y_true, "int32" if function is keras_xent.sparse_categorical_crossentropy else None), tensor(probs)
    assert arrays_written(lambda y, x: keras.ops.mean(function(y, x, **options)), y_true, probs, monkeypatch) < 1.1


def arrays_written(loss, y_true, probs, monkeypatch):
    """How much of their size is allocated for a loss and its gradient by the probabilities."""
    if BACKEND == "jax":
        import jax

        program = jax.jit(jax.value_and_grad(loss, argnums=1)).lower(y_true, probs).compile().memory_analysis()
        return (program.temp_size_in_bytes + program.output_size_in_bytes) / probs.nbytes
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def step(y_true, probs):
            with tf.GradientTape() as tape:
                tape.watch(probs)
                value = loss(y_true, probs)
            return value, tape.gradient(value, probs)

        text = tf.function(step, jit_compile=True).experimental_get_compiler_ir(y_true, probs)(stage="optimized_hlo")
        return len(re.findall(r"= f32\[48,3000\]\S* (?!parameter)", text[text.index("\nENTRY") :]))
    import torch

    monkeypatch.setattr("keras_xent._kernels.torch_blocks.BLOCK", 3000)
    probs.requires_grad_()
    with torch.profiler.profile(profile_memory=True) as profile:
        loss(y_true, probs).backward()
    allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages())
    return allocated / (probs.numel() * 4)


def assert_alike(actual, expected):
    """Row by row, of whatever has rows; where one is not finite the other is not.

    Along the probabilities themselves, losses of their shares do not change: that is a sum of rounding errors.
    """
    np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(expected))
    actual, expected = (np.atleast_2d(np.where(np.isfinite(each), each, 0.0)) for each in (actual, expected))
    largest = np.abs(expected).max(-1, keepdims=True)
    assert (np.abs(actual - expected) <= 1e-4 * np.maximum(largest, 0.1)).all()

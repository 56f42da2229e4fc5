"""Class ids: their dtypes and shapes, those to ignore, and those that are wrong."""

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import _checks, reference
from keras_xent.parity.bounds import error_in_bounds

from .backends import BACKEND, MODES, array, compiled, tensor, value_and_gradient
from .cases import predictions

NAN_MODES = {"tensorflow": ("xla",), "jax": ("compiled",), "torch": ("compiled",)}[BACKEND]


def close(actual, expected):
    return error_in_bounds(array(actual), expected, "float32", 100, 20) <= 1


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint32", "uint64", "bool", "float32", "float64"])
def test_label_dtypes(rng, dtype):
    labels = rng.integers(0, 2, size=6)
    y_pred = predictions(rng, (6, 300), -1, True)
    expected = reference.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)
    losses = keras_xent.sparse_categorical_crossentropy(labels.astype(dtype), tensor(y_pred, "float32"), from_logits=True)
    assert close(losses, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_labels_stay_integers_in_half_precision(rng, dtype):
    logits = np.zeros((1, 5000))
    logits[0, 4097] = 20.0
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype)
    assert float(loss(np.array([4097]), tensor(logits, dtype))) < 1e-4
    assert float(loss(np.array([4096]), tensor(logits, dtype))) > 19


def test_half_precision_labels_of_the_top_class():
    """257 classes: 256 is one of them, though bfloat16 takes the number of classes for 256 as well."""
    losses = keras_xent.sparse_categorical_crossentropy(tensor([256.0, 0.0], "bfloat16"), np.zeros((2, 257)), from_logits=True)
    assert close(losses, [np.log(257)] * 2)


def test_labels_in_float64_are_not_rounded_to_float32():
    """2**24 + 1 is a whole number that float32 does not hold."""
    labels = tensor(np.array([2.0**24 + 1, 2.0**24 + 1.5, 2.0**24 + 2]))
    np.testing.assert_array_equal(array(_checks.valid_labels(labels, 2**24 + 2)), [True, False, False])


def test_a_class_of_weight_zero_costs_nothing_even_where_it_is_impossible():
    logits, weights = tensor([[-np.inf, 1.0, 2.0]], "float32"), [0.0, 1.0, 1.0]
    sparse = keras_xent.sparse_categorical_crossentropy([0], logits, from_logits=True, class_weight=weights)
    dense = keras_xent.categorical_crossentropy([[1.0, 0.0, 0.0]], logits, from_logits=True, class_weight=weights)
    assert float(sparse[0]) == float(dense[0]) == 0.0


@pytest.mark.parametrize(
    ("labels_shape", "shape", "axis"),
    [((3, 1), (3, 4), -1), ((2, 3, 1), (2, 3, 4), -1), ((2, 1, 3), (2, 4, 3), 1), ((2, 3, 1), (2, 4, 3), 1), ((1, 3), (4, 3), 0)],
)
def test_a_singleton_class_axis(rng, labels_shape, shape, axis):
    labels, y_pred = rng.integers(0, 4, size=labels_shape), predictions(rng, shape, axis, False)
    rows = tuple(np.delete(shape, axis))
    expected = reference.sparse_categorical_crossentropy(labels.reshape(rows), y_pred, axis=axis)
    loss = keras_xent.SparseCategoricalCrossentropy(axis=axis, reduction="none")
    assert close(loss(labels, tensor(y_pred, "float32")), expected)


@pytest.mark.parametrize("ignore_class", [-1, [255], (1, -1), {0, 255}, np.array([2, 255]), np.int64(3), range(2)])
@pytest.mark.parametrize("from_logits", [True, False])
def test_ignored_classes_leave_the_denominator(rng, ignore_class, from_logits):
    ignored = np.atleast_1d(list(ignore_class) if not np.isscalar(ignore_class) else ignore_class)
    labels = np.array([0, 1, 2, 3, ignored[0], 2, 0, 3])
    y_pred = predictions(rng, (8, 4), -1, from_logits)
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=from_logits, ignore_class=ignore_class)
    counts = ~np.isin(labels, ignored)
    expected = reference.sparse_categorical_crossentropy(labels[counts], y_pred[counts], from_logits=from_logits)
    assert close(loss(labels, tensor(y_pred, "float32")), expected.mean())
    y_pred[~counts] = np.nan
    value, gradient = value_and_gradient(lambda x: loss(labels, x), tensor(y_pred, "float32"))
    assert close(value, expected.mean())
    assert np.isfinite(gradient).all() and not gradient[~counts].any()


@pytest.mark.parametrize("options", [{"ignore_class": -1}, {"invalid_labels": "ignore"}])
def test_a_loss_that_calls_the_function_leaves_ignored_positions_out(rng, options):
    """As with Keras's function: the losses carry the mask of the labels that count."""

    class Mine(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras_xent.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True, **options)

    labels, y_pred = np.array([0, -1, 2, -1]), predictions(rng, (4, 3), -1, True)
    expected = reference.sparse_categorical_crossentropy([0, 2], y_pred[[0, 2]], from_logits=True).mean()
    y_pred = tensor(y_pred, "float32")
    assert close(keras_xent.SparseCategoricalCrossentropy(from_logits=True, **options)(labels, y_pred), expected)
    assert close(Mine()(labels, y_pred), expected)
    if BACKEND == "jax":  # whose tracers take no attributes
        assert close(compiled(Mine(), "compiled")(tensor(labels), y_pred), expected)


@pytest.mark.parametrize("name", ["SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy"])
def test_wrong_labels_and_a_class_that_are_both_ignored(rng, name):
    y_pred, counts = predictions(rng, (5, 3), -1, True), np.array([True, False, False, True, False])
    labels = np.array([1, 0, -5, 2, 3])
    options = {"from_logits": True, "ignore_class": 0, "invalid_labels": "ignore"}
    losses, gradient = value_and_gradient(
        lambda x: getattr(keras_xent, name)(**options, reduction="none")(labels, x), tensor(y_pred, "float32")
    )
    assert (losses != 0).tolist() == (gradient != 0).any(-1).tolist() == counts.tolist()
    mean = getattr(keras_xent, name)(**options)(labels, tensor(y_pred, "float32"))
    assert close(mean, losses[counts].mean())


def test_ignore_255_in_uint8(rng):
    labels = np.array([[0, 255], [3, 1]], "uint8")
    y_pred = predictions(rng, (2, 2, 4), -1, True)
    losses = keras_xent.sparse_categorical_crossentropy(labels, tensor(y_pred, "float32"), True, 255)
    assert close(losses, reference.sparse_categorical_crossentropy(labels.astype(int), y_pred, True, 255))


def test_all_labels_ignored_cost_nothing():
    loss = keras_xent.SparseCategoricalCrossentropy(ignore_class=1)
    assert float(loss(np.array([1, 1]), np.array([[0.2, 0.8], [0.5, 0.5]]))) == 0.0


WRONG = {
    "too large": np.array([0, 4, 2], "int32"),
    "negative": np.array([0, -1, 2], "int32"),
    "wraps in int32": np.array([0, 2**32 + 1, 2], "int64"),
    "wraps in uint8": np.array([0, 260, 2], "uint16"),
    "a fraction": np.array([0.0, 1.5, 2.0], "float32"),
    "nan": np.array([0.0, np.nan, 2.0], "float32"),
}


@pytest.mark.parametrize("labels", WRONG.values(), ids=WRONG)
def test_a_wrong_label_is_named(rng, labels):
    y_pred = predictions(rng, (3, 4), -1, True)
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match=r"`y_true` holds .* at position 1") as caught:
        loss(labels, tensor(y_pred, "float32"))
    assert "ignore" in str(caught.value) or "CategoricalCrossentropy" in str(caught.value)
    ignoring = keras_xent.SparseCategoricalCrossentropy(from_logits=True, invalid_labels="ignore")
    expected = reference.sparse_categorical_crossentropy([0, 2], y_pred[[0, 2]], from_logits=True).mean()
    assert close(ignoring(labels, tensor(y_pred, "float32")), expected)


@pytest.mark.parametrize("mode", NAN_MODES)
@pytest.mark.parametrize("from_logits", [True, False])
def test_a_wrong_label_in_a_compiled_program_is_nan_for_its_example_alone(rng, from_logits, mode):
    y_pred = predictions(rng, (3, 4), -1, from_logits)
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=from_logits, reduction="none")
    labels = tensor([0, 4, 2], "int32")
    losses, gradient = value_and_gradient(lambda x: loss(labels * as_input(x), x), tensor(y_pred, "float32"), mode)
    expected = reference.sparse_categorical_crossentropy([0, 0, 2], y_pred, from_logits=from_logits)
    assert close(losses[[0, 2]], expected[[0, 2]]) and np.isnan(losses[1])
    assert np.isfinite(gradient[[0, 2]]).all() and np.isnan(gradient[1]).any()


def as_input(x):
    """1, but the compiler does not know it: it makes labels an input rather than a constant that can be read."""
    return keras.ops.cast(keras.ops.stop_gradient(keras.ops.sum(x) * 0.0 + 1.0), "int32")


if BACKEND == "tensorflow":  # the compiled programs of the other backends cannot raise: see the test above

    def test_a_wrong_label_in_a_graph_is_a_runtime_error(rng):
        import tensorflow as tf

        loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True)
        graph = tf.function(lambda labels, x: loss(labels, x))
        y_pred = tensor(predictions(rng, (3, 4), -1, True), "float32")
        assert np.isfinite(graph(tensor([0, 1, 2], "int32"), y_pred))
        with pytest.raises(tf.errors.InvalidArgumentError, match="not a class id"):
            graph(tensor([0, 4, 2], "int32"), y_pred)


@pytest.mark.parametrize("mode", MODES)
def test_no_wrong_label_counts_under_weight_zero(rng, mode):
    y_pred = predictions(rng, (3, 4), -1, True)
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    value, gradient = value_and_gradient(
        lambda x: loss(tensor([0, 9, 2], "int32"), x, sample_weight=tensor([1.0, 0.0, 1.0], "float32")),
        tensor(y_pred, "float32"),
        mode,
    )
    assert close(value, reference.sparse_categorical_crossentropy([0, 2], y_pred[[0, 2]], from_logits=True).sum())
    assert not gradient[1].any()


@pytest.mark.parametrize("labels", [["cat", "dog"], np.array(["cat", "dog"]), np.array([object(), None]), None, {"a": 1}])
def test_labels_that_are_no_numbers(labels):
    with pytest.raises(TypeError, match=r"`y_true`"):
        keras_xent.sparse_categorical_crossentropy(labels, np.full((2, 3), 1 / 3))


def test_no_one_hot_tensor_on_sparse_paths(rng, monkeypatch):
    """Neither by name, nor, in JAX's compiled training step, as a temporary of the logits' size beside the gradient."""
    monkeypatch.setattr(keras.ops, "one_hot", lambda *arguments, **options: pytest.fail("one_hot was called"))
    labels, y_pred = rng.integers(0, 5, 4), tensor(predictions(rng, (4, 5), -1, True), "float32")
    # Smoothing adds a second reduction, for which XLA keeps one copy of the logits.
    for smoothing, copies in ((0.0, 0.1), (0.1, 1.1)):
        loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        assert float(loss(labels, y_pred)) > 0
        if BACKEND == "jax":
            import jax
            import jax.numpy as jnp

            rows, classes = 64, 8192
            step = jax.jit(jax.value_and_grad(lambda x, y, loss=loss: loss(y, x)))
            program = step.lower(jnp.zeros((rows, classes)), jnp.zeros(rows, "int32")).compile()
            assert program.memory_analysis().temp_size_in_bytes < copies * rows * classes * 4


@pytest.mark.parametrize("label", [2**40, -(2**40), 2**31, -(2**31)])
def test_ids_beyond_32_bits(label):
    """They are no class, whatever is ignored, and the message does not suggest to ignore another one."""
    for ignore_class in (None, 2**31 - 1, -(2**31) + 1):
        loss = keras_xent.SparseCategoricalCrossentropy(ignore_class=ignore_class)
        with pytest.raises(ValueError, match="more than 32 bits at position 1"):
            loss(np.array([0, label]), np.full((2, 3), 1 / 3))
    losses = keras_xent.sparse_categorical_crossentropy([0, label], np.full((2, 3), 1 / 3), invalid_labels="ignore")
    assert close(losses, [np.log(3), 0.0])


def test_unsigned_ids_do_not_wrap_around():
    for labels in (np.array([2**64 - 1, 0], "uint64"), *([] if BACKEND != "tensorflow" else [tensor([2**64 - 1, 0], "uint64")])):
        with pytest.raises(ValueError, match="more than 32 bits at position 0"):
            keras_xent.SparseCategoricalCrossentropy(ignore_class=-1)(labels, np.full((2, 3), 1 / 3))

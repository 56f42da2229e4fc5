"""Linear cross-entropy is what its definition says, in value and in all gradients, whatever the chunks."""

import numpy as np
import pytest
from keras import ops

import keras_xent
from keras_xent import reference
from keras_xent.fused import linear
from keras_xent.fused.plan import CHUNK, Plan

from ..backends import BACKEND, MODES, array, rounded, tensor, value_and_gradient
from .problems import CLASSES, NAME, ROWS, Problem, far_off

ALL = {"z_loss": 0.2, "logit_softcap": 2.0, "label_smoothing": 0.1, "class_weight": {1: 3.0, 2: 0.0}, "ignore_class": [3, 7]}
NO_OPTIONS = {
    "ignore_class": None,
    "label_smoothing": 0.0,
    "class_weight": None,
    "z_loss": 0.0,
    "logit_softcap": None,
    "invalid_labels": "error",
    "chunk_size": 2,
}
OPTIONS = [
    {},
    {"label_smoothing": 0.1},
    {"class_weight": np.linspace(0.0, 2.0, CLASSES).tolist()},
    {"label_smoothing": 0.2, "class_weight": {0: 0.0, 3: 2.0}},
    {"z_loss": 0.1},
    {"logit_softcap": 1.5},
    ALL,
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "plain")
@pytest.mark.parametrize("with_bias", [True, False])
def test_options(options, with_bias):
    problem = Problem(with_bias=with_bias)
    assert not any(far_off(problem.actual(chunk_size=4, **options), problem.expected(**options)))


@pytest.mark.parametrize("mode", MODES)
def test_compiled(mode):
    problem = Problem()
    assert not any(far_off(problem.actual(mode, chunk_size=4, **ALL), problem.expected(**ALL)))


@pytest.mark.parametrize("chunk_size", [1, 6, ROWS - 1, ROWS, ROWS + 1])
def test_chunk_size_changes_nothing(chunk_size):
    problem = Problem()
    whole, cut = problem.actual(), problem.actual(chunk_size=chunk_size)
    assert not any(far_off(cut, whole, 4))


@pytest.mark.parametrize("options", [{}, ALL], ids=["plain", "all"])
@pytest.mark.parametrize("mode", MODES)
def test_many_logits(mode, options, monkeypatch):
    """On TensorFlow a chunk of so many has a program of its own, and the kernel's gradient is added up in parts."""
    if BACKEND == "tensorflow":
        from keras_xent.fused import tensorflow_sweep

        monkeypatch.setattr(tensorflow_sweep, "PART", 2**12)
    problem = Problem(rows=37, classes=5003)
    assert not any(far_off(problem.actual(mode, chunk_size=16, **options), problem.expected(**options)))


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("classes", [2, 3001])
def test_precision(scale, classes):
    """Features that pick one row of the kernel each make exact logits: within 64 ε, element by element."""
    problem = Problem(hidden=ROWS, classes=classes, with_bias=False)
    problem.features = np.eye(ROWS, dtype="float32")
    problem.kernel = np.float32(scale * problem.kernel)
    problem.labels = np.where(np.arange(ROWS) % 2, problem.kernel.argmin(-1), problem.kernel.argmax(-1)).astype("int32")
    (losses, (_, by_kernel)), (right, (_, right_by_kernel)) = problem.actual(chunk_size=4), problem.expected()
    for a, e in ((losses, right), (by_kernel, right_by_kernel)):
        assert (np.abs(a - e) <= 64 * 2.0**-23 * np.abs(e) + 2.0**-124).all()


@pytest.mark.parametrize("shape", [(), (2,), (3, 2), (0,)])
def test_leading_axes(shape):
    rng = np.random.default_rng(0)
    features, kernel = np.float32(rng.normal(size=(*shape, 5))), np.float32(rng.normal(size=(5, 7)))
    labels = rng.integers(0, 7, size=shape)
    losses = keras_xent.linear_sparse_categorical_crossentropy(tensor(labels, "int32"), tensor(features), tensor(kernel))
    assert losses.shape == shape
    np.testing.assert_allclose(array(losses), getattr(reference, NAME)(labels, features, kernel), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kernel_dtype", ["same", "float32"])
def test_half_precision_is_summed_in_float32(dtype, kernel_dtype):
    """The result and the features' gradient are rounded once; the gradient of a float32 kernel is not rounded at all."""
    problem = Problem(rows=64, classes=2003, with_bias=False)
    kernel_dtype = dtype if kernel_dtype == "same" else "float32"
    features, kernel = rounded(problem.features, dtype), rounded(problem.kernel, kernel_dtype)
    labels = tensor(problem.labels)
    right = getattr(reference, NAME)(problem.labels, features, kernel)
    _, right_by_kernel, _ = getattr(reference, f"{NAME}_gradient")(problem.labels, features, kernel)

    def by_kernel(x):
        return keras_xent.linear_sparse_categorical_crossentropy(labels, tensor(features, dtype), x, chunk_size=8)

    losses, gradient = value_and_gradient(by_kernel, tensor(kernel, kernel_dtype))
    epsilon = {"bfloat16": 2.0**-8, "float16": 2.0**-11}[dtype]
    assert (np.abs(losses - right) <= 1.01 * epsilon * np.abs(right)).all()
    if kernel_dtype == "float32":
        assert (np.abs(gradient - right_by_kernel) <= 64 * 2.0**-23 * np.abs(right_by_kernel).max()).all()


def test_the_rule_for_chunks():
    assert Plan().rows(128000, 256) == CHUNK // 128000 == 131
    assert Plan().rows(128256, 4096) == 2048  # half of the kernel's gradient
    assert Plan().rows(128000, 256, 2048) == 128  # chunks of one size
    assert Plan().rows(2**40, 1) == 1
    assert Plan(chunk_size=7).rows(128000, 256, 2048) == 7


@pytest.mark.parametrize("options", [{}, ALL])
def test_transposed_kernels(options):
    """An embedding's table is a kernel that lies the other way: same numbers."""
    problem = Problem()
    checked = linear.checked(**NO_OPTIONS | options)
    operands = tensor(problem.labels), tensor(problem.features)

    def of_table(x):
        return linear.Problem(*operands, x, tensor(problem.bias), checked, transposed=True).losses() * tensor(problem.upstream)

    losses, gradient = value_and_gradient(of_table, tensor(problem.kernel.T.copy()))
    right, (_, by_kernel, _) = problem.expected(**options)
    assert not any(far_off((losses, [gradient.T]), (right, [by_kernel])))


@pytest.mark.parametrize("weights", [[1.0, 0.0, 2.0], [0.5, -1.0, 0.0]])
def test_the_weighted_sum(weights):
    """Its gradients are made beside it; its derivative by a weight is a loss; a weight of 0 removes a row that overflows."""
    problem = Problem(rows=3)
    problem.features[np.asarray(weights) == 0] = 3e38
    problem.upstream = np.float32(weights)
    options = linear.checked(**NO_OPTIONS)
    labels, bias = tensor(problem.labels), tensor(problem.bias)

    def by_kernel(x):
        return 3.0 * linear.Problem(labels, tensor(problem.features), x, bias, options).weighted_sum(tensor(problem.upstream))

    total, gradient = value_and_gradient(by_kernel, tensor(problem.kernel))
    removed = np.asarray(weights) == 0
    problem.features[removed] = 0.0
    losses, (_, right, _) = problem.expected()
    assert np.isclose(total, 3.0 * losses[~removed].sum(), rtol=1e-5)
    np.testing.assert_allclose(gradient, 3.0 * right, rtol=1e-4, atol=1e-5)

    def by_weights(x):
        return linear.Problem(labels, tensor(problem.features), tensor(problem.kernel), bias, options).weighted_sum(x)

    _, slope = value_and_gradient(by_weights, tensor(problem.upstream))
    problem.upstream = np.ones(3, "float32")
    np.testing.assert_allclose(slope, problem.expected()[0], rtol=1e-5)


def test_labels_out_of_range():
    """An error now, where labels can be read; else one of the running program or, where there is none, NaN for that row alone."""
    problem = Problem()
    problem.labels[2] = CLASSES
    with pytest.raises(ValueError, match="holds class 31 at position 2"):
        problem.actual()
    given = tensor(problem.features), tensor(problem.kernel)
    if BACKEND == "jax":
        import jax

        losses = jax.jit(keras_xent.linear_sparse_categorical_crossentropy)(problem.labels, *given)
        assert np.isnan(losses).tolist() == (np.arange(ROWS) == 2).tolist()
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with pytest.raises(tf.errors.InvalidArgumentError, match="a label that is not a class id"):
            tf.function(keras_xent.linear_sparse_categorical_crossentropy)(tensor(problem.labels), *given)


def test_masks_travel_with_ignored_labels():
    problem = Problem()
    ignored = int(problem.labels[0])
    losses = keras_xent.linear_sparse_categorical_crossentropy(
        tensor(problem.labels), tensor(problem.features), tensor(problem.kernel), ignore_class=ignored
    )
    assert ((array(losses) == 0) == (problem.labels == ignored)).all()
    assert ops.shape(losses) == (ROWS,)

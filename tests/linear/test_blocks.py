"""Blocks of classes: what is measured of each, put together, and linear losses that TensorFlow computes so."""

import numpy as np
import pytest
from keras import ops

import keras_xent
from keras_xent.fused import linear
from keras_xent.fused.slopes import SparseCrossentropy, joined

from ..backends import BACKEND, MODES, array, tensor, value_and_gradient
from . import test_training
from .problems import CLASSES, Problem, far_off
from .test_against_reference import ALL, NO_OPTIONS, OPTIONS

INFINITE = [
    [0.0, 1.0, -np.inf, -np.inf, 2.0, 3.0],
    [-np.inf, -np.inf, -np.inf, -np.inf, 2.0, 3.0],
    [-np.inf, -np.inf, -np.inf, -np.inf, -np.inf, -np.inf],
    [np.inf, 1.0, 0.0, 0.0, 2.0, 3.0],
    [0.0, 1.0, 0.0, np.inf, 2.0, 3.0],
    [0.0, 1.0, 0.0, np.nan, 2.0, 3.0],
    [3e38, -3e38, 0.0, 1.0, 3e38, -3e38],
    [1e4, 0.0, -1e4, 1e4, 1.0, 2.0],
]


@pytest.mark.parametrize("loss", [SparseCrossentropy(), SparseCrossentropy(0.1, 0.2), SparseCrossentropy(0.1, 0.0, 2.0)])
@pytest.mark.parametrize("label", range(6))
@pytest.mark.parametrize("class_weight", [None, [1.0, 2.0, 0.0, 0.0, 1.0, 3.0]], ids=["even", "weighed"])
def test_blocks_make_a_whole(loss, label, class_weight):
    """Also of logits that are infinite, in some blocks or in all."""
    logits = tensor(np.float32(INFINITE))
    ids = tensor(np.full((len(INFINITE), 1), label), "int32")
    weights = None if class_weight is None else tensor(np.float32(class_weight))
    shares = loss.shares(ids, weights, 6, logits.dtype)

    def measured(first, end):
        even = shares.even[first:end] if len(shares.even.shape) else shares.even
        return loss.measure(logits[:, first:end], ids - first, even)

    whole = loss.losses(measured(0, 6), shares)
    cut = loss.losses(joined(joined(measured(0, 2), measured(2, 4)), measured(4, 6)), shares)
    np.testing.assert_allclose(array(cut), array(whole), rtol=4 * 2.0**-23)


if BACKEND == "tensorflow":
    import tensorflow as tf

    from keras_xent.fused import plan, tensorflow_blocks, tensorflow_classes

    @pytest.fixture(autouse=True)
    def small_blocks(monkeypatch):
        """Blocks of 5 classes, for up to 8 rows at a time; and a count of the losses that were computed by blocks."""
        used, losses = [], tensorflow_blocks.losses
        monkeypatch.setattr(tensorflow_classes, "CHUNK", 40)
        monkeypatch.setattr(tensorflow_classes, "ROWS", 8)
        monkeypatch.setattr(tensorflow_blocks, "losses", lambda *operands: used.append(1) or losses(*operands))
        return used

    @pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "plain")
    @pytest.mark.parametrize("with_bias", [True, False])
    @pytest.mark.parametrize("rows", [3, 7, 16, 21])
    def test_options(options, with_bias, rows, small_blocks):
        problem = Problem(rows=rows, with_bias=with_bias)
        assert not any(far_off(problem.actual(**options), problem.expected(**options)))
        assert small_blocks

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("rows", [7, 21])
    @pytest.mark.parametrize("classes", [30, CLASSES])
    def test_compiled(mode, rows, classes, small_blocks):
        problem = Problem(rows=rows, classes=classes)
        assert not any(far_off(problem.actual(mode, **ALL), problem.expected(**ALL)))
        assert small_blocks

    @pytest.mark.parametrize("mode", MODES)
    def test_blocks_of_many_logits(mode, monkeypatch, small_blocks):
        """Each has a program of its own."""
        monkeypatch.setattr(tensorflow_classes, "CHUNK", 2**17)
        monkeypatch.setattr(tensorflow_classes, "ROWS", 2**11)
        problem = Problem(rows=37, classes=5003)
        assert not any(far_off(problem.actual(mode, **ALL), problem.expected(**ALL)))
        assert small_blocks

    def test_an_unknown_number_of_rows(small_blocks):
        problem = Problem(rows=21)
        operands = [tensor(each) for each in (problem.labels, problem.features, problem.kernel, problem.bias)]

        @tf.function(
            input_signature=[tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in [*operands[:2], problem.upstream]]
        )
        def step(labels, features, upstream):
            with tf.GradientTape() as tape:
                tape.watch([features, *operands[2:]])
                losses = keras_xent.linear_sparse_categorical_crossentropy(labels, features, *operands[2:])
                total = tf.reduce_sum(losses * upstream)
            return losses, tape.gradient(total, [features, *operands[2:]])

        losses, gradients = step(*operands[:2], problem.upstream)
        assert not any(far_off((problem.upstream * array(losses), [*map(array, gradients)]), problem.expected()))
        assert small_blocks
        nothing, _ = step(operands[0][:0], operands[1][:0], problem.upstream[:0])
        assert nothing.shape == (0,)

    @pytest.mark.parametrize("options", [{}, ALL])
    def test_transposed_kernels(options, small_blocks):
        problem = Problem()
        checked = linear.checked(**NO_OPTIONS | {"chunk_size": None} | options)
        operands = tensor(problem.labels), tensor(problem.features)

        def of_table(x):
            return linear.Problem(*operands, x, tensor(problem.bias), checked, transposed=True).losses() * tensor(
                problem.upstream
            )

        for mode in MODES:
            losses, gradient = value_and_gradient(of_table, tensor(problem.kernel.T.copy()), mode)
            right, (_, by_kernel, _) = problem.expected(**options)
            assert not any(far_off((losses, [gradient.T]), (right, [by_kernel])))
        assert small_blocks

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("with_gradient", [True, False])
    def test_the_weighted_sum(mode, with_gradient, monkeypatch, small_blocks):
        """A weight of 0 removes a row that overflows; the derivative by a weight is a loss."""
        monkeypatch.setattr(plan, "CHUNK", 40)
        problem = Problem(rows=19)
        problem.upstream[::3] = 0.0
        removed = problem.upstream == 0
        problem.features[removed] = 3e38
        options = linear.checked(**NO_OPTIONS | {"chunk_size": None})
        given = [tensor(each) for each in (problem.labels, problem.features, problem.kernel, problem.bias)]

        def by_kernel(x):
            of = linear.Problem(given[0], given[1], x, given[3], options)
            return 3.0 * of.weighted_sum(tensor(problem.upstream), with_gradient)

        total, gradient = value_and_gradient(by_kernel, given[2], mode)
        problem.features[removed] = 0.0
        losses, (_, right, _) = problem.expected()
        assert np.isclose(total, 3.0 * losses[~removed].sum(), rtol=1e-5)
        np.testing.assert_allclose(gradient, 3.0 * right, rtol=1e-4, atol=1e-5)
        assert small_blocks

    @pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1000.0])
    def test_precision(scale, small_blocks):
        """Features that pick one row of the kernel each make exact logits: within 64 ε, element by element."""
        problem = Problem(rows=13, hidden=13, classes=CLASSES, with_bias=False)
        problem.features = np.eye(13, dtype="float32")
        problem.kernel = np.float32(scale * problem.kernel)
        problem.labels = np.where(np.arange(13) % 2, problem.kernel.argmin(-1), problem.kernel.argmax(-1)).astype("int32")
        (losses, (_, by_kernel)), (right, (_, right_by_kernel)) = problem.actual(), problem.expected()
        for a, e in ((losses, right), (by_kernel, right_by_kernel)):
            assert (np.abs(a - e) <= 64 * 2.0**-23 * np.abs(e) + 2.0**-124).all()
        assert small_blocks

    def test_chunk_size_asks_for_chunks_of_rows(small_blocks):
        problem = Problem()
        problem.actual(chunk_size=4)
        assert not small_blocks

    def test_a_chunk_of_many_rows_makes_logits_once(small_blocks):
        """Where the class is told its weights beforehand."""
        problem = Problem()
        options = linear.checked(**NO_OPTIONS | {"chunk_size": None})
        given = [tensor(each) for each in (problem.labels, problem.features, problem.kernel, problem.bias)]
        linear.Problem(*given, options).weighted_sum(tensor(problem.upstream))
        assert not small_blocks

    @pytest.mark.parametrize("kind", test_training.SOME)
    def test_a_model_trains_as_with_logits(kind, monkeypatch, small_blocks):
        monkeypatch.setattr(plan, "CHUNK", 40)
        test_training.test_same_weights_as_with_logits(kind, "options")
        assert small_blocks

    @pytest.mark.parametrize("mode", MODES)
    def test_half_precision_is_summed_in_float32(mode, small_blocks):
        problem = Problem(rows=21, with_bias=False)
        labels, features = tensor(problem.labels), tensor(problem.features, "bfloat16")
        problem.features = array(ops.cast(features, "float32"))

        def by_kernel(x):
            return keras_xent.linear_sparse_categorical_crossentropy(labels, features, x)

        losses, gradient = value_and_gradient(by_kernel, tensor(problem.kernel), mode)
        problem.upstream = np.ones(21, "float32")
        right, (_, right_by_kernel) = problem.expected()
        assert (np.abs(losses - right) <= 1.01 * 2.0**-8 * np.abs(right)).all()
        assert (np.abs(gradient - right_by_kernel) <= 64 * 2.0**-23 * np.abs(right_by_kernel).max()).all()
        assert small_blocks

    def unscaled(one, other):
        """The sums of two blocks, each measured from its own largest logit."""
        top_logit = ops.maximum(one.top_logit, other.top_logit)
        return one._replace(
            top_logit=top_logit, others=one.others + other.others, target_logit=one.target_logit + other.target_logit
        )

    def target_of_the_last_block(one, other):
        """The target's logit is forgotten when the next block has none."""
        return joined(one, other)._replace(target_logit=other.target_logit)

    def mean_upstream(operands, plan, weights, measured, gradients=tensorflow_blocks.gradients):
        """The gradient of a mean, whatever each loss is multiplied with."""
        return gradients(operands, plan, tf.ones_like(weights) * tf.reduce_mean(weights), measured)

    def stale_first_block(gradient, axis, turn, first, part, added=tensorflow_blocks.added):
        """The first block of the gradient is forgotten."""
        return added(gradient, axis, turn, first, tf.zeros_like(part) if turn is None else part)

    @pytest.mark.parametrize(
        ("name", "trap"),
        [
            ("joined", unscaled),
            ("joined", target_of_the_last_block),
            ("gradients", mean_upstream),
            ("added", stale_first_block),
        ],
    )
    def test_traps_are_caught(name, trap, monkeypatch):
        """Errors planted one by one: the definition finds each."""
        problem = Problem(rows=21)
        expected = problem.expected()
        assert not any(far_off(problem.actual(), expected))
        monkeypatch.setattr(tensorflow_blocks, name, trap)
        assert any(far_off(problem.actual(), expected))

    def test_no_tensor_of_the_graph_is_larger_than_a_block_or_the_kernel(monkeypatch):
        monkeypatch.setattr(tensorflow_classes, "CHUNK", 2**12)
        monkeypatch.setattr(tensorflow_classes, "ROWS", 2**11)
        problem = Problem(rows=61, hidden=8, classes=4001)
        given = [tensor(each) for each in (problem.features, problem.kernel)]

        @tf.function
        def step(features, kernel):
            with tf.GradientTape() as tape:
                tape.watch([features, kernel])
                losses = keras_xent.linear_sparse_categorical_crossentropy(problem.labels, features, kernel)
            return losses, tape.gradient(losses, [features, kernel])

        graphs, largest = [step.get_concrete_function(*given).graph], 0
        while graphs:
            graph = graphs.pop()
            graphs += [function.graph for function in graph._functions.values() if hasattr(function, "graph")]
            shapes = [output.shape for operation in graph.get_operations() for output in operation.outputs]
            largest = max([largest, *(shape.num_elements() for shape in shapes if shape.is_fully_defined())])
        assert largest == 8 * 4001

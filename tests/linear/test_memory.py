"""Nothing is as large as all logits: read from what is compiled or allocated, not from a clock."""

import weakref

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent.fused import distillation, distillation_problem, linear

from ..backends import BACKEND, tensor

ROWS, HIDDEN, CLASSES, CHUNK = 1021, 16, 4001, 32
OPTIONS = linear.checked(None, 0.0, None, 0.0, None, "error", CHUNK)


def losses(labels, features, kernel, transposed=False, reduced=True):
    problem = linear.Problem(labels, features, kernel, None, OPTIONS, transposed)
    return problem.weighted_sum(keras.ops.ones(len(labels))) if reduced else keras.ops.sum(problem.losses())


def distilled(labels, features, kernel, teacher="top_k"):
    """The same labels as what a teacher is sure of, or the same features as those of a teacher with another kernel."""
    said = keras.ops.stack([keras.ops.cast(labels, "float32"), -0.1 * keras.ops.ones(len(labels))], -1)[:, None]
    said = said if teacher == "top_k" else keras.ops.stop_gradient(features)
    head = None if teacher == "top_k" else distillation_problem.Teacher(2.0 * kernel)
    options = distillation.checked(2.0, teacher, "kl", 0.5, 0.0, None, True, "bucket", None, None, CHUNK)
    problem = distillation_problem.DistillationProblem(said, features, kernel, None, head, options)
    return problem.weighted_sum(keras.ops.ones(len(labels)))


def distilled_from_features(*operands):
    return distilled(*operands, teacher="features")


def inputs(rows=ROWS, transposed=False):
    rng = np.random.default_rng(0)
    kernel = np.float32(rng.normal(size=(CLASSES, HIDDEN) if transposed else (HIDDEN, CLASSES)))
    return (
        tensor(rng.integers(0, CLASSES, rows), "int32"),
        tensor(np.float32(rng.normal(size=(rows, HIDDEN)))),
        tensor(kernel),
    )


def unfused(labels, features, kernel):
    return keras_xent.SparseCategoricalCrossentropy(from_logits=True)(labels, keras.ops.matmul(features, kernel))


if BACKEND == "jax":
    import jax

    def temporaries(loss, *arguments):
        compiled = jax.jit(jax.value_and_grad(loss, (1, 2))).lower(*arguments).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    @pytest.mark.parametrize("loss", [distilled, distilled_from_features])
    def test_temporaries_of_distillation(loss):
        needed = temporaries(loss, *inputs())
        assert needed < 0.5 * 4 * ROWS * CLASSES  # half of the student's logits, of which the dense loss holds several
        assert temporaries(loss, *inputs(4 * ROWS)) - needed < 4 * 3 * ROWS * (2 * HIDDEN + 16)

    @pytest.mark.parametrize("reduced", [True, False])
    def test_temporaries(reduced):
        def loss(*operands):
            return losses(*operands, reduced=reduced)

        needed = temporaries(loss, *inputs())
        assert needed < 0.2 * temporaries(unfused, *inputs())
        assert temporaries(loss, *inputs(4 * ROWS)) - needed < 4 * 3 * ROWS * (HIDDEN + 8)  # features' gradient, losses, labels

    def test_a_transposed_kernel_is_not_copied():
        def loss(*operands):
            return losses(*operands, transposed=True)

        assert temporaries(loss, *inputs(transposed=True)) <= 1.1 * temporaries(losses, *inputs())


if BACKEND == "torch":
    import torch

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        """The most elements that any operation's result has had."""

        elements = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            for each in keras.tree.flatten(result):
                if torch.is_tensor(each):
                    self.elements = max(self.elements, each.untyped_storage().nbytes() // 4)
            return result

    def largest(loss, *arguments):
        labels, *leaves = arguments
        with Largest() as seen:
            loss(labels, *(leaf.requires_grad_() for leaf in leaves)).backward()
        return seen.elements

    @pytest.mark.parametrize("loss", [distilled, distilled_from_features])
    def test_no_tensor_of_distillation_is_larger_than_a_chunk_or_the_kernel(loss):
        assert largest(loss, *inputs()) <= 2 * CLASSES * max(HIDDEN, CHUNK)  # some of it in float64

    @pytest.mark.parametrize("reduced", [True, False])
    def test_no_tensor_is_larger_than_a_chunk_or_the_kernel(reduced):
        def loss(*operands):
            return losses(*operands, reduced=reduced)

        assert largest(loss, *inputs()) <= CLASSES * max(HIDDEN, CHUNK)
        assert largest(unfused, *inputs()) >= ROWS * CLASSES

    def test_a_view_of_a_table_is_not_copied():
        """Its gradient lies as the table does."""
        labels, features, table = inputs(transposed=True)
        table.requires_grad_()
        losses(labels, features, table.t()).backward()
        assert table.grad.is_contiguous()
        kernel = table.detach().t().requires_grad_()
        losses(labels, features, kernel).backward()
        assert kernel.grad.t().is_contiguous()


if BACKEND == "tensorflow":
    import tensorflow as tf

    from keras_xent.fused import tensorflow_sweep

    def elements(loss, *arguments):
        """How many elements the largest tensor of the graph has, the bodies of loops included."""

        @tf.function
        def step(labels, features, kernel):
            with tf.GradientTape() as tape:
                tape.watch([features, kernel])
                value = loss(labels, features, kernel)
            return value, tape.gradient(value, [features, kernel])

        graphs, largest = [step.get_concrete_function(*arguments).graph], 0
        while graphs:
            graph = graphs.pop()
            graphs += [function.graph for function in graph._functions.values() if hasattr(function, "graph")]
            for operation in graph.get_operations():
                for output in operation.outputs:
                    if output.shape.is_fully_defined() and output.dtype.is_floating:
                        largest = max(largest, output.shape.num_elements())
        return largest

    @pytest.mark.parametrize("loss", [distilled, distilled_from_features])
    def test_no_tensor_of_the_graph_of_distillation_is_larger_than_a_chunk_or_the_kernel(loss):
        assert elements(loss, *inputs()) <= CLASSES * max(HIDDEN, CHUNK)

    @pytest.mark.parametrize("reduced", [True, False])
    def test_no_tensor_of_the_graph_is_larger_than_a_chunk_or_the_kernel(reduced):
        def loss(*operands):
            return losses(*operands, reduced=reduced)

        assert elements(loss, *inputs()) <= CLASSES * max(HIDDEN, CHUNK)
        assert elements(unfused, *inputs()) >= ROWS * CLASSES

    @pytest.mark.parametrize("loss", [losses, distilled, distilled_from_features])
    def test_a_tape_of_eager_code_holds_no_logits(loss, monkeypatch):
        held, make = [], tensorflow_sweep.make_logits

        def remembered(*operands):
            logits = make(*operands)
            held.append(weakref.ref(logits))
            return logits

        monkeypatch.setattr(tensorflow_sweep, "make_logits", remembered)
        labels, features, kernel = inputs(rows=4 * CHUNK)
        with tf.GradientTape() as tape:
            tape.watch([features, kernel])
            value = loss(labels, features, kernel)
        assert len(held) >= 4 and not any(each() is not None for each in held)
        assert all(slope is not None for slope in tape.gradient(value, [features, kernel]))

"""Bad input: each message says what was passed, what was expected and what to do."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_xent
from keras_xent import fused
from keras_xent.fused import split_head

from ..backends import BACKEND, tensor
from .models import HIDDEN, make
from .problems import Problem

FEATURES, KERNEL, LABELS = np.ones((4, 3), "float32"), np.ones((3, 5), "float32"), np.zeros(4, "int32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": FEATURES[:, :2]}, r"ends in 2, but `kernel` takes 3 features.*Pass what the output layer is given"),
        ({"kernel": KERNEL.T}, r"do not fit.*Pass its transpose"),
        ({"kernel": KERNEL[0]}, r"must have shape \(hidden, num_classes\).*kernel.shape=\(5,\)"),
        ({"kernel": KERNEL[:, :1]}, r"expected num_classes > 1"),
        ({"bias": np.ones(4, "float32")}, r"one number per class, shape \(5,\).*bias.shape=\(4,\)"),
        ({"features": np.float32(1.0)}, r"`features` is a scalar"),
        ({"y_true": LABELS + 5}, r"holds class 5 at position 0"),
        ({"y_true": LABELS[:3]}, r"same shape up until the last dimension"),
        ({"chunk_size": 0}, r"`chunk_size` must be at least 1. Received: chunk_size=0"),
        ({"chunk_size": 2.5}, r"`chunk_size` must be an int"),
        ({"z_loss": -1.0}, r"`z_loss` must be a finite number, at least 0"),
        ({"logit_softcap": 0.0}, r"`logit_softcap` must be a finite number, above 0"),
        ({"class_weight": [1.0, 2.0]}, r"`class_weight` holds 2 numbers"),
        ({"class_weight": {7: 2.0}}, r"names class 7"),
    ],
)
def test_arguments(arguments, message):
    given = {"y_true": LABELS, "features": FEATURES, "kernel": KERNEL} | arguments
    with pytest.raises(ValueError, match=f"(?s){message}"):
        keras_xent.linear_sparse_categorical_crossentropy(**given)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (layers.Dense(5, "softmax", name="out"), r"'out' has the activation 'softmax'.*Give it `activation=None`"),
        (layers.EinsumDense("ab,bc->ac", (5,), name="out"), r"The head is 'out', a EinsumDense; expected a `keras.layers.Dense`"),
        (layers.Embedding(5, 3, name="out"), r"'out', a Embedding"),
        (keras.Sequential([layers.Dense(5)], name="out"), r"is a model, 'out'.*split_head\(model\)` gives the output layer"),
        ("dense", r"The head is a str"),
    ],
)
def test_heads(head, message):
    for needs_head in (keras_xent.LinearSparseCategoricalCrossentropy, fused.LinearPerplexity):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            needs_head(head)


def test_a_head_that_is_not_built():
    with pytest.raises(ValueError, match="has no kernel yet"):
        keras_xent.LinearSparseCategoricalCrossentropy(layers.Dense(5))(LABELS, FEATURES)


def ends_in(*last):
    inputs = keras.Input((3,))
    outputs = layers.Dense(5, name="dense")(inputs)
    for layer in last:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name="model")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: ends_in(layers.Softmax(name="softmax")), r"last operation of 'model' is 'softmax', a Softmax"),
        (lambda: ends_in(layers.Dense(5, "softmax", name="out")), r"'out' has the activation 'softmax'"),
        (lambda: ends_in(lambda x: [x, x]), r"must have one output.*2 outputs"),
        (
            lambda: keras.Sequential([layers.Dense(5)], name="s"),
            r"'s', a Sequential.*Begin a sequential model with `keras.Input`",
        ),
        (lambda: layers.Dense(5, name="d"), r"must be a `keras.Model`. Received: 'd', a Dense"),
    ],
)
def test_models(model, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        split_head(model())


def test_compile_wants_what_knows_the_head():
    model, head = split_head(make("plain"))
    loss = keras_xent.LinearSparseCategoricalCrossentropy(head)
    with pytest.raises(ValueError, match="ends in features, not logits: its `loss` must be one that knows the head"):
        model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="of which the metric 'accuracy' means nothing"):
        model.compile("sgd", loss, metrics=["accuracy"])
    other, _ = split_head(make("bias"))
    with pytest.raises(ValueError, match="has another head"):
        other.compile("sgd", loss)


@pytest.mark.skipif(not hasattr(layers, "ReversibleEmbedding"), reason="an older Keras")
def test_two_soft_caps():
    _, head = split_head(make("tied"))
    loss = keras_xent.LinearSparseCategoricalCrossentropy(head, logit_softcap=5.0)
    with pytest.raises(ValueError, match=r"`logit_softcap` is 5.0, but the head .* caps its logits at 2.0 itself"):
        loss(LABELS, np.ones((4, HIDDEN), "float32"))


@pytest.fixture(params=[4, None], ids=["rows", "usual"])
def chunk_size(request, monkeypatch):
    """Chunks of rows, or what is chosen: on TensorFlow blocks of classes, of few logits."""
    if BACKEND == "tensorflow":
        from keras_xent.fused import plan, tensorflow_classes

        monkeypatch.setattr(plan, "CHUNK", 100)
        monkeypatch.setattr(tensorflow_classes, "CHUNK", 100)
    return request.param


@pytest.mark.parametrize("reduced", [False, True])
def test_second_derivatives(reduced, chunk_size):
    """Refused, rather than wrong."""
    problem = Problem()
    labels, kernel = tensor(problem.labels), tensor(problem.kernel)
    options = keras_xent.fused.linear.checked(None, 0.0, None, 0.0, None, "error", chunk_size)

    def loss(x):
        made = keras_xent.fused.linear.Problem(labels, x, kernel, None, options)
        return made.weighted_sum(tensor(problem.upstream)) if reduced else keras.ops.sum(made.losses() ** 2)

    x = tensor(problem.features)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        if BACKEND == "jax":
            import jax

            jax.grad(lambda x: (jax.grad(loss)(x) ** 2).sum())(x)
        elif BACKEND == "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    value = loss(x)
                slopes = inner.gradient(value, x)
            outer.gradient(slopes, x)
        else:
            import torch

            x.requires_grad_()
            (slopes,) = torch.autograd.grad(loss(x), x, create_graph=True)
            slopes.square().sum().backward()


def test_features_of_a_gradient_by_weights(chunk_size):
    """Refused, rather than nothing at all in silence."""
    problem = Problem()
    labels, kernel, x, weights = map(tensor, (problem.labels, problem.kernel, problem.features, problem.upstream))
    options = keras_xent.fused.linear.checked(None, 0.0, None, 0.0, None, "error", chunk_size)

    def loss(x, weights):
        return keras_xent.fused.linear.Problem(labels, x, kernel, None, options).weighted_sum(weights)

    with pytest.raises(NotImplementedError, match="no second derivatives"):
        if BACKEND == "jax":
            import jax

            jax.grad(lambda x: jax.grad(loss, 1)(x, weights).sum())(x)
        elif BACKEND == "torch":
            import torch

            x.requires_grad_(), weights.requires_grad_()
            (losses,) = torch.autograd.grad(loss(x, weights), weights, create_graph=True)
            (losses.sum() + x.sum()).backward()
        else:
            import tensorflow as tf

            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(weights)
                    value = loss(x, weights)
                losses = inner.gradient(value, weights)
            outer.gradient(losses, x)


@pytest.mark.parametrize("reduced", [False, True])
def test_forward_mode(reduced, chunk_size):
    """Refused on each backend: on JAX by JAX itself, elsewhere with what to do instead."""
    problem = Problem()
    labels, kernel, x = tensor(problem.labels), tensor(problem.kernel), tensor(problem.features)
    options = keras_xent.fused.linear.checked(None, 0.0, None, 0.0, None, "error", chunk_size)

    def loss(x):
        made = keras_xent.fused.linear.Problem(labels, x, kernel, None, options)
        return made.weighted_sum(tensor(problem.upstream)) if reduced else keras.ops.sum(made.losses())

    if BACKEND == "jax":
        import jax

        with pytest.raises(TypeError, match=r"forward-mode autodiff \(jvp\) to a custom_vjp function"):
            jax.jvp(loss, (x,), (x,))
        return
    with pytest.raises(NotImplementedError, match=r"no forward mode. For those pass `keras.ops.matmul\(features, kernel\)"):
        if BACKEND == "tensorflow":
            import tensorflow as tf

            with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)):
                loss(x)
        else:
            import torch

            torch.func.jvp(loss, (x,), (x,))

"""A student that ends in its features learns from its teacher as the one with logits does; bad input; memory."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_xent
from keras_xent.fused import split_head

from ..backends import BACKEND, array, tensor
from .models import HIDDEN, LENGTH, data, make
from .test_distillation import Distilled, layer

TEMPERATURE = 2.0


def teachers():
    """The teacher's logits on the data, and its features and output layer."""
    model, head = split_head(make("bias", seed=1))
    x, *_ = data()
    return model.logits_model.predict(x, verbose=0), model.predict(x, verbose=0), head


def fit(model, loss, y_true):
    x, _, weights = data()
    model.compile("adam", loss)
    return model.fit(x, y_true, sample_weight=weights, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]


@pytest.mark.parametrize("kind", ["top_k", "features"])
def test_same_weights_as_with_logits(kind):
    """With hard labels, a mask and sample weights; the teacher stays as it is."""
    (_, labels, _), (logits, features, teacher_head) = data(), teachers()
    before, options = teacher_head.get_weights(), {"label_weight": 0.3, "labels": "sparse"}
    top_k = kind == "top_k"
    said = keras_xent.distill.top_k_targets(logits, 5, temperature=TEMPERATURE) if top_k else logits
    usual, shared = make("bias"), make("bias")
    dense = keras_xent.DistillationLoss(TEMPERATURE, targets="top_k" if top_k else "logits", **options)
    expected = fit(usual, dense, keras_xent.pack_targets(said, labels, top_k=top_k))
    student, head = split_head(shared)
    loss = keras_xent.LinearDistillationLoss(
        head, TEMPERATURE, targets=kind, teacher_head=None if top_k else teacher_head, chunk_size=5, **options
    )
    actual = fit(student, loss, keras_xent.pack_targets(said if top_k else features, labels, top_k=top_k))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    for one, other in zip(usual.get_weights(), shared.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(teacher_head.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_saved_student_trains_on(tmp_path):
    logits, _, _ = teachers()
    said = keras_xent.distill.top_k_targets(logits, 5, temperature=TEMPERATURE)
    student, head = split_head(make("bias"))
    loss = keras_xent.LinearDistillationLoss(head, TEMPERATURE, targets="top_k", tail="uniform", chunk_size=5)
    fit(student, loss, said)
    student.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == loss.get_config() and loaded.loss.head is loaded.head is not head
    x, *_ = data()
    assert loaded.evaluate(x, said, verbose=0) == student.evaluate(x, said, verbose=0)


def test_config_holds_no_heads():
    _, features, teacher_head = teachers()
    _, head = split_head(make("bias"))
    loss = keras_xent.LinearDistillationLoss(head, targets="features", teacher_head=teacher_head, divergence="jsd", beta=0.3)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config() and "head" not in loss.get_config() and again.head is None
    student = np.ones((*features.shape[:-1], HIDDEN), "float32")
    with pytest.raises(ValueError, match="has no head: a config does not hold one"):
        again(features, student)
    again.bind(head)
    with pytest.raises(ValueError, match=r"no teacher's output layer.*bind_teacher\(layer\)"):
        again(features, student)
    again.bind_teacher(teacher_head)
    assert array(again(features, student)) == array(loss(features, student))


FEATURES, KERNEL, SAID = np.ones((4, 3), "float32"), np.ones((3, 5), "float32"), np.ones((4, 2), "float32")
PAIRS = np.float32([[[0, -1.0], [1, -2.0]]] * 4)
TOP_K = {"targets": "top_k", "y_true": PAIRS, "teacher_kernel": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": FEATURES[:, :2]}, r"ends in 2, but `kernel` takes 3 features"),
        ({"y_true": SAID[:3]}, r"`y_true` must hold, behind the rows \(4,\) of `features`, the teacher's features"),
        ({"y_true": SAID[:, :1]}, r"`teacher_features` and `teacher_kernel` do not fit"),
        ({"teacher_kernel": np.ones((2, 6), "float32")}, r"The teacher has 6 classes, the student 5; expected the same classes"),
        ({"teacher_bias": np.ones(4, "float32")}, r"`teacher_bias` must have one number per class"),
        ({"teacher_kernel": None}, r'`teacher_kernel` goes with targets="features"'),
        ({**TOP_K, "y_true": SAID}, r"\(k, 2\) numbers with k at most 5, as `keras_xent.distill.top_k_targets`"),
        ({**TOP_K, "y_true": PAIRS, "labels": "sparse", "label_weight": 0.5}, r"`keras_xent.pack_targets`"),
        ({**TOP_K, "y_true": PAIRS + 4}, r"holds class 5 at position \(0, 1\)"),
        ({**TOP_K, "y_true": PAIRS * 0}, r"lists class 0 2 times at position 0; expected each class once"),
        ({**TOP_K, "teacher_kernel": KERNEL}, r'`teacher_kernel` goes with targets="features"'),
        ({"y_true": np.float32([[1.0, 1.0, 5.0]] * 4), "labels": "sparse", "label_weight": 0.5}, r"holds class 5 at position 0"),
        ({"targets": "logits"}, r"targets='logits'.*`keras_xent.DistillationLoss` on the logits"),
        ({"labels": "dense"}, r"labels='dense'.*`keras_xent.DistillationLoss` on the logits"),
        ({"label_weight": 0.5}, r"needs hard labels"),
        ({"temperature": 0.0}, r"`temperature` must be a finite number, above 0"),
        ({"divergence": "other"}, r"`divergence` must be"),
        ({"teacher_logit_softcap": 0.0}, r"`teacher_logit_softcap` must be a finite number, above 0"),
        ({"chunk_size": 0}, r"`chunk_size` must be at least 1. Received: chunk_size=0"),
    ],
)
def test_arguments(arguments, message):
    given = {"y_true": SAID, "features": FEATURES, "kernel": KERNEL, "targets": "features", "teacher_kernel": KERNEL[:2]}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        keras_xent.linear_distillation_loss(**given | arguments)


def test_heads():
    softmax = layers.Dense(5, "softmax", name="out")
    with pytest.raises(ValueError, match=r"'out' has the activation 'softmax'.*Give it `activation=None`"):
        keras_xent.LinearDistillationLoss(softmax, targets="top_k")
    with pytest.raises(ValueError, match=r"'out' has the activation 'softmax'"):
        keras_xent.LinearDistillationLoss(layer(KERNEL), targets="features", teacher_head=softmax)
    with pytest.raises(ValueError, match=r'`teacher_head` goes with targets="features"'):
        keras_xent.LinearDistillationLoss(layer(KERNEL), targets="top_k", teacher_head=layer(KERNEL))
    with pytest.raises(ValueError, match=r"makes its logits itself.*`keras_xent.DistillationLoss` on the logits"):
        keras_xent.explain(keras_xent.LinearDistillationLoss(targets="top_k"), PAIRS, FEATURES)


def test_half_precision_targets():
    with pytest.raises(ValueError, match=r"Keep what `keras_xent.pack_targets` returns in float32"):
        keras_xent.linear_distillation_loss(tensor(PAIRS, "float16"), FEATURES, KERNEL, targets="top_k")


def test_second_derivatives():
    """Refused, rather than wrong."""
    problem = Distilled("top_k")
    said, kernel, x = tensor(problem.said), tensor(problem.kernel), tensor(problem.features)

    def loss(x):
        return keras.ops.sum(keras_xent.linear_distillation_loss(said, x, kernel, targets="top_k", chunk_size=4) ** 2)

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


def test_shapes_that_the_running_program_knows():
    """A batch of any size, and a chunk that is not whole."""
    assert LENGTH * 11 % 5
    logits, features, teacher_head = teachers()
    student, head = split_head(make("bias"))
    loss = keras_xent.LinearDistillationLoss(head, TEMPERATURE, targets="features", teacher_head=teacher_head, chunk_size=5)
    student.compile("sgd", loss)
    x, *_ = data()
    student.logits_model.compile("sgd", keras_xent.DistillationLoss(TEMPERATURE, targets="logits"))
    expected = student.logits_model.evaluate(x, logits, batch_size=11, verbose=0)  # masks and regularisation count in both
    assert student.evaluate(x, features, batch_size=11, verbose=0) == pytest.approx(expected, rel=1e-5)

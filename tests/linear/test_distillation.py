"""Linear distillation is what its definition says, in value and in all gradients, whatever the chunks and whoever the teacher."""

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import reference

from ..backends import BACKEND, MODES, array, rounded, tensor, value_and_gradient
from .problems import CLASSES, HIDDEN, ROWS, Problem, far_off, value_and_gradients

TEMPERATURE, TEACHER_HIDDEN, K = 2.5, 7, 4
TEACHERS = ("top_k", "features")
LABELLED = {"labels": "sparse", "label_weight": 0.3}
OPTIONS = [
    {},
    {"divergence": "reverse_kl"},
    {"divergence": "jsd", "beta": 0.3},
    {"divergence": "crossentropy", "scale_by_temperature_squared": False},
    {"logit_softcap": 1.5},
    LABELLED,
]


class Distilled(Problem):
    """The student's problem, and a teacher's features, kernel and top-k beside it."""

    def __init__(self, teacher, scale=1.0, **kwargs):
        super().__init__(scale=scale, **kwargs)
        rng = np.random.default_rng(1)
        rows, classes = len(self.features), self.kernel.shape[-1]
        self.teacher = {"targets": teacher}
        said = np.float32(scale * rng.normal(size=(rows, TEACHER_HIDDEN)))
        kernel, bias = np.float32(rng.normal(size=(TEACHER_HIDDEN, classes))), np.float32(rng.normal(size=classes))
        self.teacher_logits = said @ kernel + bias
        if teacher == "features":
            self.teacher |= {"teacher_kernel": kernel, "teacher_bias": bias}
            self.said = said
        else:
            self.said = reference.top_k_targets(self.teacher_logits, K, temperature=TEMPERATURE).astype("float32")

    def given(self):
        """All arrays of the student's."""
        return [each for each in (self.features, self.kernel, self.bias) if each is not None]

    def expected(self, **options):
        """The definition's losses, times `upstream`, and the gradients of their sum."""
        if "labels" in options:
            options["hard_labels"] = self.labels
        operands = self.said, self.features, self.kernel, self.bias, TEMPERATURE
        options |= self.teacher
        losses = reference.linear_distillation_loss(*operands, **options)
        gradients = reference.linear_distillation_loss_gradient(*operands, upstream=self.upstream, **options)
        return self.upstream * losses, gradients[: len(self.given())]

    def y_true(self, options):
        """What the library is given of it."""
        packed = options.get("labels") is not None
        return keras_xent.pack_targets(self.said, self.labels, top_k=self.said.ndim == 3) if packed else self.said

    def actual(self, mode="eager", **options):
        """The same of the library."""
        y_true, upstream = tensor(self.y_true(options)), tensor(self.upstream)
        teacher = {name: tensor(each) if name != "targets" else each for name, each in self.teacher.items()}

        def pulled(features, kernel, bias=None):
            given = features, kernel, bias, TEMPERATURE
            return upstream * keras_xent.linear_distillation_loss(y_true, *given, **teacher, **options)

        return value_and_gradients(pulled, self.given(), mode)


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "plain")
def test_options(teacher, options):
    problem = Distilled(teacher)
    assert not any(far_off(problem.actual(chunk_size=4, **options), problem.expected(**options)))


@pytest.mark.parametrize("tail", ["renormalize", "uniform"])
def test_tails(tail):
    problem = Distilled("top_k", with_bias=False)
    assert not any(far_off(problem.actual(chunk_size=4, tail=tail), problem.expected(tail=tail)))


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("mode", MODES)
def test_compiled(teacher, mode):
    problem = Distilled(teacher)
    assert not any(far_off(problem.actual(mode, chunk_size=4, **LABELLED), problem.expected(**LABELLED)))


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("chunk_size", [1, 6, ROWS - 1, ROWS, ROWS + 1])
def test_chunk_size_changes_nothing(teacher, chunk_size):
    problem = Distilled(teacher)
    assert not any(far_off(problem.actual(chunk_size=chunk_size), problem.actual(), 4))


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_scales(teacher, scale):
    """Logits near 0 and far from it: within 64 ε of the largest of what the logits' own rounding leaves."""
    problem = Distilled(teacher, scale=scale, classes=1009)
    assert not any(far_off(problem.actual(chunk_size=4), problem.expected(), 64 * max(1.0, scale)))


def test_a_student_like_its_teacher():
    """Nothing is left, in value and gradient, but the rounding of the logits."""
    problem = Distilled("features", with_bias=False)
    problem.said, problem.teacher = problem.features, {"targets": "features", "teacher_kernel": problem.kernel}
    losses, gradients = problem.actual(chunk_size=4)
    assert np.abs(losses).max() < 1e-10 and max(np.abs(each).max() for each in gradients) < 1e-4


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"])
def test_the_class_is_the_loss_on_logits(teacher, reduction):
    """With weights, one of them 0 where features overflow, and labels of which some are ignored."""
    problem = Distilled(teacher)
    weights = np.float32(np.arange(ROWS) % 3)
    ignored = int(problem.labels[1])
    options = {**LABELLED, "ignore_class": ignored, "reduction": reduction}
    dense = keras_xent.DistillationLoss(TEMPERATURE, targets="top_k" if teacher == "top_k" else "logits", **options)
    said = problem.said if teacher == "top_k" else np.float32(problem.teacher_logits)
    y_true = keras_xent.pack_targets(said, problem.labels, top_k=teacher == "top_k")
    logits = tensor(np.float32(problem.features @ problem.kernel + problem.bias))
    right = array(dense(tensor(y_true), logits, tensor(weights)))
    loss = keras_xent.LinearDistillationLoss(
        layer(problem.kernel, problem.bias),
        TEMPERATURE,
        targets=teacher,
        teacher_head=None if teacher == "top_k" else layer(problem.teacher["teacher_kernel"], problem.teacher["teacher_bias"]),
        chunk_size=4,
        **options,
    )
    features = problem.features.copy()
    features[weights == 0] = np.nan
    given = array(loss(tensor(problem.y_true(LABELLED)), tensor(features), tensor(weights)))
    np.testing.assert_allclose(given, right, rtol=1e-5, atol=1e-6)


def layer(kernel, bias=None):
    """An output layer with these weights."""
    head = keras.layers.Dense(kernel.shape[1], use_bias=bias is not None)
    head.build((None, kernel.shape[0]))
    head.set_weights([kernel] if bias is None else [kernel, bias])
    return head


@pytest.mark.skipif(not hasattr(keras.layers, "ReversibleEmbedding"), reason="an older Keras")
def test_tied_heads():
    """Tables that lie the other way, with caps of their own, of student and teacher: same numbers."""
    problem = Distilled("features", with_bias=False)
    del problem.teacher["teacher_bias"]

    def table(kernel, soft_cap):
        head = keras.layers.ReversibleEmbedding(kernel.shape[1], kernel.shape[0], logit_soft_cap=soft_cap)
        head.build((None,))
        head.set_weights([kernel.T])
        return head

    loss = keras_xent.LinearDistillationLoss(
        table(problem.kernel, 2.0),
        TEMPERATURE,
        targets="features",
        teacher_head=table(problem.teacher["teacher_kernel"], 3.0),
        reduction="sum",
        chunk_size=4,
    )
    problem.upstream = np.ones(ROWS, "float32")
    losses, (by_features, *_) = problem.expected(logit_softcap=2.0, teacher_logit_softcap=3.0)
    said = tensor(problem.said)
    total, gradient = value_and_gradient(lambda x: loss(said, x), tensor(problem.features))
    assert total == pytest.approx(losses.sum(), rel=1e-5)
    assert np.abs(gradient - by_features).max() <= 64 * 2.0**-23 * np.abs(by_features).max()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("teacher", TEACHERS)
def test_half_precision_is_summed_in_float32(dtype, teacher):
    """The result is rounded once; the gradient of a float32 kernel is not rounded at all."""
    problem = Distilled(teacher, rows=32, classes=1009, with_bias=False)
    problem.features = rounded(problem.features, dtype)
    problem.upstream = np.ones(32, "float32")
    losses, (_, by_kernel) = problem.expected()
    said, features = tensor(problem.said), tensor(problem.features, dtype)

    def pulled(x):
        return keras_xent.linear_distillation_loss(said, features, x, None, TEMPERATURE, chunk_size=8, **problem.teacher)

    actual, gradient = value_and_gradient(pulled, tensor(problem.kernel))
    epsilon = {"bfloat16": 2.0**-8, "float16": 2.0**-11}[dtype]
    assert (np.abs(actual - losses) <= 1.01 * epsilon * np.abs(losses)).all()
    assert (np.abs(gradient - by_kernel) <= 64 * 2.0**-23 * np.abs(by_kernel).max()).all()


@pytest.mark.parametrize("shape", [(), (2,), (3, 2), (0,)])
@pytest.mark.parametrize("teacher", TEACHERS)
def test_leading_axes(shape, teacher):
    problem = Distilled(teacher, rows=int(np.prod(shape)) if shape else 1)
    said = problem.said.reshape(*shape, *problem.said.shape[1:])
    features = problem.features.reshape(*shape, HIDDEN)
    losses = keras_xent.linear_distillation_loss(tensor(said), tensor(features), problem.kernel, problem.bias, **problem.teacher)
    assert tuple(losses.shape) == shape
    right = reference.linear_distillation_loss(said, features, problem.kernel, problem.bias, **problem.teacher)
    np.testing.assert_allclose(array(losses), right, rtol=1e-4, atol=1e-5)


def test_the_teacher_has_no_gradient():
    problem = Distilled("features")
    said, kernel = tensor(problem.said), tensor(problem.teacher["teacher_kernel"])
    options = {"targets": "features", "chunk_size": 4}
    student = [tensor(each) for each in (problem.features, problem.kernel)]

    def by_teacher(x, place):
        teacher = [x if place == i else each for i, each in enumerate((said, kernel))]
        # 1e-20 x, so that there is something to differentiate by
        losses = keras_xent.linear_distillation_loss(teacher[0], *student, teacher_kernel=teacher[1], **options)
        return losses + 1e-20 * keras.ops.sum(x)

    for place, each in enumerate((said, kernel)):
        _, gradient = value_and_gradient(lambda x, place=place: by_teacher(x, place), each)
        assert np.abs(gradient).max() < 1e-15


@pytest.mark.parametrize("wrong", [CLASSES, "again"])
def test_ids_of_a_top_k(wrong):
    """An error now, where they can be read; else one of the running program or, where there is none, NaN for that row alone."""
    problem = Distilled("top_k")
    problem.said[2, 1, 0] = problem.said[2, 0, 0] if wrong == "again" else wrong
    with pytest.raises(ValueError, match="at position" if wrong == "again" else r"holds class 31 at position \(2, 1\)"):
        problem.actual(chunk_size=4)
    given = tensor(problem.said), tensor(problem.features), tensor(problem.kernel)

    def loss(*operands):
        return keras_xent.linear_distillation_loss(*operands, targets="top_k", chunk_size=4)

    if BACKEND == "jax":
        import jax

        assert np.isnan(jax.jit(loss)(*given)).tolist() == (np.arange(ROWS) == 2).tolist()
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with pytest.raises(tf.errors.InvalidArgumentError, match="an id that is no class, or a class twice"):
            tf.function(loss)(*given)

"""What goes wrong between a teacher and its student."""

import keras
import numpy as np
import pytest

import keras_xent

from .models import CLASSES, ROWS, X, Y, codes, mlp, saying, trained

LOGITS = np.random.default_rng(3).normal(size=(ROWS, CLASSES)).astype("float32") * 3
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
LABELS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def kerases(loss, teacher=None, student=None, temperature=3.0, label_loss=LABELS, **options):
    distillation = loss
    if not hasattr(loss, "compute_loss"):
        distillation = keras.distillation.LogitsDistillation(temperature=temperature, **({} if loss is None else {"loss": loss}))
    distiller = keras.distillation.Distiller(
        teacher=teacher or mlp(seed=5), student=student or mlp(), distillation_losses=distillation, **options
    )
    distiller.compile("sgd", loss=label_loss)
    return distiller


def ours(teacher=None, student=None, label_loss=LABELS, label_weight=0.5, **options):
    distiller = keras_xent.distill.Distiller(
        teacher=teacher or mlp(seed=5),
        student=student or mlp(),
        distillation_loss=keras_xent.DistillationLoss(**{"targets": "logits"} | options),
        label_weight=label_weight,
    )
    distiller.compile("sgd", loss=label_loss)
    return distiller


@pytest.mark.parametrize("loss", [None, "kl_divergence", "categorical_crossentropy"])
def test_kerases_default_gets_raw_logits(loss):
    assert codes(kerases(loss), X, Y) == ["raw-logits-distilled"]
    assert codes(kerases(keras.losses.KLDivergence()), X, Y) == []
    adapter = keras_xent.distill.KerasDistillation(keras_xent.DistillationLoss(targets="logits"))
    assert codes(kerases(adapter), X, Y) == []


def test_the_numbers_of_kerases_default():
    """Those of the table of known differences."""
    teacher, student = ([1.0, -2.0, 3.0, 0.5], [0.2, -1.0, 1.0, 0.1])
    models = [keras.Sequential([keras.Input((1,)), keras.layers.Dense(4, kernel_initializer="zeros")]) for _ in range(2)]
    for model, bias in zip(models, (teacher, student), strict=True):
        model.layers[-1].set_weights([np.zeros((1, 4)), np.array(bias)])
    (finding,) = keras_xent.diagnose(kerases(None, *models), np.zeros((2, 1)), np.array([2, 2]))
    assert "the loss is 1.903," in finding.evidence and "is 0.477." in finding.evidence


def test_logits_as_probabilities_in_y_true():
    def loss(targets):
        return keras_xent.DistillationLoss(targets=targets)

    assert codes(mlp(), X, LOGITS, loss("probs")) == ["raw-logits-distilled"]
    assert codes(mlp(), X, PROBS, loss("probs")) == codes(mlp(), X, LOGITS, loss("logits")) == []
    assert codes(mlp(), X, PROBS, loss("logits")) == ["teacher-probs-as-logits"]
    assert codes(mlp(), X, PROBS, loss("log_probs")) == ["teacher-probs-as-logits"]
    assert codes(mlp(), X, np.log(PROBS), loss("log_probs")) == []


@pytest.mark.parametrize("loss", ["kl_divergence", "categorical_crossentropy", keras_xent.KLDivergence()])
def test_logits_as_targets_of_an_ordinary_loss(loss):
    assert codes(mlp("softmax"), X, LOGITS, loss) == ["raw-logits-distilled"]
    assert codes(mlp("softmax"), X, PROBS, loss) == []


def test_packed_targets():
    def loss(targets, **options):
        return keras_xent.DistillationLoss(targets=targets, labels="sparse", label_weight=0.5, **options)

    packed, student = keras_xent.pack_targets(PROBS, Y), mlp()
    assert codes(student, X, packed, loss("probs")) == []
    assert codes(student, X, packed, loss("logits")) == ["teacher-probs-as-logits"]
    assert codes(mlp("softmax"), X, packed, loss("probs", from_logits=False)) == []
    assert codes(mlp("softmax"), X, packed, loss("probs")) == ["double-softmax"]
    assert codes(student, X, keras_xent.pack_targets(PROBS, Y + CLASSES), loss("probs")) == ["label-out-of-range"]
    ignored = keras_xent.pack_targets(PROBS, np.where(Y == 0, -1, Y))
    assert codes(student, X, ignored, loss("probs", ignore_class=-1)) == []
    dense = keras_xent.pack_targets(PROBS, np.eye(CLASSES)[Y])
    dense_loss = keras_xent.DistillationLoss(targets="probs", labels="dense", label_weight=0.5)
    assert codes(student, X, dense, dense_loss) == []
    twice = keras_xent.pack_targets(PROBS, 2 * np.eye(CLASSES)[Y])
    assert codes(student, X, twice, dense_loss) == ["targets-not-normalized"]


def test_top_k():
    pairs = keras_xent.distill.top_k_targets(LOGITS, 2, temperature=4.0)
    assert codes(mlp(), X, pairs, keras_xent.DistillationLoss(targets="top_k")) == []
    packed = keras_xent.pack_targets(pairs, Y, top_k=True)
    assert codes(mlp(), X, packed, keras_xent.DistillationLoss(targets="top_k", labels="sparse", label_weight=0.3)) == []


def test_a_temperature_without_its_square():
    (finding,) = keras_xent.diagnose(ours(temperature=4.0, scale_by_temperature_squared=False), X, Y)
    assert finding.code == "temperature-not-squared" and "about 16 times smaller" in finding.evidence
    assert codes(ours(temperature=4.0), X, Y) == codes(ours(temperature=1.0, scale_by_temperature_squared=False), X, Y) == []
    loss = keras_xent.DistillationLoss(2.0, targets="logits", scale_by_temperature_squared=False)
    assert codes(mlp(), X, LOGITS, loss) == ["temperature-not-squared"]


def test_the_temperature_of_the_distiller_counts():
    distiller = ours(temperature=1.0, scale_by_temperature_squared=False)
    distiller.temperature = 3.0
    (finding,) = keras_xent.diagnose(distiller, X, Y)
    assert "at temperature 3 " in finding.evidence


def test_softmax_models_in_distillers():
    teacher, student = mlp("softmax", seed=5), mlp("softmax")
    probabilities = keras.losses.SparseCategoricalCrossentropy()
    found = keras_xent.diagnose(ours(teacher, student, probabilities), X, Y)
    assert [finding.code for finding in found] == ["double-softmax", "teacher-probs-as-logits"]
    assert all(finding.evidence.startswith("distillation loss: ") for finding in found)
    mended = {"targets": "probs", "from_logits": False}
    assert codes(ours(teacher, student, probabilities, **mended), X, Y) == []
    kl = keras.losses.KLDivergence()
    assert codes(kerases(kl, teacher, student, label_loss=probabilities), X, Y) == ["double-softmax", "teacher-probs-as-logits"]
    assert codes(kerases(kl, label_loss=probabilities), X, Y) == ["logits-as-probs"]


def test_probabilities_at_temperature_1_in_kerases_distiller():
    """A name of a loss is right there: it hands on what it is given."""
    models = mlp("softmax", seed=5), mlp("softmax")
    assert codes(kerases("kl_divergence", *models, temperature=1.0, label_loss="sparse_categorical_crossentropy"), X, Y) == []


def test_labels_alone():
    assert codes(kerases(None, student_loss_weight=1.0), X, Y) == []


def test_teacher_and_student_swapped():
    knows, guesses = trained(), mlp(seed=9)
    for make in (ours, lambda *models: kerases(keras.losses.KLDivergence(), *models)):
        (finding,) = keras_xent.diagnose(make(guesses, knows), X, Y)
        assert finding.code == "teacher-student-swapped" and "of 32 labels" in finding.evidence
        assert codes(make(knows, guesses), X, Y) == codes(make(knows, knows), X, Y) == codes(make(guesses, mlp()), X, Y) == []


def test_a_distiller_without_labels():
    assert codes(ours(label_weight=0, label_loss=None), X, None) == []
    assert codes(ours(mlp("softmax"), label_weight=0, label_loss=None), X, None) == ["teacher-probs-as-logits"]


def test_several_outputs_in_a_distiller():
    def model(activation=None):
        inputs = keras.Input((CLASSES,))
        head = keras.layers.Softmax() if activation else keras.layers.Identity()
        return keras.Model(inputs, {"a": keras.layers.Identity()(inputs), "b": head(inputs)})

    loss = keras_xent.DistillationLoss(targets="logits")
    distiller = keras_xent.distill.Distiller(
        teacher=model("softmax"), student=model(), distillation_loss={"a": loss, "b": loss}, label_weight=0.0
    )
    (finding,) = keras_xent.diagnose(distiller, LOGITS)
    assert finding.code == "teacher-probs-as-logits" and finding.evidence.startswith("distillation loss, output 'b': ")


def test_hard_labels_as_targets_of_a_distillation_loss():
    assert codes(saying((CLASSES,)), LOGITS, LOGITS, keras_xent.DistillationLoss(targets="logits")) == []

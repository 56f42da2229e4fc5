"""Sample weights and masks that do not reach the losses that they are meant for."""

import keras
import numpy as np
import pytest

import keras_xent

from .models import CLASSES, ONE_HOT, PADDED, ROWS, STEPS, YES, X, Y, codes, dense, mlp, tagger

TAGS = np.random.default_rng(1).integers(0, CLASSES, (ROWS, STEPS))
WEIGHTS = np.linspace(0.5, 2.0, ROWS).astype("float32")
SPARSE = "sparse_categorical_crossentropy"


@pytest.mark.parametrize("rows", [ROWS, STEPS])  # of as many examples as steps Keras weighs the steps, without a word
def test_weights_of_examples_on_losses_of_steps(rows):
    x, y, weights = PADDED[:rows], TAGS[:rows], WEIGHTS[:rows]
    (finding,) = keras_xent.diagnose(tagger("softmax"), x, y, SPARSE, sample_weight=weights)
    assert finding.code == "weights-broadcast"
    assert ("weighs axis 1 instead" in finding.evidence) == (rows == STEPS)
    assert codes(tagger("softmax"), x, y, SPARSE, sample_weight=weights[:, None]) == []
    assert codes(tagger("softmax"), x, y, SPARSE, sample_weight=np.ones((rows, STEPS))) == []
    assert codes(tagger("softmax"), x, y, keras_xent.SparseCategoricalCrossentropy(), sample_weight=weights) == []


def test_what_keras_does_with_such_weights():
    """What the finding says of it."""
    y, pred = TAGS[:STEPS], np.full((STEPS, STEPS, CLASSES), 1 / CLASSES, "float32")
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="none")
    values = keras.ops.convert_to_numpy(loss(y, pred, np.arange(STEPS, dtype="float32")))
    np.testing.assert_allclose(values, np.log(CLASSES) * np.broadcast_to(np.arange(STEPS), (STEPS, STEPS)), rtol=1e-5)


@pytest.mark.parametrize("loss", ["binary_crossentropy", keras_xent.BinaryCrossentropy()])
def test_weights_of_outputs_on_losses_of_examples(loss):
    weights = np.ones((ROWS, CLASSES)) * WEIGHTS[:, None]
    assert codes(mlp("sigmoid"), X, ONE_HOT, loss, sample_weight=weights) == ["weights-broadcast"]
    for fitting in (WEIGHTS, WEIGHTS[:, None]):
        assert codes(mlp("sigmoid"), X, ONE_HOT, loss, sample_weight=fitting) == []
    assert codes(mlp("sigmoid", 1), X, YES, loss, sample_weight=WEIGHTS) == []


class Forgetful(keras.layers.Layer):
    """Hands no mask on."""

    def call(self, inputs):
        return inputs + 0.0

    def compute_mask(self, inputs, previous_mask=None):
        return None


class Careful(Forgetful):
    """Does."""

    def compute_mask(self, inputs, previous_mask=None):
        return previous_mask


def test_a_mask_that_is_lost():
    model = tagger("softmax", mask_zero=True, between=[Forgetful()])
    (finding,) = keras_xent.diagnose(model, PADDED, TAGS, SPARSE)
    assert finding.code == "mask-not-applied" and f"{(PADDED == 0).sum()} of {PADDED.size} positions" in finding.evidence
    careful = Careful()
    careful.supports_masking = True
    assert codes(tagger("softmax", mask_zero=True, between=[careful]), PADDED, TAGS, SPARSE) == []
    assert codes(model, PADDED, TAGS, SPARSE, sample_weight=(PADDED != 0).astype("float32")) == []
    ignoring = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    assert codes(model, PADDED, np.where(PADDED == 0, -1, TAGS), ignoring) == []
    assert codes(model, np.maximum(PADDED, 1), TAGS, SPARSE) == []  # nothing is padding
    assert codes(tagger("softmax", between=[Forgetful()]), PADDED, TAGS, SPARSE) == []  # nothing is masked


def test_a_mask_of_features_that_is_lost():
    x = np.random.default_rng(2).normal(size=(ROWS, STEPS, 3)).astype("float32") * (PADDED != 0)[..., None]

    def model(*between):
        return keras.Sequential([keras.Input((STEPS, 3)), keras.layers.Masking(), *between, dense(activation="softmax")])

    assert codes(model(Forgetful()), x, TAGS, SPARSE) == ["mask-not-applied"]
    assert codes(model(keras.layers.LSTM(4, return_sequences=True)), x, TAGS, SPARSE) == []


def test_a_mask_that_was_used_up():
    """One prediction for a sequence: its layer has seen the mask."""
    model = tagger("softmax", mask_zero=True, between=[keras.layers.LSTM(4)])
    assert codes(model, PADDED, Y, SPARSE) == []


def test_masked_positions_are_not_looked_at():
    wrong = np.where(PADDED == 0, 99, TAGS)
    assert codes(tagger("softmax", mask_zero=True), PADDED, wrong, SPARSE) == []
    assert codes(tagger("softmax"), PADDED, wrong, SPARSE) == ["label-out-of-range"]


class Padded(keras.Model):
    """Without a graph, and without what would hand the mask on."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = keras.layers.Embedding(20, 4, mask_zero=True), dense(activation="softmax")

    def call(self, tokens):
        return self.out(self.embedding(tokens) + 0.0)


def test_a_subclassed_model_that_loses_a_mask():
    model = Padded()
    model(PADDED[:1])
    found = codes(model, PADDED, TAGS, SPARSE)
    assert found == ["mask-not-applied"]


def test_everything_is_masked():
    model = tagger("softmax", mask_zero=True)
    assert codes(model, np.zeros_like(PADDED), np.full_like(TAGS, 99), SPARSE) == []
    assert codes(mlp(), X, Y + 99, SPARSE, sample_weight=np.zeros(ROWS)) == []


def test_a_number_for_all_weights():
    assert codes(mlp("softmax"), X, Y, SPARSE, sample_weight=np.float32(2.0)) == []


def test_a_metric_that_shows_another_number():
    model = mlp("softmax")
    model.compile("sgd", SPARSE, metrics=["accuracy", SPARSE])
    (finding,) = keras_xent.diagnose(model, X, Y, sample_weight=WEIGHTS)
    assert finding.code == "metric-unweighted" and finding.severity == "note"
    logs = model.evaluate(X, Y, sample_weight=WEIGHTS, batch_size=ROWS, verbose=0, return_dict=True)
    assert f"The loss is {logs['loss']:.4g} " in finding.evidence
    assert f"will show {logs[SPARSE]:.4g}: " in finding.evidence
    assert codes(model, X, Y) == codes(model, X, Y, sample_weight=np.ones(ROWS)) == []


def test_a_metric_under_a_mask():
    model = tagger("softmax", mask_zero=True)
    model.compile("sgd", SPARSE, metrics=[SPARSE], weighted_metrics=[keras.metrics.SparseCategoricalCrossentropy(name="its")])
    weights = np.linspace(0.0, 2.0, PADDED.size).reshape(PADDED.shape).astype("float32")
    plain, weighted = keras_xent.diagnose(model, PADDED, TAGS, sample_weight=weights)
    logs = model.evaluate(PADDED, TAGS, sample_weight=weights, batch_size=ROWS, verbose=0, return_dict=True)
    assert f"The loss is {logs['loss']:.4g} " in plain.evidence and f"will show {logs[SPARSE]:.4g}: " in plain.evidence
    assert f"will show {logs['its']:.4g}: " in weighted.evidence


def test_a_weighted_metric_that_shows_another_number():
    model = mlp("softmax")
    metrics = [keras.metrics.SparseCategoricalCrossentropy(name="its")]
    model.compile("sgd", SPARSE, weighted_metrics=metrics)
    (finding,) = keras_xent.diagnose(model, X, Y, sample_weight=WEIGHTS)
    logs = model.evaluate(X, Y, sample_weight=WEIGHTS, batch_size=ROWS, verbose=0, return_dict=True)
    assert finding.code == "metric-unweighted" and f"will show {logs['its']:.4g}: " in finding.evidence
    loss = keras_xent.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    model.compile("sgd", loss, weighted_metrics=metrics)
    assert codes(model, X, Y, sample_weight=WEIGHTS) == []


def test_weights_that_a_distiller_drops():
    distiller = keras.distillation.Distiller(
        teacher=mlp(seed=5),
        student=mlp(),
        distillation_losses=keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence()),
    )
    distiller.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert codes(distiller, X, Y, sample_weight=WEIGHTS) == ["weights-ignored"]
    assert codes(distiller, X, Y) == []
    ours = keras_xent.distill.Distiller(
        teacher=mlp(seed=5), student=mlp(), distillation_loss=keras_xent.DistillationLoss(targets="logits")
    )
    ours.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert codes(ours, X, Y, sample_weight=WEIGHTS) == []


def test_a_mask_that_a_distiller_drops():
    adapter = keras_xent.distill.KerasDistillation(keras_xent.DistillationLoss(targets="logits"))
    teacher, student = tagger(mask_zero=True), tagger(mask_zero=True)
    distiller = keras.distillation.Distiller(teacher=teacher, student=student, distillation_losses=adapter)
    distiller.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert codes(distiller, PADDED, TAGS) == ["mask-not-applied"]
    ours = keras_xent.distill.Distiller(
        teacher=teacher, student=student, distillation_loss=keras_xent.DistillationLoss(targets="logits")
    )
    ours.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert codes(ours, PADDED, TAGS) == []

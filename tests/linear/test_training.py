"""A model that ends in its features trains as the one with logits does, is saved, loaded and trained on."""

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import fused
from keras_xent.fused import FeaturesModel, split_head

from ..backends import array
from .models import CLASSES, HIDDEN, KINDS, LENGTH, data, make

LOSSES = {
    "default": {},
    "options": {"ignore_class": [3, 4], "label_smoothing": 0.1, "reduction": "mean_with_sample_weight"},
    "sum": {"reduction": "sum"},
}
SOME = KINDS[::3]  # a head with a kernel and a bias of its own, and one that has the embedding's


def compiled(model, head, **options):
    metrics = [fused.LinearSparseCategoricalAccuracy(head), fused.LinearPerplexity(head)]
    model.compile("adam", keras_xent.LinearSparseCategoricalCrossentropy(head, **options), weighted_metrics=metrics)
    return model


def fit(model, sample_weight=None):
    x, y, _ = data()
    return model.fit(x, y, sample_weight=sample_weight, batch_size=4, epochs=2, shuffle=False, verbose=0).history


@pytest.mark.parametrize(
    ("options", "kind"), [(options, kind) for options in LOSSES for kind in (KINDS if options == "default" else SOME)]
)
def test_same_weights_as_with_logits(kind, options):
    usual, shared = make(kind), make(kind)
    before = shared.get_weights()
    usual.compile("adam", keras_xent.SparseCategoricalCrossentropy(from_logits=True, **LOSSES[options]))
    weights = None if options == "default" else data()[2]
    expected = fit(usual, weights)
    features_model, head = split_head(shared)
    assert features_model.output_shape == (None, LENGTH, HIDDEN)
    assert len(features_model.trainable_variables) == len(shared.trainable_variables)
    actual = fit(compiled(features_model, head, **LOSSES[options]), weights)
    np.testing.assert_allclose(actual["loss"], expected["loss"], rtol=1e-5)
    for one, other, start in zip(usual.get_weights(), shared.get_weights(), before, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
        assert not np.array_equal(other, start)


@pytest.mark.parametrize("kind", ["plain", "tied"])
def test_metrics_of_training_are_those_of_the_model_with_logits(kind):
    """They see the kernel that made the losses, though the optimizer has changed it by the time they are updated."""
    x, y, weights = data()
    usual = make(kind)
    features_model, head = split_head(make(kind))
    entropy = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy")
    usual_loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True)
    usual.compile(keras.optimizers.SGD(3.0), usual_loss, weighted_metrics=["accuracy", entropy])
    metrics = [fused.LinearSparseCategoricalAccuracy(head), fused.LinearPerplexity(head)]
    loss = keras_xent.LinearSparseCategoricalCrossentropy(head)
    features_model.compile(keras.optimizers.SGD(3.0), loss, weighted_metrics=metrics)
    options = {"sample_weight": weights, "batch_size": len(x), "epochs": 3, "shuffle": False, "verbose": 0}
    expected, actual = (model.fit(x, y, **options).history for model in (usual, features_model))
    np.testing.assert_allclose(actual["accuracy"], expected["accuracy"], rtol=1e-6)
    np.testing.assert_allclose(actual["perplexity"], np.exp(expected["entropy"]), rtol=1e-5)


def test_predictions_are_those_of_the_model_with_logits():
    model = make("bias")
    features_model, head = split_head(model)
    assert features_model.logits_model is model and features_model.head is head is model.layers[-1]
    fit(compiled(features_model, head))
    x, *_ = data()
    features = features_model.predict(x, verbose=0)
    expected = features @ keras.ops.convert_to_numpy(head.kernel) + keras.ops.convert_to_numpy(head.bias)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_metrics(kind):
    """Those of the logits, of what is neither masked nor weighed with 0."""
    model = make(kind)
    features_model, head = split_head(model)
    compiled(features_model, head)
    x, y, weights = data()
    result = features_model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    logits = model.predict(x, verbose=0)
    weights = weights * (x != 0) if kind in ("bias", "plain", "sequential") else weights
    losses = keras_xent.reference.sparse_categorical_crossentropy(y, logits, from_logits=True)
    assert result["accuracy"] == pytest.approx(np.average(logits.argmax(-1) == y, weights=weights), rel=1e-5)
    assert result["perplexity"] == pytest.approx(np.exp(np.average(losses, weights=weights)), rel=1e-5)


@pytest.mark.parametrize(("nested", "kind"), [(nested, kind) for nested in (False, True) for kind in (SOME if nested else KINDS)])
def test_a_saved_model_trains_on(kind, nested, tmp_path):
    features_model, head = split_head(make(kind))
    loss = keras_xent.LinearSparseCategoricalCrossentropy(head, z_loss=1e-3, chunk_size=5)
    metrics = [fused.LinearSparseCategoricalAccuracy(head), fused.LinearPerplexity(head, ignore_class=1)]
    features_model.compile("adam", [loss] if nested else loss, metrics=[metrics] if nested else metrics)
    fit(features_model)
    features_model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, FeaturesModel) and loaded.head is not head
    x, y, _ = data()
    np.testing.assert_array_equal(loaded.logits_model.predict(x, verbose=0), features_model.logits_model.predict(x, verbose=0))
    assert loaded.evaluate(x, y, verbose=0) == features_model.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(fit(loaded)["loss"], fit(features_model)["loss"], rtol=1e-6)
    for one, other in zip(features_model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        features_model, head = split_head(make("bias"))
        history = fit(compiled(features_model, head))
    finally:
        keras.config.set_dtype_policy(policy)
    assert history["loss"][1] < history["loss"][0] and head.kernel.dtype == "float32"


def test_config_holds_no_head():
    _, head = split_head(make("bias"))
    loss = keras_xent.LinearSparseCategoricalCrossentropy(head, class_weight={1: 2.0}, logit_softcap=3.0)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config() and "head" not in loss.get_config() and again.head is None
    with pytest.raises(ValueError, match="has no head: a config does not hold one"):
        again(np.zeros(2), np.zeros((2, HIDDEN)))
    again.bind(head)
    features, labels = np.ones((2, HIDDEN), "float32"), np.array([0, CLASSES - 1])
    assert array(again(labels, features)) == array(loss(labels, features))

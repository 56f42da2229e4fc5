"""Every argument survives: configs, Keras's registry, saved models, pickle and copies."""

import copy
import inspect
import json
import pickle

import keras
import numpy as np
import pytest

import keras_xent

from .backends import array

EVERY_ARGUMENT = {
    keras_xent.CategoricalCrossentropy: {
        "from_logits": True,
        "label_smoothing": 0.1,
        "axis": 1,
        "class_weight": {2: 2.5, 0: 0.5},
        "epsilon": 1e-5,
        "saturated_gradient": "zero",
    },
    keras_xent.SparseCategoricalCrossentropy: {
        "from_logits": True,
        "ignore_class": [-1, 2],
        "axis": 1,
        "label_smoothing": 0.1,
        "class_weight": [1.0, 2.0, 3.0],
        "invalid_labels": "ignore",
        "epsilon": 1e-5,
        "saturated_gradient": "zero",
    },
    keras_xent.BinaryCrossentropy: {
        "from_logits": True,
        "label_smoothing": 0.1,
        "axis": (0, 1),
        "pos_weight": [1.0, 2.0, 3.0],
        "epsilon": 1e-5,
        "saturated_gradient": "zero",
    },
    keras_xent.DistillationLoss: {
        "temperature": 2.0,
        "targets": "probs",
        "from_logits": False,
        "divergence": "crossentropy",
        "label_weight": 0.25,
        "labels": "sparse",
        "scale_by_temperature_squared": False,
        "ignore_class": 1,
        "axis": 1,
    },
}
SHARED = {"reduction": "sum", "name": "mine", "dtype": "bfloat16"}
EVERY_LOSS = pytest.mark.parametrize("loss_class", EVERY_ARGUMENT, ids=lambda c: c.__name__)


def with_every_argument(loss_class, **changed):
    return loss_class(**{**EVERY_ARGUMENT[loss_class], **SHARED, **changed})


@EVERY_LOSS
def test_no_argument_is_missing_here(loss_class):
    parameters = inspect.signature(loss_class.__init__).parameters
    assert set(parameters) == {"self", *EVERY_ARGUMENT[loss_class], *SHARED}
    for name, value in {**EVERY_ARGUMENT[loss_class], **SHARED}.items():
        assert value != parameters[name].default, name


@EVERY_LOSS
def test_configs(loss_class):
    loss = with_every_argument(loss_class)
    config = json.loads(json.dumps(loss.get_config()))
    assert set(config) == {*EVERY_ARGUMENT[loss_class], *SHARED}
    for clone in (
        loss_class.from_config(config),
        keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss)))),
        keras.losses.get(keras.losses.serialize(loss)),
        pickle.loads(pickle.dumps(loss)),
        copy.deepcopy(loss),
    ):
        assert type(clone) is loss_class
        assert json.loads(json.dumps(clone.get_config())) == config and clone.dtype == loss.dtype


@EVERY_LOSS
def test_saved_models(loss_class, tmp_path):
    """A compiled model comes back with its loss, without `custom_objects`."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    loss = with_every_argument(loss_class, axis=-1)
    model.compile("sgd", loss=loss)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is loss_class and loaded.loss.get_config() == loss.get_config()


def test_functions_in_saved_models(tmp_path):
    for function in (
        keras_xent.categorical_crossentropy,
        keras_xent.sparse_categorical_crossentropy,
        keras_xent.binary_crossentropy,
        keras_xent.distillation_loss,
    ):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        model.compile("sgd", loss=function)
        model.save(tmp_path / "model.keras")
        assert keras.models.load_model(tmp_path / "model.keras").loss is function


def test_class_weights_mean_the_same_after_a_round_trip():
    for weights in ({1: 2.0}, {0: 2.0, 1: 3.0}, [1.0, 2.0, 3.0, 4.0], np.array([1, 2, 3, 4])):
        loss = keras_xent.SparseCategoricalCrossentropy(class_weight=weights, reduction="none")
        clone = keras.losses.deserialize(keras.losses.serialize(loss))
        assert isinstance(clone.get_config()["class_weight"], list)
        labels, probs = np.arange(4), np.full((4, 4), 0.25)
        expected = [(weights.get(k, 1.0) if isinstance(weights, dict) else weights[k]) * np.log(4) for k in range(4)]
        np.testing.assert_allclose(array(clone(labels, probs)), expected, rtol=1e-6)


def test_attributes_are_what_is_computed():
    """An argument that is changed later takes effect, and is in the config."""
    loss = keras_xent.DistillationLoss(targets="logits")
    before = float(loss([[1.0, 2.0]], [[0.0, 0.0]]))
    loss.temperature = 1.0
    assert float(loss([[1.0, 2.0]], [[0.0, 0.0]])) != before
    assert loss.get_config()["temperature"] == 1.0


def test_policies():
    for policy, dtype in (("mixed_bfloat16", "bfloat16"), (keras.DTypePolicy("mixed_float16"), "float16"), (None, "float32")):
        loss = keras_xent.BinaryCrossentropy(dtype=policy)
        clone = keras.losses.deserialize(keras.losses.serialize(loss))
        assert loss.dtype == clone.dtype == dtype
        assert dtype in str(clone(np.ones((2, 2)), np.full((2, 2), 0.5)).dtype)


def test_what_they_are():
    """Instances of Keras's classes, where Keras has the name."""
    for loss_class in EVERY_ARGUMENT:
        loss = with_every_argument(loss_class)
        assert isinstance(loss, keras.losses.Loss)
        assert isinstance(loss, getattr(keras.losses, loss_class.__name__, keras.losses.Loss))
        assert f"{loss_class.__name__}(name='mine'" in repr(loss)


def test_positional_arguments_are_those_of_keras():
    for name in ("CategoricalCrossentropy", "SparseCategoricalCrossentropy", "BinaryCrossentropy"):
        function = "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")
        for ours, theirs in (
            (getattr(keras_xent, name).__init__, getattr(keras.losses, name).__init__),
            (getattr(keras_xent, function), getattr(keras.losses, function)),
        ):
            positional = [
                (p.name, p.default) for p in inspect.signature(ours).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
            ]
            assert positional == [(p.name, p.default) for p in inspect.signature(theirs).parameters.values()]

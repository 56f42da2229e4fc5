"""Every argument survives: configs, Keras's registry, saved models, pickle and copies."""

import copy
import inspect
import json
import pickle

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import steps
from keras_xent._recipe import Step
from keras_xent.losses import categorical
from keras_xent.losses._common import below_top

from .backends import array
from .cases import LOSS_CLASSES

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
    keras_xent.CategoricalFocalCrossentropy: {
        "alpha": [0.5, 0.25, 1.0],
        "gamma": 1.5,
        "from_logits": True,
        "label_smoothing": 0.1,
        "axis": 1,
        "class_weight": {2: 2.5, 0: 0.5},
        "epsilon": 1e-5,
        "saturated_gradient": "zero",
    },
    keras_xent.SparseCategoricalFocalCrossentropy: {
        "alpha": [0.5, 0.25, 1.0],
        "gamma": 1.5,
        "from_logits": True,
        "ignore_class": [-1, 2],
        "axis": 1,
        "label_smoothing": 0.1,
        "class_weight": [1.0, 2.0, 3.0],
        "invalid_labels": "ignore",
        "epsilon": 1e-5,
        "saturated_gradient": "zero",
    },
    keras_xent.BinaryFocalCrossentropy: {
        "apply_class_balancing": True,
        "alpha": [0.5, 0.25, 1.0],
        "gamma": 1.5,
        "from_logits": True,
        "label_smoothing": 0.1,
        "axis": (0, 1),
        "pos_weight": [1.0, 2.0, 3.0],
        "epsilon": 1e-5,
        "saturated_gradient": "zero",
    },
    keras_xent.KLDivergence: {"from_logits": True, "axis": 1, "epsilon": 1e-5, "saturated_gradient": "zero"},
    keras_xent.CategoricalGeneralizedCrossEntropy: {
        "q": 0.3,
        "from_logits": True,
        "axis": 1,
        "ignore_class": [-1, 2],
        "invalid_labels": "ignore",
    },
    keras_xent.DistillationLoss: {
        "temperature": 2.0,
        "targets": "probs",
        "from_logits": False,
        "divergence": "jsd",
        "beta": 0.25,
        "label_weight": 0.25,
        "labels": "sparse",
        "scale_by_temperature_squared": False,
        "tail": "uniform",
        "teacher_classes": 2,
        "ignore_class": 1,
        "axis": 1,
    },
}
FUNCTIONS = [getattr(keras_xent, name) for name in LOSS_CLASSES]
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
    for function in FUNCTIONS:
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
    compared = 0
    for function, loss_class in LOSS_CLASSES.items():
        if not hasattr(keras.losses, loss_class.__name__):
            continue
        compared += 1
        for ours, theirs in (
            (loss_class.__init__, getattr(keras.losses, loss_class.__name__).__init__),
            (getattr(keras_xent, function), getattr(keras.losses, function)),
        ):
            positional = [
                (p.name, p.default) for p in inspect.signature(ours).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
            ]
            assert positional == [(p.name, p.default) for p in inspect.signature(theirs).parameters.values()]
    assert compared == 7


@EVERY_LOSS
def test_defaults_are_what_the_signature_says(loss_class):
    required = {"targets": "logits"} if loss_class is keras_xent.DistillationLoss else {}
    parameters = inspect.signature(loss_class.__init__).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    assert loss_class(**required).get_config() == {**defaults, **required, "dtype": keras.config.floatx()}


def test_how_they_are_shown():
    loss = keras_xent.CategoricalGeneralizedCrossEntropy(0.3, name="mine", ignore_class=range(2))
    assert repr(loss) == (
        "CategoricalGeneralizedCrossEntropy(name='mine', reduction='sum_over_batch_size', dtype='float32', "
        "q=0.3, from_logits=False, axis=-1, ignore_class=[0, 1], invalid_labels='error')"
    )
    step = Step("log_prob", steps.log, clipped="clipped_prob")
    assert repr(step) == "log_prob = log(clipped_prob, probs, saturated_gradient, slope_floor)"
    assert step.formula == "l_k = log q_k"


def test_a_recipe_reads_as_what_is_computed():
    """The names in it are those that a listener sees."""
    recipe = categorical.recipe({"label_smoothing": 0.1, "class_weight": [1.0, 2.0], "from_logits": True})
    assert [repr(step) for step in recipe] == [
        "targets = smooth(targets, label_smoothing, axis)",
        "targets = weigh(targets, class_weight)",
        "is_top = mark_top(logits, axis)",
        "top_logit = pick_top_logit(logits, is_top, axis)",
        "leads = check_lead(targets, is_top, axis)",
        "top_center = center_on_top(top_logit, leads)",
        "lift = measure_lift(top_logit, leads)",
        "depths = measure_depths(logits, is_top, top_center, lift)",
        "others = sum_others(depths, is_top, axis)",
        "log_denominator = log_top_denominator(others, lift)",
        "losses = expect_loss(targets, depths, log_denominator, axis)",
    ]
    of_teacher = below_top("teacher_logits", "teacher_", leads="no_lead")
    assert [repr(step) for step in of_teacher[1:3]] == [
        "teacher_top_logit = pick_top_logit(teacher_logits, teacher_is_top, axis)",
        "teacher_top_center = center_on_top(teacher_top_logit, no_lead)",
    ]

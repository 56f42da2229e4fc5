"""Arguments, outputs and weights that do not fit, each named."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_xent.distill.distiller import Distiller

from .models import (
    CLASSES,
    FEATURES,
    ROWS,
    Staircase,
    data,
    dense,
    distiller_of,
    hard_loss,
    linear,
    one_step,
    soft_loss,
    two_headed,
)

ARGUMENTS = {
    "not a model": ({"teacher": keras.layers.Dense(3)}, ["`teacher` must be a keras.Model", "Dense"]),
    "no model": ({"student": "student"}, ["`student` must be a keras.Model", "'student'"]),
    "not built": ({"teacher": keras.Sequential([keras.layers.Dense(3)], name="blank")}, ["'blank'", "no weights", "student"]),
    "not a loss": ({"distillation_loss": "kl_divergence"}, ["must be a keras_xent.DistillationLoss", "'kl_divergence'", "str"]),
    "another loss": ({"distillation_loss": {"a": hard_loss()}}, ["keras_xent.DistillationLoss", "output 'a'"]),
    "no loss at all": ({"distillation_loss": [None, None]}, ["at least one output", "[None, None]"]),
    "own labels": (
        {"distillation_loss": soft_loss(labels="sparse", label_weight=0.25)},
        ["label_weight=0", "labels=None", "label_weight=0.25", "labels='sparse'"],
    ),
    "packed labels": ({"distillation_loss": soft_loss(labels="sparse")}, ["labels=None", "labels='sparse'"]),
    "no reduction": ({"distillation_loss": soft_loss(reduction="none")}, ["one number", "reduction='none'"]),
    "share above 1": ({"label_weight": 1.5}, ["`label_weight`", "at most 1", "label_weight=1.5"]),
    "share below 0": ({"label_weight": -0.1}, ["`label_weight`", "at least 0", "label_weight=-0.1"]),
    "share not a number": ({"label_weight": "half"}, ["`label_weight` must be a number", "'half'", "LearningRateSchedule"]),
    "share NaN": ({"label_weight": float("nan")}, ["`label_weight`", "finite", "nan"]),
    "share a function": ({"label_weight": lambda step: 0.5}, ["`label_weight` must be a number", "LearningRateSchedule"]),
    "share starts too high": ({"label_weight": Staircase(1.1, 0.0)}, ["`label_weight`", "at most 1", "step 0"]),
    "temperature 0": ({"temperature": 0.0}, ["`temperature`", "above 0", "temperature=0.0"]),
    "temperature below 0": ({"temperature": -2}, ["`temperature`", "above 0", "temperature=-2"]),
    "temperature NaN": ({"temperature": np.nan}, ["`temperature`", "finite", "nan"]),
    "temperature not a number": ({"temperature": "hot"}, ["`temperature` must be a number", "'hot'"]),
    "temperature true": ({"temperature": True}, ["`temperature` must be a number", "True"]),
    "temperature starts at 0": ({"temperature": Staircase(0.0, 1.0)}, ["`temperature`", "above 0", "step 0"]),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_wrong_arguments(case):
    arguments, phrases = ARGUMENTS[case]
    with pytest.raises(ValueError) as error:
        Distiller(**{"teacher": linear(1), "student": linear(2), "distillation_loss": soft_loss()} | arguments)
    assert all(phrase in str(error.value) for phrase in phrases), error.value


class Repeats(keras.Model):
    """Returns its input, in a structure."""

    def __init__(self, make):
        super().__init__()
        self.make = make
        self.built = True

    def call(self, inputs):
        return self.make(inputs)


MISMATCHES = {  # teacher, student, losses, phrases
    "fewer classes": lambda: (linear(1, units=3), linear(2), soft_loss(), ["(None, 3)", "(None, 4)", "teacher", "student"]),
    "more classes": lambda: (linear(1, units=9), linear(2), soft_loss(), ["(None, 9)", "(None, 4)"]),
    "fewer than agreed": lambda: (linear(1, units=3), linear(2), soft_loss(teacher_classes=4), ["(None, 3)", "(None, 4)"]),
    "in one output": lambda: (
        two_headed(1, "dict", (CLASSES, 5)),
        two_headed(2, "dict"),
        soft_loss(),
        ["(None, 5)", "(None, 3)", "output 'size'"],
    ),
    "two outputs, not one": lambda: (
        two_headed(1, "list"),
        linear(2),
        soft_loss(),
        ["one tensor per output", "[(None, 4), (None, 3)]"],
    ),
    "one output, not two": lambda: (
        linear(1),
        two_headed(2, "dict"),
        soft_loss(),
        ["one tensor per output", "'size': (None, 3)"],
    ),
    "other names": lambda: (
        Repeats(lambda x: {"kind": x, "seize": x}),
        two_headed(2, "dict"),
        soft_loss(),
        ["one tensor per output", "'seize'", "'size'"],
    ),
    "known only by calling": lambda: (Repeats(lambda x: x), linear(2), soft_loss(), ["(24, 5)", "(24, 4)"]),
    "no tensor": lambda: (
        Repeats(lambda x: [x, None]),
        two_headed(2, "list"),
        soft_loss(),
        ["one tensor per output", "None of type NoneType"],
    ),
    "losses by name": lambda: (
        two_headed(1, "list"),
        two_headed(2, "list"),
        {"kind": soft_loss(), "size": None},
        ["structure of the student's outputs", "'size': None", "[(None, 4), (None, 3)]"],
    ),
    "a loss too few": lambda: (
        two_headed(1, "dict"),
        two_headed(2, "dict"),
        {"kind": soft_loss()},
        ["structure of the student's outputs", "'size': (None, 3)"],
    ),
    "a loss too many": lambda: (linear(1), linear(2), [soft_loss()], ["structure of the student's outputs", "(None, 4)"]),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_outputs_that_do_not_fit(case):
    teacher, student, loss, phrases = MISMATCHES[case]()
    x, y = data()
    labels = keras.tree.map_structure(lambda output: y % output.shape[-1], student(x))
    with pytest.raises(ValueError) as error:
        distiller = distiller_of(teacher, student, loss)
        assert isinstance(teacher, Repeats)  # nobody else had to be called
        one_step(distiller, x, labels)
    assert all(phrase in str(error.value) for phrase in phrases), error.value
    assert "infer the output shape" not in str(error.value)


def test_weights_that_do_not_fit():
    x, _ = data()
    distiller = distiller_of(two_headed(1, "dict"), two_headed(2, "dict"), label_weight=0.0, compiled={"loss": None})
    with pytest.raises(ValueError, match=r"structure of the student's outputs.*'sort': \(24,\).*'size': \(24, 3\)"):
        distiller.compute_loss(x, None, distiller(x), sample_weight={"sort": ops.ones(ROWS)})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("label_weight", 7.0, "at least 0 and at most 1. Received: label_weight=7.0"),
        ("temperature", -1.0, "above 0. Received: temperature=-1.0"),
        ("distillation_loss", "mean", "must be a keras_xent.DistillationLoss"),
        ("distillation_loss", soft_loss(teacher_classes=9), "teacher_classes=9 is more than"),
    ],
)
def test_what_is_set_later_is_checked_too(name, value, message):
    distiller = distiller_of(temperature=2.0)
    before = getattr(distiller, name)
    with pytest.raises(ValueError, match=message):
        setattr(distiller, name, value)
    assert getattr(distiller, name) is before


def test_models_that_share_weights_are_not_saved(tmp_path):
    x, y = data()
    inputs, shared = keras.Input((FEATURES,)), dense(3)
    teacher, student = (keras.Model(inputs, dense(seed)(shared(inputs))) for seed in (1, 2))
    distiller = distiller_of(teacher, student)
    distiller.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="share the weights"):
        distiller.save(tmp_path / "distiller.keras")
    distiller.student.save(tmp_path / "student.keras")
    assert len(keras.saving.load_model(tmp_path / "student.keras").weights) == 4


def test_a_label_weight_needs_a_label_loss():
    x, y = data()
    distiller = distiller_of(compiled={"loss": None})
    with pytest.raises(ValueError, match=r"label_weight=0\.5 .* loss=None"):
        distiller.fit(x, y, verbose=0)

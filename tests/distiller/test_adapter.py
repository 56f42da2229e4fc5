"""The distillation loss inside Keras's own distiller."""

import keras
import pytest
from keras import ops

import keras_xent
from keras_xent import reference
from keras_xent.distill.keras_adapter import KerasDistillation

from ..backends import array
from ..cases import softmax
from .models import (
    Plain,
    as_structure,
    close,
    data,
    distiller_of,
    hard_loss,
    linear,
    one_step,
    soft_loss,
    two_headed,
)


def keras_distiller(teacher, student, adapter, loss):
    distiller = keras.distillation.Distiller(teacher, student, adapter, student_loss_weight=0.3)
    distiller.compile(keras.optimizers.SGD(0.5), loss=loss)
    return distiller


def test_the_adapter_takes_the_same_step_in_keras():
    x, y = data()
    ours = distiller_of(label_weight=0.3)
    logs = one_step(ours, x, y)
    theirs = keras_distiller(linear(1), linear(2), KerasDistillation(soft_loss()), hard_loss())
    their_logs = one_step(theirs, x, y)
    assert close(their_logs["distillation_loss"], logs["distillation_loss"]) and close(their_logs["loss"], logs["loss"])
    assert close(theirs.student.get_weights()[0], ours.student.get_weights()[0])


@pytest.mark.parametrize("structure", ["dict", "list"])
def test_the_adapter_adds_up_several_outputs(structure):
    x, _ = data()
    taught, logits = (two_headed(seed, structure)(x) for seed in (1, 2))
    adapter = KerasDistillation(as_structure(structure, soft_loss(2.0), soft_loss(5.0)))
    adapter.validate_outputs(taught, logits)
    expected = 0.0
    for temperature, t, s in zip((2.0, 5.0), keras.tree.flatten(taught), keras.tree.flatten(logits), strict=True):
        expected += reference.distillation_loss(array(t), array(s), temperature, targets="logits").mean()
    assert close(array(adapter.compute_loss(taught, logits)), expected)
    without = KerasDistillation(as_structure(structure, soft_loss(2.0), None))
    assert 0 < array(without.compute_loss(taught, logits)) < expected


def test_the_adapter_survives_saving(tmp_path):
    adapter = KerasDistillation({"a": soft_loss(2.0), "b": None})
    copied = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(adapter))
    assert type(copied) is KerasDistillation and repr(copied.loss) == repr(adapter.loss)
    distiller = keras_distiller(linear(1), linear(2), KerasDistillation(soft_loss(2.0)), hard_loss())
    x, y = data()
    one_step(distiller, x, y)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.saving.load_model(tmp_path / "distiller.keras", compile=False)
    assert repr(loaded.distillation_losses[0].loss) == repr(soft_loss(2.0))


def test_what_the_adapter_refuses():
    with pytest.raises(ValueError, match=r"keras_xent\.DistillationLoss.*'mse'"):
        KerasDistillation("mse")
    with pytest.raises(ValueError, match=r"label_weight=0 .*label_weight=0\.5"):
        KerasDistillation(soft_loss(labels="dense", label_weight=0.5))
    adapter = KerasDistillation(soft_loss())
    with pytest.raises(ValueError, match=r"one tensor per output.*\[\(2, 3\)\].*\(2, 3\)"):
        adapter.validate_outputs([ops.ones((2, 3))], ops.ones((2, 3)))
    with pytest.raises(ValueError, match=r"\[\(None, 4\), \(None, 3\)\].*\(None, 4\)"):
        adapter.validate_model_compatibility(two_headed(1, "list"), linear(2))
    with pytest.raises(ValueError, match=r"structure of the student's outputs"):
        KerasDistillation([soft_loss(), None, None]).validate_model_compatibility(two_headed(1, "list"), two_headed(2, "list"))
    with pytest.raises(ValueError, match=r"\(None, 3\).*\(None, 4\)"):
        adapter.validate_model_compatibility(linear(1, units=3), linear(2))
    adapter.validate_model_compatibility(Plain(1), linear(2))  # only calling it would tell


def test_a_softmax_teacher():
    """The loss says what the teacher returns."""
    x, y = data()
    teacher = linear(1, activation="softmax")
    logs = one_step(distiller_of(teacher, distillation_loss=keras_xent.DistillationLoss(3.0, targets="probs")), x, y)
    assert close(logs["distillation_loss"], one_step(distiller_of(), x, y)["distillation_loss"])
    assert close(teacher.predict(x, verbose=0), softmax(linear(1).predict(x, verbose=0)))

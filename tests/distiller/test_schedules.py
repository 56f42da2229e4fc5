"""Schedules of the temperature and of the label's share, and saving: a distiller that goes on has not stopped."""

import keras
import numpy as np
import pytest

from keras_xent import reference
from keras_xent.distill.distiller import Distiller

from ..backends import BACKEND, array
from .models import (
    CLASSES,
    FEATURES,
    ROWS,
    SCHEDULES,
    Staircase,
    as_structure,
    close,
    data,
    dense,
    distiller_of,
    equal,
    hard_loss,
    linear,
    one_step,
    soft_loss,
    two_headed,
    values,
)


def test_a_schedule_is_that_of_the_step():
    """With a learning rate of 0 only the schedules move."""
    x, y = data()
    compiled = {"optimizer": keras.optimizers.SGD(0.0)}
    distiller = distiller_of(temperature=Staircase(2.0, 1.5), label_weight=Staircase(0.1, 0.2), compiled=compiled)
    taught, logits = (model.predict(x, verbose=0) for model in (distiller.teacher, distiller.student))
    history = distiller.fit(x, y, epochs=4, batch_size=ROWS, shuffle=False, verbose=0).history
    label_weights, temperatures = 0.1 + 0.2 * np.arange(4), 2.0 + 1.5 * np.arange(4)
    assert close(history["label_weight"], label_weights) and close(history["temperature"], temperatures)
    expected = [reference.distillation_loss(taught, logits, t, targets="logits").mean() for t in temperatures]
    assert close(history["distillation_loss"], expected)
    parts = np.array(history["label_loss"]), np.array(history["distillation_loss"])
    assert close(history["loss"], label_weights * parts[0] + (1 - label_weights) * parts[1])


def test_a_scheduled_step_is_that_of_the_numbers_it_stands_for():
    x, y = data()
    scheduled = distiller_of(temperature=Staircase(2.0, 1.0), label_weight=Staircase(0.3, 0.1))
    plain = distiller_of(temperature=2.0, label_weight=0.3)
    logs = one_step(scheduled, x, y)
    assert close(logs["loss"], one_step(plain, x, y)["loss"])
    assert close(scheduled.student.get_weights()[0], plain.student.get_weights()[0])
    assert logs.keys() == {"loss", "label_loss", "distillation_loss", "temperature", "label_weight"}


@pytest.mark.parametrize("name", ["temperature", "label_weight"])
def test_a_schedule_that_leaves_its_range_is_noticed(name):
    """Where its number can be read it is an error, elsewhere the loss is NaN; never is it used."""
    x, y = data()
    distiller = distiller_of(**{name: Staircase(0.5, -0.5)})
    one_step(distiller, x, y)
    if BACKEND == "torch":
        with pytest.raises(ValueError, match=f"{name}=.* That is what the schedule says at step [12]"):
            distiller.fit(x, y, batch_size=ROWS, epochs=2, verbose=0)
    else:
        history = distiller.fit(x, y, batch_size=ROWS, epochs=2, verbose=0).history
        assert np.isnan(history["loss"][1]) and np.isnan(history[name][1])


@pytest.mark.parametrize(
    ("name", "values"),
    [("temperature", (2.0, 8.0)), ("label_weight", (0.9, 0.1)), ("distillation_loss", (soft_loss(1.0), soft_loss(6.0)))],
)
def test_what_is_set_between_two_fits_counts(name, values):
    x, y = data()
    distiller, fresh = (distiller_of(**{name: value}) for value in values)
    distiller.optimizer.learning_rate = 0.0
    before = one_step(distiller, x, y)
    setattr(distiller, name, values[1])
    after = one_step(distiller, x, y)
    assert after["loss"] == one_step(fresh, x, y)["loss"] != before["loss"]


def test_a_number_may_become_a_schedule():
    x, y = data()
    distiller = distiller_of(temperature=2.0)
    assert "temperature" not in one_step(distiller, x, y)
    distiller.temperature = Staircase(2.0, 1.0)
    assert one_step(distiller, x, y)["temperature"] == 3.0  # its second step


def test_steps_are_counted_over_calls_of_fit_and_not_by_evaluate():
    x, y = data()
    distiller = distiller_of(temperature=SCHEDULES.PiecewiseConstantDecay([2], [2.0, 8.0]), label_weight=0.5)
    steps = []
    for _ in range(2):
        steps.append(distiller.fit(x, y, batch_size=8, verbose=0, validation_data=(x, y)).history["temperature"][0])
        distiller.evaluate(x, y, verbose=0)
    assert close(steps, [2.0, 8.0]) and int(array(distiller.step.value)) == 6
    distiller.compile("sgd", loss=hard_loss())
    assert int(array(distiller.step.value)) == 6
    distiller.step.assign(0)
    assert close(distiller.fit(x, y, batch_size=8, verbose=0).history["temperature"][0], 2.0)


def test_a_schedule_counts_batches_under_gradient_accumulation():
    x, y = data()
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    distiller = distiller_of(temperature=Staircase(2.0, 1.0), compiled={"optimizer": optimizer})
    history = distiller.fit(x, y, batch_size=4, verbose=0).history
    assert close(history["temperature"][0], 2.0 + np.mean(range(6)))


def test_a_schedule_for_several_losses_leaves_them_as_they_are():
    x, y = data()
    losses = [soft_loss(2.0), soft_loss(5.0)]
    distiller = distiller_of(two_headed(1, "list"), two_headed(2, "list"), losses, temperature=Staircase(3.0, 1.0))
    taught, logits = (model.predict(x, verbose=0) for model in (distiller.teacher, distiller.student))
    logs = one_step(distiller, x, [y, y % 3])
    expected = [reference.distillation_loss(t, s, 3.0, targets="logits").mean() for t, s in zip(taught, logits, strict=True)]
    assert close(logs["distillation_loss"], sum(expected))
    assert [loss.temperature for loss in losses] == [2.0, 5.0]


@pytest.mark.parametrize("built", [True, False])
def test_saving_and_going_on_is_not_having_stopped(tmp_path, built):
    x, y = data()

    def fresh():
        teacher = linear(1, keras.layers.BatchNormalization())
        student = [dense(5, 6, activation="tanh"), keras.layers.BatchNormalization(), dense(2, kernel_regularizer="l2")]
        return distiller_of(
            teacher,
            keras.Sequential([keras.Input((FEATURES,)), *student] if built else student),
            temperature=Staircase(5.0, -0.25),
            label_weight=Staircase(0.1, 0.05),
            compiled={"optimizer": keras.optimizers.Adam(0.05), "metrics": ["accuracy"]},
        )

    def go_on(distiller, epochs):
        history = distiller.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0).history
        return {name: history[name] for name in sorted(history)}

    whole = go_on(fresh(), 4)
    stopped = fresh()
    first = go_on(stopped, 2)
    stopped.save(tmp_path / "distiller.keras")
    loaded = keras.saving.load_model(tmp_path / "distiller.keras")
    second = go_on(loaded, 2)
    assert whole.keys() == second.keys()
    for name in whole:
        assert close(first[name] + second[name], whole[name], terms=12 * ROWS * CLASSES), name
    assert close(second["temperature"], [3.25, 2.5]) and close(second["label_weight"], [0.45, 0.6])
    assert equal(values(loaded.teacher.variables), values(stopped.teacher.variables))


@pytest.mark.parametrize("structure", ["dict", "list"])
def test_every_argument_survives(tmp_path, structure):
    losses = as_structure(structure, soft_loss(2.5, divergence="crossentropy"), None)
    distiller = distiller_of(
        two_headed(1, structure), two_headed(2, structure), losses, label_weight=0.125, temperature=7.0, name="mine"
    )
    distiller.save(tmp_path / "distiller.keras")
    x, y = data()
    for copied in (keras.saving.load_model(tmp_path / "distiller.keras"), Distiller.from_config(distiller.get_config())):
        assert type(copied) is Distiller and copied.name == "mine"
        assert (copied.label_weight, copied.temperature) == (0.125, 7.0)
        assert repr(copied.distillation_loss) == repr(distiller.distillation_loss) == repr(losses)
    loaded = keras.saving.load_model(tmp_path / "distiller.keras")
    assert equal(values(loaded.weights), values(distiller.weights))
    logs = [one_step(model, x, as_structure(structure, y, y % 3)) for model in (distiller, loaded)]
    assert close([*logs[0].values()], [*logs[1].values()])


def test_weights_alone(tmp_path):
    x, y = data()
    distiller, other = distiller_of(), distiller_of(linear(8), linear(9))
    one_step(distiller, x, y)
    distiller.save_weights(tmp_path / "distiller.weights.h5")
    other.load_weights(tmp_path / "distiller.weights.h5")
    assert equal(values(other.weights), values(distiller.weights)) and int(array(other.step.value)) == 1


def test_the_student_can_be_taken_out(tmp_path):
    x, y = data()
    distiller = distiller_of()
    one_step(distiller, x, y)
    distiller.student.save(tmp_path / "student.keras")
    student = keras.saving.load_model(tmp_path / "student.keras")
    assert type(student) is keras.Sequential and len(student.weights) == 2
    assert np.array_equal(student.predict(x, verbose=0), distiller.predict(x, verbose=0))
    student.compile("sgd", loss=hard_loss())
    student.fit(x, y, verbose=0)

"""The teacher is left as it was, and runs once a step; everywhere else the distiller is the student."""

import keras
import numpy as np
import pytest

from keras_xent import reference

from ..backends import BACKEND, array
from .models import (
    CLASSES,
    FEATURES,
    ROWS,
    Staircase,
    Watched,
    close,
    data,
    dense,
    distiller_of,
    equal,
    hard_loss,
    linear,
    one_step,
    values,
)


def busy_teacher():
    """A teacher that would change, or answer otherwise, in training mode."""
    model = linear(1, keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=3), Watched())
    model.layers[0].trainable = False
    model.layers[0].set_weights([np.full(FEATURES, value, "float32") for value in (1.5, 0.5, 0.2, 2.0)])
    return model


@pytest.mark.parametrize("run_eagerly", [False] if BACKEND == "jax" else [False, True])
def test_the_teacher_is_left_as_it_was(run_eagerly):
    x, y = data()
    teacher = busy_teacher()
    taught = teacher.predict(x, verbose=0)
    variables, flags = values(teacher.variables), [layer.trainable for layer in teacher.layers]
    distiller = distiller_of(teacher, compiled={"run_eagerly": run_eagerly})
    logits = distiller.student.predict(x, verbose=0)
    logs = one_step(distiller, x, y)
    assert close(logs["distillation_loss"], reference.distillation_loss(taught, logits, 3.0, targets="logits").mean())
    distiller.fit(x, y, batch_size=8, epochs=2, verbose=0)
    distiller.trainable = False
    distiller.trainable = True
    assert equal(values(teacher.variables), variables)
    assert [layer.trainable for layer in teacher.layers] == flags and teacher.trainable
    assert [variable.trainable for variable in teacher.layers[-1].variables] == [True, True]


def test_the_teacher_runs_once_a_step_and_only_in_fit():
    x, y = data()
    teacher, student = linear(1, Watched()), linear(2, Watched())
    distiller = distiller_of(teacher, student, compiled={"run_eagerly": True})
    watched, modes = teacher.layers[0], teacher.layers[0].training
    watched.calls, modes[:] = 0, []
    distiller.fit(x, y, batch_size=ROWS, epochs=2, verbose=0, validation_data=(x, y))
    assert watched.calls == 2 and modes == [False] * 2
    watched.forbidden = True
    distiller.evaluate(x, y, verbose=0)
    distiller.predict(x, verbose=0)
    distiller.test_on_batch(x, y)
    distiller(x, training=True)
    with pytest.raises(AssertionError, match="must not run"):
        distiller.train_on_batch(x, y)


def test_the_optimizer_never_sees_the_teacher():
    distiller = distiller_of(linear(1, dense(3, 7)), compiled={"optimizer": "adam"})
    x, y = data()
    one_step(distiller, x, y)
    student = distiller.student
    assert [id(v) for v in distiller.trainable_variables] == [id(v) for v in student.trainable_variables]
    assert [id(v) for v in distiller.trainable_weights] == [id(v) for v in student.trainable_weights]
    plain = linear(2)
    plain.compile("adam", loss=hard_loss())
    plain.fit(x, y, verbose=0)
    assert len(distiller.optimizer.variables) == len(plain.optimizer.variables)
    everything = {id(variable) for variable in distiller.variables}
    assert everything == {id(v) for v in [*distiller.trainable_variables, *distiller.non_trainable_variables]}
    assert everything >= {id(variable) for variable in distiller.teacher.variables}
    assert len(distiller.weights) == len(distiller.trainable_weights) + len(distiller.non_trainable_weights)


def test_a_frozen_student_layer_stays_frozen():
    x, y = data()
    student = linear(2, dense(5, FEATURES))
    student.layers[0].trainable = False
    before = student.get_weights()
    distiller = distiller_of(student=student)
    one_step(distiller, x, y)
    after = student.get_weights()
    assert equal(after[:2], before[:2]) and not np.array_equal(after[2], before[2])
    distiller.trainable = False
    assert not distiller.trainable and not student.trainable and not distiller.trainable_variables


def test_evaluate_and_predict_are_those_of_the_student():
    x, y = data()
    teacher, student = linear(1), linear(2, keras.layers.Dropout(0.5), kernel_regularizer="l2")
    compiled = {"metrics": ["accuracy"], "weighted_metrics": ["sparse_categorical_crossentropy"]}
    distiller = distiller_of(teacher, student, compiled=compiled, temperature=Staircase(2.0, 1.0))
    history = distiller.fit(x, y, epochs=2, verbose=0, validation_data=(x, y)).history
    names = {"loss", "accuracy", "sparse_categorical_crossentropy"}
    assert set(history) == names | {"label_loss", "distillation_loss", "temperature"} | {f"val_{name}" for name in names}
    student.compile("sgd", loss=hard_loss(), **compiled)
    weights = np.random.default_rng(5).uniform(size=ROWS)
    assert distiller.evaluate(x, y, verbose=0) == student.evaluate(x, y, verbose=0)
    evaluated = [model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True) for model in (distiller, student)]
    assert evaluated[0] == evaluated[1] and set(evaluated[0]) == names
    tested = [model.test_on_batch(x, y, return_dict=True) for model in (distiller, student)]
    assert tested[0] == tested[1] and set(tested[0]) == names
    assert history["val_loss"][-1] == pytest.approx(distiller.evaluate(x, y, verbose=0)[0], rel=1e-6)
    assert np.array_equal(distiller.predict(x, verbose=0), student.predict(x, verbose=0))
    assert np.array_equal(array(distiller(x)), array(student(x)))


def test_metrics_see_the_labels_and_the_student():
    x, y = data()
    compiled = {"optimizer": keras.optimizers.SGD(0.0), "metrics": ["accuracy"]}
    distiller = distiller_of(compiled=compiled)
    logits = distiller.student.predict(x, verbose=0)
    history = distiller.fit(x, y, verbose=0, batch_size=8).history
    assert close(history["accuracy"][0], (logits.argmax(-1) == y).mean())


def test_summary():
    lines = []
    distiller_of().summary(print_fn=lambda line, **_: lines.append(line))
    text = "\n".join(lines)
    weights = FEATURES * CLASSES + CLASSES
    assert f"Trainable params: {weights} " in text and f"Non-trainable params: {weights + 1} " in text  # one is `step`

"""Every way to run a step, kind of data, dtype and vocabulary gives the same curve."""

import keras
import numpy as np
import pytest

from keras_xent import reference

from ..backends import BACKEND, array
from .models import (
    CLASSES,
    FEATURES,
    ROWS,
    Plain,
    Staircase,
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
)


def curve(compiled=None, x=None, y=None, **options):
    plain_x, plain_y = data()
    student = linear(2, dense(5, 6, activation="tanh"))
    distiller = distiller_of(student=student, temperature=Staircase(2.0, 0.5), compiled=compiled)
    x, y = (plain_x, plain_y) if x is None else (x, y)
    history = distiller.fit(x, y, **{"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0} | options).history
    return np.array([history[name] for name in ("loss", "label_loss", "distillation_loss", "temperature")])


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return tuple(part[8 * index : 8 * index + 8] for part in data())


MODES = {  # torch.compile takes a minute; JAX without a compiler runs above, where the teacher's calls are counted
    "tensorflow": [{"run_eagerly": True}, {"jit_compile": False}, {"jit_compile": True}, {"steps_per_execution": 3}],
    "jax": [{"jit_compile": True}, {"steps_per_execution": 3}],
    "torch": [{"run_eagerly": True}, {"jit_compile": False}],
}[BACKEND]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_way_to_run_a_step_gives_the_same_curve(mode):
    expected = curve()
    assert list(expected[-1]) == [2.5, 4.0]
    assert close(curve(mode), expected, terms=6 * ROWS * CLASSES)


def test_every_kind_of_data_gives_the_same_curve():
    expected = curve()
    assert close(curve(x=Batches(), batch_size=None), expected, terms=6 * ROWS * CLASSES)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices(data()).batch(8)
        assert close(curve(x=dataset, batch_size=None), expected, terms=6 * ROWS * CLASSES)


def test_train_on_batch_takes_the_steps_of_fit():
    x, y = data()
    ones, others = distiller_of(label_weight=Staircase(0.0, 0.1)), distiller_of(label_weight=Staircase(0.0, 0.1))
    ones.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for start in (0, 8, 16):
        logs = others.train_on_batch(x[start : start + 8], y[start : start + 8], return_dict=True)
    assert {"loss", "label_loss", "distillation_loss", "label_weight"} == set(logs)
    assert close(ones.student.get_weights()[0], others.student.get_weights()[0])
    assert int(array(ones.step.value)) == int(array(others.step.value)) == 3


def test_models_of_the_users_own():
    x, y = data()
    teacher = Plain(1)
    teacher(x[:1])
    distiller = distiller_of(teacher, Plain(2), label_weight=0.3)
    assert not distiller.built
    logs = one_step(distiller, x, y)
    expected = one_step(distiller_of(linear(1), linear(2), label_weight=0.3), x, y)
    assert close([*logs.values()], [*expected.values()])


def test_inputs_by_name():
    x, y = data()

    def model(seed):
        left, right = keras.Input((FEATURES,), name="left"), keras.Input((FEATURES,), name="right")
        return keras.Model({"left": left, "right": right}, dense(seed)(keras.layers.Add()([left, right])))

    logs = one_step(distiller_of(model(1), model(2)), x={"left": x, "right": 0 * x}, y=y)
    assert close([*logs.values()], [*one_step(distiller_of(), x, y).values()])


@pytest.mark.parametrize(
    ("teacher_policy", "student_policy"),
    [("float32", "mixed_bfloat16"), ("mixed_bfloat16", "float32"), ("bfloat16", "mixed_float16")],
)
def test_teacher_and_student_may_differ_in_dtype(teacher_policy, student_policy):
    x, y = data()
    teacher, student = linear(1, dtype=teacher_policy), linear(2, dtype=student_policy)
    distiller = distiller_of(teacher, student)
    taught, logits = (np.float64(array(model(x))) for model in (teacher, student))
    logs = one_step(distiller, x, y)
    # the outputs have their dtypes' errors; from there on it is computed in float32
    expected = reference.distillation_loss(taught, logits, 3.0, targets="logits").mean()
    assert close(logs["distillation_loss"], expected)
    assert one_step(distiller, x, y)["loss"] < logs["loss"]


def test_half_precision_is_handled_as_for_the_student_alone():
    """The loss is scaled, and a layer of the student that wants its inputs in float32 gets them so."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        student = linear(2, keras.layers.Rescaling(1e-5, dtype="float32"))
    finally:
        keras.config.set_dtype_policy(previous)
    distiller = distiller_of(student=student)
    assert isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
    x, y = data()
    predicted = distiller.predict(1e6 * x, verbose=0)  # which float16 does not hold
    assert np.isfinite(predicted).all() and np.array_equal(predicted, student.predict(1e6 * x, verbose=0))
    before = student.get_weights()
    one_step(distiller, x, y)
    assert not np.array_equal(student.get_weights()[0], before[0])


@pytest.mark.parametrize(("taught_classes", "predicted_classes"), [(9, CLASSES), (6, 11), (CLASSES, 11)])
def test_teacher_and_student_may_differ_in_vocabulary(taught_classes, predicted_classes):
    """The soft term looks at the classes both have, the label loss at all of the student's."""
    x, y = data()
    loss = soft_loss(teacher_classes=CLASSES)
    distiller = distiller_of(linear(1, units=taught_classes), linear(2, units=predicted_classes), loss)
    taught, logits = (model.predict(x, verbose=0) for model in (distiller.teacher, distiller.student))
    logs = one_step(distiller, x, y)
    soft = reference.distillation_loss(taught[:, :CLASSES], logits[:, :CLASSES], 3.0, targets="logits").mean()
    hard = reference.sparse_categorical_crossentropy(y, logits, from_logits=True).mean()
    assert close([logs["distillation_loss"], logs["label_loss"]], [soft, hard])


@pytest.mark.parametrize("metrics", [None, ["accuracy"]])
def test_without_labels_the_teacher_alone_is_followed(metrics):
    """And evaluation has its labels all the same."""
    x, y = data()
    unlabelled = distiller_of(label_weight=0.0, compiled={"metrics": metrics})
    labelled = distiller_of(label_weight=0.0, compiled={"metrics": metrics})
    logs = one_step(unlabelled, x, None)
    assert set(logs) == {"loss", "distillation_loss"}
    assert close(logs["loss"], one_step(labelled, x, y)["loss"])
    assert equal(unlabelled.student.get_weights(), labelled.student.get_weights())
    assert unlabelled.evaluate(x, y, verbose=0) == labelled.evaluate(x, y, verbose=0)
    history = unlabelled.fit(x, validation_data=(x, y), epochs=3, batch_size=ROWS, verbose=0).history
    seen = {"val_loss", *(f"val_{metric}" for metric in metrics or ())}
    assert set(history) == {"loss", "distillation_loss"} | seen
    assert all(len(values) == 3 for values in history.values())
    evaluated = unlabelled.evaluate(x, y, verbose=0, return_dict=True)
    assert {f"val_{name}" for name in evaluated} == seen and evaluated["loss"] == history["val_loss"][-1]


def test_weights_of_one_output_alone():
    x, y = data()
    compiled = {"loss": {"kind": hard_loss(), "size": None}}
    weight = np.arange(ROWS, dtype="float32")
    distiller = distiller_of(two_headed(1, "dict"), two_headed(2, "dict"), compiled=compiled)
    weights = {"kind": weight}, {"kind": weight, "size": np.ones(ROWS)}
    some, every = (distiller.compute_loss(x, {"kind": y}, distiller(x), sample_weight=given) for given in weights)
    assert array(some) == array(every)
    assert np.isfinite(one_step(distiller, x, {"kind": y}, sample_weight={"kind": weight})["loss"])


def test_exports_its_student(tmp_path, monkeypatch):
    x, y = data()
    distiller = distiller_of()
    distiller.fit(x, y, verbose=0)
    if BACKEND != "tensorflow":  # Keras has no SavedModel of PyTorch, and warns of what it calls to make one of JAX
        exported = []
        monkeypatch.setattr(keras.Sequential, "export", lambda *args, **kwargs: exported.append((args, kwargs)))
        distiller.export("student.onnx", format="onnx")
        assert exported == [((distiller.student, "student.onnx"), {"format": "onnx"})]
        return
    distiller.export(tmp_path / "student", verbose=False)
    import tensorflow as tf

    loaded = tf.saved_model.load(str(tmp_path / "student"))
    assert close(array(loaded.serve(x)), distiller.predict(x, verbose=0))

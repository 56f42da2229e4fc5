"""The distiller: both parts of its loss step by step, what it leaves alone, and what a user of `fit` expects of it."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_xent
from keras_xent import reference
from keras_xent.distill.distiller import Distiller
from keras_xent.distill.keras_adapter import KerasDistillation
from keras_xent.parity.bounds import error_in_bounds

from .backends import BACKEND, array
from .cases import softmax

ROWS, FEATURES, CLASSES = 24, 5, 4
SCHEDULES = keras.optimizers.schedules


def data(rows=ROWS):
    generator = np.random.default_rng(0)
    return generator.normal(size=(rows, FEATURES)).astype("float32"), generator.integers(0, CLASSES, rows)


def dense(seed, units=CLASSES, **options):
    return keras.layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed), **options)


def linear(seed, *layers, **options):
    """One dense layer, between the given layers."""
    return keras.Sequential([keras.Input((FEATURES,)), *layers, dense(seed, **options)])


def soft_loss(temperature=3.0, **options):
    return keras_xent.DistillationLoss(temperature, targets="logits", **options)


def hard_loss():
    return keras_xent.SparseCategoricalCrossentropy(from_logits=True)


def distiller_of(teacher=None, student=None, distillation_loss=None, compiled=None, **options):
    """A distiller of linear models, compiled for plain gradient descent."""
    distiller = Distiller(
        teacher=teacher or linear(1),
        student=student or linear(2),
        distillation_loss=distillation_loss or soft_loss(),
        **options,
    )
    defaults = {"optimizer": keras.optimizers.SGD(0.5), "loss": hard_loss()}
    if BACKEND == "tensorflow":  # whose XLA takes its time
        defaults["jit_compile"] = False
    distiller.compile(**defaults | (compiled or {}))
    return distiller


def one_step(distiller, x, y, **arguments):
    """The logs of a step on all rows."""
    history = distiller.fit(x, y, batch_size=ROWS, epochs=1, shuffle=False, verbose=0, **arguments).history
    return {name: values[0] for name, values in history.items()}


def values(variables):
    return [np.array(array(ops.convert_to_tensor(variable))) for variable in variables]


def equal(ones, others):
    return len(ones) == len(others) and all(np.array_equal(one, other) for one, other in zip(ones, others, strict=True))


def close(actual, expected, terms=ROWS * CLASSES, floor=1.0):
    """Within the bound of a sum of so many terms of size 1."""
    return error_in_bounds(actual, expected, "float32", terms=terms, span=10, floor=floor) <= 1


@keras.saving.register_keras_serializable(package="keras_xent_tests")
class Watched(keras.layers.Layer):
    """Hands its inputs on and counts its calls: in Python, and in a variable that moves in inference too."""

    def __init__(self, forbidden=False, **options):
        super().__init__(**options)
        self.calls, self.training, self.forbidden = 0, [], forbidden
        self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False)

    def call(self, inputs, training=None):
        self.calls += 1
        self.training.append(training)
        if self.forbidden:
            raise AssertionError("this layer must not run")
        self.count.assign_add(1.0)
        return inputs


@keras.saving.register_keras_serializable(package="keras_xent_tests")
class MeanSquareAdded(keras.layers.Layer):
    """Hands its inputs on, and adds their mean square as a loss."""

    def call(self, inputs):
        self.add_loss(ops.mean(ops.square(inputs)))
        return inputs


@keras.saving.register_keras_serializable(package="keras_xent_tests")
class Staircase(SCHEDULES.LearningRateSchedule):
    """start + slope * step."""

    def __init__(self, start, slope):
        self.start, self.slope = start, slope

    def __call__(self, step):
        return self.start + self.slope * ops.cast(step, "float32")

    def get_config(self):
        return {"start": self.start, "slope": self.slope}


# ---- the arithmetic ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label_weight", "temperature", "weighted"), [(0.3, None, False), (0.3, None, True), (0.0, 2.0, True), (1.0, None, False)]
)
def test_a_step_of_gradient_descent_is_that_of_the_definition(label_weight, temperature, weighted):
    x, y = data()
    distiller = distiller_of(label_weight=label_weight, temperature=temperature)
    kernel, bias = (np.float64(w) for w in distiller.student.get_weights())
    taught, logits = (np.float64(model.predict(x, verbose=0)) for model in (distiller.teacher, distiller.student))
    weights = np.random.default_rng(3).uniform(0.0, 2.0, ROWS).astype("float32") if weighted else np.ones(ROWS, "float32")

    logs = one_step(distiller, x, y, **({"sample_weight": weights} if weighted else {}))

    options = {"temperature": temperature or 3.0, "targets": "logits"}
    label_losses = reference.sparse_categorical_crossentropy(y, logits, from_logits=True)
    soft_losses = reference.distillation_loss(taught, logits, **options)
    label_loss, distillation_loss = (weights * label_losses).mean(), (weights * soft_losses).mean()
    expected = {
        "label_loss": label_loss,
        "distillation_loss": distillation_loss,
        "loss": label_weight * label_loss + (1 - label_weight) * distillation_loss,
    }
    assert logs.keys() == expected.keys()
    assert all(close(logs[name], value) for name, value in expected.items())
    slopes = label_weight * reference.sparse_categorical_crossentropy_gradient(y, logits, from_logits=True)
    slopes += (1 - label_weight) * reference.distillation_loss_gradient(taught, logits, **options)
    slopes *= weights[:, None] / ROWS
    moved = distiller.student.get_weights()
    assert close(moved[0], kernel - 0.5 * x.T @ slopes) and close(moved[1], bias - 0.5 * slopes.sum(0))
    assert not np.array_equal(moved[0], np.float32(kernel))


def test_the_losses_that_the_student_adds_count_in_full_and_those_of_the_teacher_not_at_all():
    x, y = data()

    def model(seed):
        regularized = dense(seed, kernel_regularizer=keras.regularizers.L2(0.1))
        return keras.Sequential([keras.Input((FEATURES,)), regularized, MeanSquareAdded()])

    distiller, plain = distiller_of(model(1), model(2), label_weight=0.25), distiller_of(label_weight=0.25)
    kernel, logits = distiller.student.get_weights()[0], distiller.student.predict(x, verbose=0)
    distiller.teacher(x)  # leaves losses behind
    logs = one_step(distiller, x, y)
    extra = 0.1 * (kernel**2).sum() + (logits**2).mean()
    assert close(logs["loss"], 0.25 * logs["label_loss"] + 0.75 * logs["distillation_loss"] + extra)
    one_step(plain, x, y)
    slopes = 0.2 * kernel + x.T @ (2 * logits / logits.size)
    assert close(distiller.student.get_weights()[0], plain.student.get_weights()[0] - 0.5 * slopes)


def test_a_part_without_weight_is_not_in_the_sum():
    x, y = data()
    teacher = linear(1)
    teacher.set_weights([np.full((FEATURES, CLASSES), np.inf), np.zeros(CLASSES)])
    distiller = distiller_of(teacher, label_weight=1.0)
    logs = one_step(distiller, x, y)
    assert np.isfinite(logs["loss"]) and logs["loss"] == logs["label_loss"] and not np.isfinite(logs["distillation_loss"])
    assert np.isfinite(distiller.student.get_weights()[0]).all()


def test_training_on_the_teacher_alone():
    x, y = data()
    distiller = distiller_of(label_weight=0, compiled={"loss": None})
    with_labels = distiller_of(label_weight=0)
    logs = one_step(distiller, x, None)
    assert logs.keys() == {"loss", "distillation_loss"}
    assert close(logs["loss"], one_step(with_labels, x, y)["loss"])
    assert close(distiller.student.get_weights()[0], with_labels.student.get_weights()[0])


def test_class_weights_count_for_both_parts():
    x, y = data()
    class_weight = {0: 1.0, 1: 3.0, 2: 0.5, 3: 0.0}
    by_class = one_step(distiller_of(), x, y, class_weight=class_weight)
    by_sample = one_step(distiller_of(), x, y, sample_weight=np.vectorize(class_weight.get)(y))
    assert close([*by_class.values()], [*by_sample.values()])
    assert by_class["distillation_loss"] != one_step(distiller_of(), x, y)["distillation_loss"]


def sequence_model(seed):
    embedding = keras.layers.Embedding(10, 6, mask_zero=True, embeddings_initializer=keras.initializers.RandomNormal(seed=seed))
    return keras.Sequential([keras.Input((7,), dtype="int32"), embedding, dense(seed)])


def test_masked_positions_do_not_count():
    generator = np.random.default_rng(0)
    x, y = generator.integers(1, 10, (8, 7)), generator.integers(0, CLASSES, (8, 7))
    x[:, 4:] = 0
    x[0, 1:] = 0
    weights = generator.uniform(size=(8, 7)).astype("float32")
    distiller = distiller_of(sequence_model(1), sequence_model(2))
    taught, logits = (model.predict(x, verbose=0) for model in (distiller.teacher, distiller.student))
    logs = one_step(distiller, x, y, sample_weight=weights)
    kept = (x != 0) * weights / (x != 0).sum()
    soft = reference.distillation_loss(taught, logits, 3.0, targets="logits")
    hard = reference.sparse_categorical_crossentropy(y, logits, from_logits=True)
    assert close([logs["distillation_loss"], logs["label_loss"]], [(kept * soft).sum(), (kept * hard).sum()])


# ---- several outputs ---------------------------------------------------------------------------------------------


def two_headed(seed, structure, units=(CLASSES, 3)):
    inputs = keras.Input((FEATURES,))
    kind, size = dense(seed, units[0], name="kind")(inputs), dense(seed + 10, units[1], name="size")(inputs)
    return keras.Model(inputs, {"kind": kind, "size": size} if structure == "dict" else [kind, size])


def as_structure(structure, kind, size):
    return {"kind": kind, "size": size} if structure == "dict" else [kind, size]


@pytest.mark.parametrize(
    ("structure", "losses"),
    [("dict", "each"), ("list", "each"), ("list", "one for all"), ("dict", "one output without"), ("list", "one output without")],
)
def test_several_outputs(structure, losses):
    """A list's losses are logged under the names of the student's layers, as the student itself would."""
    x, y = data()
    generator = np.random.default_rng(4)
    weights = [generator.uniform(size=ROWS).astype("float32") for _ in range(2)]
    temperatures = {"each": (2.0, 5.0), "one for all": (3.0, 3.0), "one output without": (None, 5.0)}[losses]
    soft_losses = [None if temperature is None else soft_loss(temperature) for temperature in temperatures]
    distiller = distiller_of(
        two_headed(1, structure),
        two_headed(2, structure),
        soft_loss() if losses == "one for all" else as_structure(structure, *soft_losses),
        compiled={"loss": as_structure(structure, hard_loss(), hard_loss())},
    )
    taught, logits = (keras.tree.flatten(model.predict(x, verbose=0)) for model in (distiller.teacher, distiller.student))
    logs = one_step(distiller, x, as_structure(structure, y, y % 3), sample_weight=as_structure(structure, *weights))
    expected = 0.0
    for weight, temperature, t, s in zip(weights, temperatures, taught, logits, strict=True):
        if temperature:
            expected += (weight * reference.distillation_loss(t, s, temperature, targets="logits")).mean()
    assert close(logs["distillation_loss"], expected)
    assert close(logs["label_loss"], logs["kind_loss"] + logs["size_loss"])
    assert close(logs["loss"], (logs["label_loss"] + logs["distillation_loss"]) / 2)


def test_one_weight_tensor_for_all_outputs():
    """Keras repeats it for the label losses; so does the distiller."""
    x, y = data()
    weights = np.random.default_rng(4).uniform(size=ROWS).astype("float32")
    distiller = distiller_of(two_headed(1, "list"), two_headed(2, "list"))
    taught, logits = (model.predict(x, verbose=0) for model in (distiller.teacher, distiller.student))
    logs = one_step(distiller, x, [y, y % 3], sample_weight=weights)
    soft = (reference.distillation_loss(t, s, 3.0, targets="logits") for t, s in zip(taught, logits, strict=True))
    hard = (reference.sparse_categorical_crossentropy(*both, from_logits=True) for both in zip([y, y % 3], logits, strict=True))
    assert close(logs["distillation_loss"], (weights * sum(soft)).mean())
    assert close(logs["label_loss"], (weights * sum(hard)).mean())


# ---- the teacher is left alone -----------------------------------------------------------------------------------


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


# ---- the distiller is the student --------------------------------------------------------------------------------


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


# ---- ways to run it ----------------------------------------------------------------------------------------------


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


class Plain(keras.Model):
    """A student of the user's own, whose `call` knows nothing of training."""

    def __init__(self, seed):
        super().__init__()
        self.head = dense(seed)

    def call(self, inputs):
        return self.head(inputs)


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


# ---- schedules ---------------------------------------------------------------------------------------------------


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


# ---- saving ------------------------------------------------------------------------------------------------------


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


# ---- what is refused ---------------------------------------------------------------------------------------------

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
    x, y = data()
    compiled = {"loss": {"kind": hard_loss(), "size": None}}
    distiller = distiller_of(two_headed(1, "dict"), two_headed(2, "dict"), compiled=compiled)
    labels = {"kind": ops.convert_to_tensor(y), "size": ops.convert_to_tensor(y)}
    with pytest.raises(ValueError, match=r"structure of the student's outputs.*'kind': \(24,\).*'size': \(24, 3\)"):
        distiller.compute_loss(x, labels, distiller(x), sample_weight={"kind": ops.ones(ROWS)})


def test_a_label_weight_needs_a_label_loss():
    x, y = data()
    distiller = distiller_of(compiled={"loss": None})
    with pytest.raises(ValueError, match=r"label_weight=0\.5 .* loss=None"):
        distiller.fit(x, y, verbose=0)


# ---- inside Keras's own distiller --------------------------------------------------------------------------------


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

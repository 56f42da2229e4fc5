"""A step of the distiller is that of the definition: both parts, weights, masks, several outputs."""

import keras
import numpy as np
import pytest

from keras_xent import reference

from .models import (
    CLASSES,
    FEATURES,
    ROWS,
    MeanSquareAdded,
    as_structure,
    close,
    data,
    dense,
    distiller_of,
    hard_loss,
    linear,
    one_step,
    soft_loss,
    two_headed,
)


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

"""Nothing is changed by looking."""

import random

import keras
import numpy as np
import pytest
from keras import ops

import keras_xent
from keras_xent.parity.running import array

from .models import FEATURES, JIT, ROWS, X, Y, dense, mlp


class Noisy(keras.layers.Layer):
    """Counts its calls and draws noise, in inference mode too; and adds a loss."""

    def __init__(self):
        super().__init__()
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.seed = keras.random.SeedGenerator(7)

    def call(self, inputs):
        self.count.assign_add(1.0)
        self.add_loss(ops.mean(inputs))
        return inputs + 0.01 * keras.random.normal(ops.shape(inputs), seed=self.seed)


def model_of(*, fitted):
    layers = [
        dense(8),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5, seed=3),
        Noisy(),
        dense(activation="softmax"),
    ]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers])
    model.compile(
        keras.optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy", "sparse_categorical_crossentropy"],
        jit_compile=JIT,
    )
    if fitted:
        model.fit(X, Y, batch_size=ROWS, verbose=0)
    return model


def state(model):
    """All that can be read of a model."""
    optimizer = [] if model.optimizer is None else model.optimizer.variables
    variables = [*model.variables, *optimizer, *(variable for metric in model.metrics for variable in metric.variables)]
    return [np.array(array(ops.convert_to_tensor(variable))) for variable in variables]


def same(before, after):
    return len(before) == len(after) and all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def draws():
    """The next numbers of the global generators."""
    return random.random(), np.random.random(), *array(keras.random.uniform((2,))).tolist()


def draws_of(seed):
    """Begins them anew, and has them draw once."""
    keras.utils.clear_session()
    for _ in range(2):  # the first may import TensorFlow, which draws
        keras.utils.set_random_seed(seed)
    return draws()


@pytest.mark.parametrize("fitted", [False, True])
def test_variables_and_functions(fitted):
    model = model_of(fitted=fitted)
    draws_of(5)
    before, functions = state(model), (model.train_function, model.test_function, model.predict_function)
    flags = [layer.trainable for layer in model.layers]
    keras_xent.diagnose(model, X, Y, sample_weight=np.linspace(0.5, 1.5, ROWS))
    drawn = draws()
    assert same(before, state(model))
    assert functions == (model.train_function, model.test_function, model.predict_function)
    assert flags == [layer.trainable for layer in model.layers]
    draws_of(5)
    assert drawn == draws()


def test_training_goes_the_same_way():
    def trained(look):
        keras.utils.set_random_seed(5)
        model = model_of(fitted=False)
        for _ in range(2):
            if look:
                keras_xent.diagnose(model, X, Y)
            callbacks = [keras_xent.DiagnoseFirstBatch(X, Y)] if look else []
            model.fit(X, Y, batch_size=8, verbose=0, callbacks=callbacks, shuffle=False)
        return state(model)

    assert same(trained(False), trained(True))


@pytest.mark.parametrize("library", ["keras", "ours"])
def test_distillers(library):
    teacher, student = mlp(seed=5, behind=[Noisy()]), mlp(behind=[Noisy()])
    if library == "keras":
        losses = keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence())
        distiller = keras.distillation.Distiller(teacher=teacher, student=student, distillation_losses=losses)
    else:
        loss = keras_xent.DistillationLoss(targets="logits")
        distiller = keras_xent.distill.Distiller(teacher=teacher, student=student, distillation_loss=loss)
    distiller.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before, trainable, built = state(distiller), teacher.trainable, distiller.built
    keras_xent.diagnose(distiller, X, Y)
    assert same(before, state(distiller)) and trainable == teacher.trainable and built == distiller.built


def test_inputs_are_left_alone():
    x, y, weights = X.copy(), Y.copy(), np.ones(ROWS)
    keras_xent.diagnose(mlp(), x, y, "sparse_categorical_crossentropy", sample_weight=weights)
    assert np.array_equal(x, X) and np.array_equal(y, Y) and (weights == 1).all()

"""Small models for the tests of `diagnose`, whose weights a seed gives."""

import keras
import numpy as np

import keras_xent

from ..backends import BACKEND

JIT = "auto" if BACKEND == "jax" else False  # elsewhere it takes its time
ROWS, FEATURES, CLASSES, STEPS, WORDS = 32, 6, 4, 5, 20
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, FEATURES)).astype("float32")
Y = RNG.integers(0, CLASSES, ROWS)
ONE_HOT = np.eye(CLASSES, dtype="float32")[Y]
YES = RNG.integers(0, 2, (ROWS, 1)).astype("float32")
TOKENS = RNG.integers(1, WORDS, (ROWS, STEPS))
PADDED = np.where(np.arange(STEPS) < RNG.integers(1, STEPS, (ROWS, 1)), TOKENS, 0)


def dense(units=CLASSES, seed=1, **options):
    return keras.layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed), **options)


def mlp(activation=None, units=CLASSES, *, seed=1, shape=(FEATURES,), behind=()):
    """Two dense layers, the last of which has the activation, and what comes behind."""
    layers = [keras.Input(shape), dense(8, seed + 1, activation="relu"), dense(units, seed, activation=activation)]
    return keras.Sequential([*layers, *behind])


def functional(activation=None, units=CLASSES):
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, dense(units, activation=activation)(dense(8, 2, activation="relu")(inputs)))


class Subclassed(keras.Model):
    def __init__(self, activation=None, units=CLASSES):
        super().__init__()
        self.hidden, self.out = dense(8, 2, activation="relu"), dense(units, activation=activation)

    def call(self, inputs):
        return self.out(self.hidden(inputs))


def subclassed(activation=None, units=CLASSES):
    model = Subclassed(activation, units)
    model(X[:1])
    return model


BUILDERS = {"sequential": mlp, "functional": functional, "subclassed": subclassed}


def saying(shape):
    """A model whose output is its input."""
    return keras.Sequential([keras.Input(shape), keras.layers.Identity()])


def tagger(activation=None, *, mask_zero=False, between=()):
    """One prediction per token."""
    inputs = keras.Input((STEPS,), dtype="int32")
    values = keras.layers.Embedding(
        WORDS, 8, mask_zero=mask_zero, embeddings_initializer=keras.initializers.RandomNormal(seed=3)
    )(inputs)
    for layer in between:
        values = layer(values)
    return keras.Model(inputs, dense(activation=activation)(values))


def trained(x=X, y=Y, activation=None, behind=(), scale=10.0):
    """A model that has learned the labels by heart, and has a unit for each: the last layer solves for them."""
    hidden = dense(4 * ROWS, 2, activation="relu")
    model = keras.Sequential([keras.Input((FEATURES,)), hidden, dense(activation=activation), *behind])
    kernel, bias = hidden.get_weights()
    kernel = np.linalg.lstsq(np.maximum(x @ kernel + bias, 0), scale * np.eye(CLASSES)[y], rcond=None)[0]
    model.layers[1].set_weights([kernel, np.zeros(CLASSES)])
    return model


def codes(model, x, y, loss=None, **options):
    """The codes that are found."""
    return [finding.code for finding in keras_xent.diagnose(model, x, y, loss, **options)]

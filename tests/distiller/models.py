"""What the tests of the distiller share: small models, whose weights a seed gives, and one step."""

import keras
import numpy as np
from keras import ops

import keras_xent
from keras_xent.distill.distiller import Distiller
from keras_xent.parity.bounds import error_in_bounds

from ..backends import BACKEND, array

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


def two_headed(seed, structure, units=(CLASSES, 3)):
    inputs = keras.Input((FEATURES,))
    kind, size = dense(seed, units[0], name="kind")(inputs), dense(seed + 10, units[1], name="size")(inputs)
    return keras.Model(inputs, {"kind": kind, "size": size} if structure == "dict" else [kind, size])


def as_structure(structure, kind, size):
    return {"kind": kind, "size": size} if structure == "dict" else [kind, size]


class Plain(keras.Model):
    """A student of the user's own, whose `call` knows nothing of training."""

    def __init__(self, seed):
        super().__init__()
        self.head = dense(seed)

    def call(self, inputs):
        return self.head(inputs)

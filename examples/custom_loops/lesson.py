"""What the three loops share: the digits, what a teacher says about them, and a student with its first weights.

Only NumPy and scikit-learn draw random numbers here, so that every backend starts from the same ones.
"""

import argparse
import importlib.util
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads only get in the way of networks as small as these; NumPy reads it now

import numpy as np

BATCH_SIZE, HIDDEN_UNITS, CLASSES = 64, 32, 10


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")  # one line, without the usage in front


def count(text):
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


count.__name__ = "int"  # argparse names it where the text is no number


def begin(backend, description):
    """The settings; Keras, which is imported later, will find its backend."""
    parser = Parser(description=description.partition("\n")[0])
    parser.add_argument("--steps", type=count, default=400, metavar="N", help="how many batches (default: %(default)s)")
    parser.add_argument("--weights", type=Path, metavar="FILE.npz", help="where to save what the student has become")
    settings = parser.parse_args()
    if (os.environ.get("KERAS_BACKEND") or backend) != backend:
        parser.error(f"this loop is for KERAS_BACKEND={backend}, but it is set to {os.environ['KERAS_BACKEND']}")
    missing = [name for name in (backend, "sklearn") if importlib.util.find_spec(name) is None]
    if missing:
        parser.error(f"not installed: {', '.join(missing)}. Run: pip install '.[examples,{backend}]'")
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return settings


def digits():
    """Inputs and labels to learn from, then those of the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    inputs, labels = load_digits(return_X_y=True)
    inputs = (inputs / 16).astype("float32")
    seen, unseen, labels_seen, labels_unseen = train_test_split(inputs, labels, train_size=1280, stratify=labels, random_state=0)
    return seen, labels_seen, unseen, labels_unseen


def make_targets(inputs, labels):
    """What a larger network says, and the labels, in one `y_true`: its log-probabilities serve as logits."""
    from sklearn.neural_network import MLPClassifier

    import keras_xent

    teacher = MLPClassifier(256, learning_rate_init=0.003, tol=1e-3, random_state=0).fit(inputs, labels)
    return keras_xent.pack_targets(teacher.predict_log_proba(inputs), labels)


def batches(inputs, y_true, steps):
    """As many batches of one shape, shuffled anew whenever all were seen."""
    rng = np.random.default_rng(0)
    for step in range(steps):
        place = step * BATCH_SIZE % len(inputs)
        if place == 0:
            order = rng.permutation(len(inputs))
        chosen = order[place : place + BATCH_SIZE]
        yield inputs[chosen], y_true[chosen]


def make_student():
    """A small network that ends in logits."""
    import keras

    hidden = keras.layers.Dense(HIDDEN_UNITS, activation="tanh")  # smooth: a rounding cannot switch a unit off, as with "relu"
    student = keras.Sequential([keras.Input((64,)), hidden, keras.layers.Dense(CLASSES)])
    rng = np.random.default_rng(0)
    shapes = [variable.shape for variable in student.weights]
    student.set_weights([rng.normal(0, shape[0] ** -0.5, shape) if len(shape) == 2 else np.zeros(shape) for shape in shapes])
    return student


def report(student, loss, inputs, y_true, test_inputs, test_labels, weights_file):
    """Prints what came of it, and saves the weights where that was asked for."""
    import keras

    read = keras.ops.convert_to_numpy
    final_loss, predicted = read(loss(y_true, student(inputs))), read(student(test_inputs)).argmax(axis=-1)
    print(f"{keras.backend.backend()}: loss {final_loss:.4f} nats, test accuracy {np.mean(predicted == test_labels):.2%}")
    if weights_file:
        np.savez(weights_file, *student.get_weights())

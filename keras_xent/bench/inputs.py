"""Seeded inputs, and what the definition says of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from .. import reference
from ..parity.cases import function_name, of_this_process
from ..parity.running import BACKEND, array, tensor

BLOCK = 4_000_000  # logits at a time in float64
SAMPLE = 128  # so many rows of a gradient are compared, and columns of a kernel's
# Errors that rounding may cause: of the value, and of the gradient relative to the sum of its absolute values. The smallest
# mistake worth the name (a weight, a temperature, one class too many) is larger.
BOUNDS = {"float32": (1e-4, 1e-3), "bfloat16": (2e-2, 5e-2), "float16": (2e-2, 5e-2)}


@dataclass(frozen=True)
class Inputs:
    """Tensors: the targets, and what gradients are taken by."""

    targets: Any
    predictions: tuple[Any, ...]


def draw(subject, size, dtype):
    """Inputs of a size, the same on every backend."""
    rng = np.random.default_rng([size.rows, size.classes, size.hidden or 0])

    def normal(*shape):
        return rng.standard_normal(shape, "float32")

    def features_and_kernel():
        return normal(size.rows, size.hidden), normal(size.hidden, size.classes) / np.float32(size.hidden**0.5)

    if subject.space == "linear":
        predictions = features_and_kernel()
    else:
        logits = normal(size.rows, size.classes)
        if subject.space == "probs":
            logits = sigmoid(logits) if subject.targets == "answers" else softmax(logits)
        predictions = (logits,)
    shape = size.rows, size.classes
    if subject.targets == "ids":  # as each backend's users pass them
        targets = tensor(rng.integers(0, size.classes, size.rows), "int64" if BACKEND == "torch" else "int32")
    elif subject.targets == "features":
        targets = tuple(tensor(one, dtype) for one in features_and_kernel())
    elif subject.targets == "answers":
        targets = tensor(rng.integers(0, 2, shape).astype("float32"), dtype)
    else:
        targets = tensor(softmax(normal(*shape)) if subject.targets == "dense" else normal(*shape), dtype)
    return Inputs(targets, tuple(tensor(one, dtype) for one in predictions))


def softmax(logits):
    """Probabilities, in place: the arrays are large."""
    logits -= logits.max(-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(-1, keepdims=True)
    return logits


def sigmoid(logits):
    """Probabilities of yes, in place."""
    np.exp(np.negative(logits, out=logits), out=logits)
    logits += 1.0
    return np.reciprocal(logits, out=logits)


@dataclass(frozen=True)
class Truth:
    """The mean loss by definition, and a part of its gradients."""

    value: float
    parts: tuple[tuple[int, np.ndarray, np.ndarray], ...]  # per input: an axis, places along it, the gradient there

    def errors(self, value, gradients):
        """How far a result is from it: of the value, and of the gradient."""
        value_error = abs(float(array(value)) - self.value) / abs(self.value)
        worst = 0.0
        for gradient, (axis, places, expected) in zip(gradients, self.parts, strict=True):
            found = array(ops.take(gradient, places, axis=axis)).astype("float64")
            worst = max(worst, float(np.abs(found - expected).sum() / np.abs(expected).sum()))
        return value_error, worst


def truth(subject, inputs):
    """What the definition says of the inputs as their dtype holds them; float64, a block of rows at a time."""
    losses, gradient = (getattr(reference, function_name(subject.loss) + of) for of in ("", "_gradient"))
    options = {**subject.options, **of_this_process(losses, subject.options)}
    student, taught = in_float64(inputs.predictions), subject.targets == "features"
    targets = in_float64(inputs.targets) if taught else array(inputs.targets)
    rows, classes = len(student[0]), student[-1].shape[1]

    def of_rows(places):
        return logits_of(targets, places) if taught else targets[places], logits_of(student, places)

    chosen, columns = spread(rows), spread(classes)
    slopes = gradient(*of_rows(chosen), **options) / rows
    total, by_columns = 0.0, np.zeros((len(student[-1]), len(columns)))
    for start in range(0, rows, max(1, BLOCK // classes)):
        places = slice(start, start + max(1, BLOCK // classes))
        given = of_rows(places)
        total += float(losses(*given, **options).sum())
        if subject.space == "linear":
            by_columns += student[0][places].T @ gradient(*given, **options)[:, columns]
    if subject.space != "linear":
        return Truth(total / rows, ((0, chosen, slopes),))
    return Truth(total / rows, ((0, chosen, slopes @ student[1].T), (1, columns, by_columns / rows)))


def in_float64(tensors):
    """Arrays; logits stay as they are until some of them are looked at."""
    arrays = [array(one) for one in tensors]
    return arrays if len(arrays) == 1 else [one.astype("float64") for one in arrays]


def logits_of(given, places):
    """Those of some rows, of all logits or of features and a kernel."""
    first, *kernel = given
    return first[places] @ kernel[0] if kernel else first[places].astype("float64")


def spread(number):
    """Places from the first to the last."""
    return np.unique(np.linspace(0, number - 1, min(number, SAMPLE)).astype("int64"))

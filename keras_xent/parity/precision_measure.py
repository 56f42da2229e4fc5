"""Measures, on the active backend, the errors of our losses and of Keras's: `precision.py` asks for it once per backend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import losses as built_in
from keras import ops

import keras_xent

from . import precision_truth
from .bounds import EPSILON, LIMIT
from .running import BACKEND, tensor, with_gradient

SMALLEST = 2.0**-126  # normal float32: numbers below it are flushed to 0 by TensorFlow and JAX, and do not count
FLUSHED = 2.0 * SMALLEST  # what may be missing in the sums that the gradients of the newer losses are
MODES = {"tensorflow": ("eager", "xla"), "jax": ("compiled",), "torch": ("eager",)}[BACKEND]


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    scales: Sequence[float]  # of the logits, which are normal
    classes: Sequence[int]
    elements: int = 100_000  # about as many logits are drawn at a time, in 8 to 1024 rows
    exact: int = 200  # about as many of them are also computed in 60 digits, if that makes two rows or more
    modes: int = 2  # how many of `MODES`


@dataclass(frozen=True)
class Case:
    """A loss, its targets, and what Keras has for it."""

    name: str  # cases of one name share a row of the table
    function: str  # in `keras_xent` and its reference
    targets: str  # "labels", "hard" (one-hot), "soft" or "answers" (yes/no)
    theirs: Callable[..., Any] | None = None  # the losses of targets and logits
    options: dict[str, Any] = field(default_factory=dict)  # beside from_logits=True
    newer: bool = False  # than the plain cross-entropies: a sample is computed in 60 digits

    @property
    def what(self):
        """What tells apart the cases of one name."""
        return ", ".join([f"{self.targets} targets", *(f"{name}={value}" for name, value in self.options.items())])

    def ours(self, y_true, logits):
        """Our losses."""
        return getattr(keras_xent, self.function)(y_true, logits, from_logits=True, **self.options)


def from_logits(function, **options):
    """A built-in loss of Keras that takes logits."""
    return lambda y_true, logits: function(y_true, logits, from_logits=True, **options)


def from_softmax(function, *options):
    """A built-in loss of Keras that takes probabilities alone."""
    return lambda y_true, logits: function(y_true, ops.softmax(logits), *options)


DENSE, SPARSE, BINARY = "categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy"
FOCAL, GENERALIZED = "categorical_focal_crossentropy", "categorical_generalized_cross_entropy"
CASES = (
    Case("sparse", SPARSE, "labels", from_logits(built_in.sparse_categorical_crossentropy)),
    Case("categorical, hard targets", DENSE, "hard", from_logits(built_in.categorical_crossentropy)),
    Case("categorical, soft targets", DENSE, "soft", from_logits(built_in.categorical_crossentropy)),
    Case("binary", BINARY, "answers", from_logits(built_in.binary_crossentropy)),
    *(
        Case(name, function, targets, theirs and from_logits(theirs, gamma=gamma), {"gamma": gamma}, newer=True)
        for name, function, targets, theirs in (
            ("categorical focal, hard targets", FOCAL, "hard", built_in.categorical_focal_crossentropy),
            ("categorical focal, soft targets", FOCAL, "soft", built_in.categorical_focal_crossentropy),
            ("sparse focal", f"sparse_{FOCAL}", "labels", None),
            ("binary focal", "binary_focal_crossentropy", "answers", built_in.binary_focal_crossentropy),
        )
        for gamma in ((2.0, 0.5) if targets in ("labels", "answers") else (2.0,))
    ),
    *(
        Case("Kullback-Leibler", "kl_divergence", targets, from_softmax(built_in.kl_divergence), newer=True)
        for targets in ("hard", "soft")
    ),
    Case(
        "generalised",
        GENERALIZED,
        "labels",
        from_softmax(built_in.categorical_generalized_cross_entropy, 0.5),
        {"q": 0.5},
        newer=True,
    ),
)


def measurements(plan, case, num_classes):
    """Yields one measurement per scale, mode, quantity and implementation."""
    implementations = {"ours": case.ours} | ({"Keras": case.theirs} if case.theirs else {})
    runs = {
        (who, mode): value_and_gradient(function, mode)
        for who, function in implementations.items()
        for mode in MODES[: plan.modes]
    }
    for scale in plan.scales:
        y_true, logits = draw(case.targets, scale, num_classes, plan.elements)
        truth = precision_truth.in_float64(case.function, y_true, logits, case.options)
        common = {"case": case.name, "what": case.what, "classes": num_classes, "scale": scale}
        sizes = precision_truth.sizes(case.function, y_true, logits, case.options, *truth, soft=case.targets == "soft")
        rows = min(plan.exact // num_classes, len(logits))
        if case.newer and rows > 1:
            exact = precision_truth.in_many_digits(case.function, y_true[:rows], logits[:rows], case.options)
            for number, quantity in enumerate(("value", "gradient")):
                error = errors(truth[number][:rows], exact[number], sizes[number][:rows])
                yield common | {"who": "float64", "mode": "", "quantity": quantity} | summary(error)
                truth[number][:rows] = exact[number]
        for (who, mode), run in runs.items():
            for quantity, result, expected, size in zip(("value", "gradient"), run(y_true, logits), truth, sizes, strict=True):
                error = errors(result, expected, size, FLUSHED if case.newer else 0.0)
                yield common | {"who": who, "mode": mode, "quantity": quantity} | summary(error)


def draw(targets, scale, num_classes, elements):
    """Targets and normal logits of that scale, half of the targets being (soft ones: having) their maximum at the top logit."""
    rng = np.random.default_rng([num_classes, round(100 * scale)])
    rows = min(max(8, elements // num_classes), 1024)
    logits = np.float32(scale * rng.normal(size=(rows, num_classes))).astype("float64")
    confident = np.arange(rows) % 2 == 0
    labels = np.where(confident, logits.argmax(-1), rng.integers(0, num_classes, rows)).astype("int32")
    if targets == "labels":
        return labels, logits
    if targets == "hard":
        return (labels[:, None] == np.arange(num_classes)).astype("float64"), logits
    if targets == "soft":
        soft = np.exp(rng.normal(size=logits.shape))
        soft /= soft.sum(-1, keepdims=True)
        for row in np.flatnonzero(confident):
            top, largest = labels[row], soft[row].argmax()
            soft[row, [top, largest]] = soft[row, [largest, top]]
        return np.float32(soft).astype("float64"), logits
    logits = logits.reshape(-1, 1)[:elements]  # element by element: the mean over an axis of size 1
    return rng.integers(0, 2, logits.shape).astype("float64"), logits


def errors(result, expected, size, flushed=0.0):
    """The errors in float32 ε of the elements that count, relative to `size`; not finite is infinitely wrong."""
    error = np.maximum(np.abs(result - expected) - flushed, 0.0)
    error = np.where(np.isfinite(error), error, np.inf)
    counts = (size >= SMALLEST) | ~np.isfinite(error)
    return error[counts] / np.maximum(size, SMALLEST)[counts] / EPSILON["float32"]


def summary(error):
    """The worst error, how many are above the limit, and how many there are."""
    return {"worst": float(error.max(initial=0.0)), "above": int((error > LIMIT).sum()), "count": error.size}


def value_and_gradient(function, mode):
    """What gives the losses and the gradient of their sum, as float64 arrays, of `function(y_true, logits)`."""
    run = with_gradient(lambda logits, y_true: function(y_true, logits), mode)

    def arrays(y_true, logits):
        dtype = "float32" if y_true.dtype.kind == "f" else None
        return tuple(part.astype("float64") for part in run(tensor(logits, "float32"), tensor(y_true, dtype)))

    return arrays


def measured(**plan):
    """The task "precision" of `worker`: what is measured, case by case."""
    plan = Plan(**plan)
    yield {"total": len(plan.classes) * len(CASES)}
    for num_classes in plan.classes:
        for case in CASES:
            yield {"measurements": [*measurements(plan, case, num_classes)], "done": 1}

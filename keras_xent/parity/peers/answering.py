"""How a peer answers: its losses in float64, whatever the dtype of the case; weights and reduction are the definition's.

So the whole error of a comparison is that of the other side, and a peer is about its losses alone. Each library has a module
with one function for each value of `FUNCTIONS`: of a case, it returns a function of rows of predictions (for the binary losses,
of predictions of any shape) that gives a loss for each row (each prediction).
"""

import functools
import importlib
import math

import numpy as np
from keras import ops

from ...reference._arithmetic import SLOPE_FLOOR
from ..cases import KINDS
from ..implementations import Implementation, IncomparableError
from ..running import having, tensor, with_gradient
from .inputs import epsilon_of, last

FUNCTIONS = {
    "CategoricalCrossentropy": "crossentropy",
    "SparseCategoricalCrossentropy": "crossentropy",
    "BinaryCrossentropy": "binary_crossentropy",
    "CategoricalFocalCrossentropy": "focal",
    "SparseCategoricalFocalCrossentropy": "focal",
    "BinaryFocalCrossentropy": "binary_focal",
    "KLDivergence": "divergence",
    "CategoricalGeneralizedCrossEntropy": "generalized",
    "DistillationLoss": "distillation",
}
# Arguments that have a meaning here. The reduction of a case leaves out what is ignored; ε and the gradient beyond it are those
# of probabilities that are refused.
UNDERSTOOD = set(
    "from_logits axis label_smoothing class_weight ignore_class epsilon saturated_gradient pos_weight alpha gamma "
    "apply_class_balancing q targets temperature divergence beta scale_by_temperature_squared teacher_classes labels "
    "label_weight".split()
)


def peer(name, module):
    """The implementation that is a library by that name, which `module` is about and imports when it is asked."""
    made = functools.partial(losses_of, name, module)
    return Implementation(name, functools.partial(answer, name, made), in_modes=False, made=made)


def answer(name, made, case, mode):
    """The value and gradient of a case, by a library."""
    losses = made(case)
    with having("float64"):
        losses, gradient = with_gradient(losses, mode)(tensor(case.y_pred, "float64"))
    value, gradient = case.reduced(losses, gradient)
    if np.isnan(value).any() or np.isnan(gradient).any():
        raise IncomparableError(f"{name} gives NaN")  # of 0 times the logarithm of 0, as a rule, which counts as 0 here
    return value, gradient


def losses_of(name, module, case):
    """A function of the predictions of a case that gives its losses, neither weighed nor reduced."""
    refuse(name, case)
    library = importlib.import_module(module)
    with having("float64"):
        losses_of_rows = getattr(library, FUNCTIONS[case.loss])(case)
    if KINDS[case.loss] == "answers":
        return lambda y_pred: mean(losses_of_rows(y_pred), case.axis, case.y_pred.shape)
    shape = np.moveaxis(case.y_pred, case.axis, -1).shape
    rows = (math.prod(shape[:-1]), shape[-1])
    return lambda y_pred: ops.reshape(losses_of_rows(ops.reshape(last(y_pred, case.axis), rows)), shape[:-1])


def refuse(name, case):
    """Raises an error for what no library has."""
    unknown = set(case.arguments) - UNDERSTOOD
    if unknown:
        raise IncomparableError(f"{name} has no {', '.join(sorted(unknown))}")
    if case.arguments.get("targets") == "top_k":
        raise IncomparableError(f"{name} has no teachers of a few classes")
    if beyond_the_clip(case):
        raise IncomparableError(f"a probability lies where the loss clips it or bounds its slope, and {name} does something else")


def beyond_the_clip(case):
    """Whether a probability lies where a loss clips it, or where its slope is bounded."""
    if case.arguments["from_logits"]:
        return False
    probs, epsilon = case.y_pred, max(epsilon_of(case), SLOPE_FLOOR[case.dtype])
    if case.loss == "CategoricalGeneralizedCrossEntropy":
        return bool((probs < SLOPE_FLOOR[case.dtype]).any())
    if KINDS[case.loss] in ("dense", "ids", "teacher"):
        total = probs.sum(axis=case.axis, keepdims=True)
        probs = probs / np.where(total == 0, 1.0, total)
    above = case.loss != "KLDivergence" and (probs > 1.0 - epsilon).any()
    return bool(above or (probs < epsilon).any())


def mean(elements, axis, shape):
    """The mean over one axis, all of them (None) or none (`()`)."""
    if axis == ():
        return elements
    number = math.prod(shape) if axis is None else shape[axis]
    return ops.sum(elements, axis=axis) / number  # not `ops.mean`, which rounds float64 to float32 on PyTorch and JAX

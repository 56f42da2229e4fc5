"""The layer that a model's output comes from, and its activation."""

from dataclasses import dataclass
from typing import Any

import keras

# They hand on what they are given, one way or another.
PASSING = {"Identity", "Reshape", "Permute", "Flatten", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "Cast", "Squeeze"}
BY_TYPE = {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "log_softmax", "Relu": "relu", "ReLU": "relu"}


@dataclass(frozen=True)
class Head:
    """The last layer. In a model without a graph it is a guess (`certain=False`), which numbers have to confirm."""

    layer: Any = None
    activation: str | None = None  # None: not known
    certain: bool = False

    def __str__(self):
        """For a sentence."""
        if self.layer is None or self.activation is None:
            return "the model's output"
        return f"the output of layer {self.layer.name!r} ({type(self.layer).__name__}, activation {self.activation!r})"


def head_of(model, index, width):
    """The layer behind output `index`, which has `width` numbers along its last axis."""
    outputs = getattr(model, "outputs", None)
    if outputs:
        return walk(outputs[index])
    for layer in reversed(list(flat_layers(model))):
        if activation_of(layer) is not None and getattr(layer, "units", getattr(layer, "filters", width)) == width:
            return Head(layer, activation_of(layer))
    return Head()


def walk(tensor):
    """From a symbolic output back to the layer that made its numbers."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return Head()
    operation, _, index = history
    layer = operation.layer if isinstance(operation, keras.layers.Wrapper) else operation
    if isinstance(layer, keras.Model) and getattr(layer, "outputs", None):
        return walk(layer.outputs[index])
    activation = activation_of(layer)
    handed_on = type(layer).__name__ in PASSING or (type(layer).__name__ == "Activation" and activation == "linear")
    if not handed_on:
        return Head(layer, activation, certain=activation is not None)
    try:
        return walk(operation.input)
    except (AttributeError, ValueError):  # used more than once, or of several inputs
        return Head()


def activation_of(layer):
    """The name of a layer's activation; None if it has none that can be known."""
    if type(layer).__name__ in BY_TYPE:
        return BY_TYPE[type(layer).__name__]
    function = getattr(layer, "activation", None)
    return None if function is None else getattr(function, "__name__", type(function).__name__).lower()


def flat_layers(layer):
    """All layers within a layer, in the order in which they were made."""
    inner = [layer.layer] if isinstance(layer, keras.layers.Wrapper) else getattr(layer, "layers", [])
    for one in inner:
        yield one
        yield from flat_layers(one)

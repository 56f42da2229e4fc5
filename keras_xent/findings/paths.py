"""The way from a layer to the output: whether what it says of each step is still there, step by step."""

import keras

from .heads import flat_layers


def keeps_steps(network, layer, steps):
    """Whether each of the output's `steps` may come from the same step of a layer within `network`.

    In an encoder whose last state, or whose attention over another sequence, is all that a decoder sees, none does.
    """
    if getattr(network, "outputs", None):
        return any(leads_back(tensor, layer, steps, set()) for tensor in network.outputs)
    # Without a graph: unless some layer makes one thing of all steps.
    return all(getattr(each, "return_sequences", True) for each in flat_layers(network))


def leads_back(tensor, layer, steps, seen):
    """Whether a path leads from a symbolic tensor back to `layer` on which all tensors have that many steps."""
    history = getattr(tensor, "_keras_history", None)
    if history is None or id(tensor) in seen or len(tensor.shape) < 2 or tensor.shape[1] not in (None, steps):
        return False
    seen.add(id(tensor))
    operation, node, index = history
    if operation is layer:
        return True
    if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        within = leads_back(operation.outputs[index], layer, steps, seen)
    else:
        within = any(each is layer for each in flat_layers(operation))
    return within or any(leads_back(each, layer, steps, seen) for each in operation._inbound_nodes[node].input_tensors)

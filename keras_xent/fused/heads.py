"""Output layers: where a loss finds the kernel that the logits would be made with."""

import contextlib
import contextvars

import keras
from keras import ops

from .. import _backend
from .linear import Problem

variables_of_step: contextvars.ContextVar[tuple] = contextvars.ContextVar("variables_of_step", default=())


@contextlib.contextmanager
def step_with(variables, values):
    """While JAX takes a step variables are empty, and metrics are not told what is in them: here they find it."""
    token = variables_of_step.set(tuple(zip(variables, values, strict=True)))
    try:
        yield
    finally:
        variables_of_step.reset(token)


class Head:
    """An output layer, read as features -> logits; held where Keras neither tracks nor saves it.

    Keras walks into the attributes of losses and would load a second layer beside the model's own: this is no attribute that it
    walks into.
    """

    def __init__(self, layer):
        check_head(layer)
        self.layer = layer

    @property
    def transposed(self):
        """Whether the kernel is the table of an embedding, (num_classes, hidden)."""
        return is_embedding(self.layer) and self.layer.tie_weights

    @property
    def kernel(self):
        """The kernel, or the table where it is transposed."""
        layer = self.layer
        if not layer.built:
            raise ValueError(f"The head {layer.name!r} has no kernel yet. Build it first: call its model on an input.")
        if is_embedding(layer):
            return ops.convert_to_tensor(layer.embeddings if layer.tie_weights else layer.reverse_embeddings)
        return ops.convert_to_tensor(layer.kernel)

    @property
    def bias(self):
        """The bias, or None."""
        bias = None if is_embedding(self.layer) else self.layer.bias
        return None if bias is None else ops.convert_to_tensor(bias)

    @property
    def num_classes(self):
        """How many classes there are."""
        return self.layer.input_dim if is_embedding(self.layer) else self.layer.units

    def mask_of(self, features):
        """The mask that the layer's logits would carry: an embedding called in reverse drops that of its features."""
        return None if is_embedding(self.layer) else _backend.mask_of(features)

    @property
    def dtype(self):
        """The dtype that the layer computes in."""
        return getattr(self.layer, "reverse_dtype", None) or self.layer.compute_dtype

    @property
    def logit_softcap(self):
        """The layer's own cap, or None."""
        return getattr(self.layer, "logit_soft_cap", None)

    def with_own_cap(self, options):
        """The options with the layer's own cap, if it has one."""
        own, given = self.logit_softcap, options["logit_softcap"]
        if own is not None and given not in (None, own):
            raise ValueError(
                f"`logit_softcap` is {given}, but the head {self.layer.name!r} caps its logits at {own} itself. Leave "
                "`logit_softcap` out: the head's own counts."
            )
        return options | {"logit_softcap": given if own is None else own}

    def problem(self, y_true, features, options):
        """Labels and features beside this kernel, the features in the dtype that the layer computes in."""
        features = ops.cast(features, self.dtype)
        return Problem(y_true, features, self.kernel, self.bias, self.with_own_cap(options), self.transposed)


def is_embedding(layer):
    """Whether it is an embedding that can be called in reverse, Keras's or KerasHub's."""
    return isinstance(layer, keras.layers.Embedding) and hasattr(layer, "tie_weights")


def check_head(layer):
    """An output layer of a kind whose logits can be made a chunk at a time."""
    expected = "expected a `keras.layers.Dense` without activation, or a `ReversibleEmbedding`"
    if isinstance(layer, keras.Model):
        raise ValueError(
            f"`head` is a model, {layer.name!r}; {expected}. `keras_xent.fused.split_head(model)` gives the output layer."
        )
    if not (type(layer) is keras.layers.Dense or is_embedding(layer)):
        raise ValueError(
            f"The head is {describe(layer)}; {expected}. For other layers take "
            "`keras_xent.SparseCategoricalCrossentropy` on the logits."
        )
    if not is_embedding(layer) and layer.activation is not keras.activations.linear:
        name = getattr(layer.activation, "__name__", layer.activation)
        raise ValueError(
            f"The head {layer.name!r} has the activation {name!r}; {expected}: the loss takes logits. Give it `activation=None`, "
            "and apply the softmax where probabilities are wanted."
        )
    if getattr(layer, "quantization_mode", None) is not None:
        raise ValueError(f"The head {layer.name!r} is quantized ({layer.quantization_mode}); {expected} with float weights.")


def describe(layer):
    """A layer for an error message."""
    return f"{layer.name!r}, a {type(layer).__name__}" if isinstance(layer, keras.Operation) else f"a {type(layer).__name__}"


class NeedsHead:
    """What losses and metrics from features have in common: a head that is bound once, and outside of the config."""

    name: str

    def bind(self, head):
        """Reads the kernel of `head` from now on."""
        self.__dict__["_head"] = head if head is None or isinstance(head, Head) else Head(head)

    @property
    def head(self):
        """The output layer, or None where there is none yet."""
        held = self.__dict__.get("_head")
        return None if held is None else held.layer

    def _bound(self):
        held = self.__dict__.get("_head")
        if held is None:
            raise ValueError(
                f"`{type(self).__name__}` {self.name!r} has no head: a config does not hold one. Compile a model made by "
                "`keras_xent.fused.split_head` with it, which binds its own output layer, or call `bind(layer)`."
            )
        return held

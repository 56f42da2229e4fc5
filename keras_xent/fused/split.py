"""A model cut before its output layer: what ends in features is trained, what ends in logits predicts."""

from typing import Any

import keras

from .._base import register
from .features_loss import evaluation
from .heads import Head, NeedsHead, check_head, describe, is_embedding, step_with
from .metrics import LinearMetric

OF_LOGITS = ("accuracy", "acc", "crossentropy", "ce")


def split_head(model: Any) -> tuple[Any, Any]:
    """Cuts a model before its output layer.

    logits = head(features_model(x))

    Args:
        model: A functional or sequential model with one output, the logits that a `Dense` without activation, or a
            `ReversibleEmbedding` called with `reverse=True`, makes of its features; KerasHub's language models are such.

    Returns:
        The model that ends in features, of shape (..., hidden), and the output layer. All layers are those of `model`, which
        predicts with what the features model has learned; it is `features_model.logits_model`. The features model's `compile`
        binds the head to losses and metrics that have none, also when a saved one is loaded.

    Raises:
        ValueError: A model of another kind, one that is not built, one with several outputs, one whose last operation is no such
            layer, or an output layer with an activation.

    Differs from Keras:
        Keras has nothing of the kind. Trained with `LinearSparseCategoricalCrossentropy`, the features model gets the weights
        that `model` gets with `SparseCategoricalCrossentropy(from_logits=True)`, but for rounding.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1000)])
        >>> features_model, head = keras_xent.fused.split_head(model)
        >>> features_model.output_shape, head.units
        ((None, 8), 1000)

    Source:
        `keras_xent.LinearSparseCategoricalCrossentropy`.
    """
    features_model = FeaturesModel(model)
    return features_model, features_model.head


def cut(model):
    """The features of a model, symbolically, and the layer that makes logits of them."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a `keras.Model`. Received: {describe(model)}.")
    try:
        outputs = keras.tree.flatten(model.outputs)
    except (AttributeError, ValueError):
        outputs = None
    if not outputs:
        raise ValueError(
            f"`model` must be a functional model, or a sequential one that knows its input. Received: {model.name!r}, a "
            f"{type(model).__name__} whose layers cannot be followed. Begin a sequential model with `keras.Input`; with a "
            "subclassed one, pass its features to `keras_xent.LinearSparseCategoricalCrossentropy(head)` yourself."
        )
    if len(outputs) != 1:
        raise ValueError(f"`model` must have one output, the logits. Received: {model.name!r} with {len(outputs)} outputs.")
    layer, node_index, _ = outputs[0]._keras_history
    expected = "expected a `Dense` without activation or a `ReversibleEmbedding` called in reverse"
    try:
        check_head(layer)
    except ValueError as error:
        raise ValueError(f"The last operation of {model.name!r} is {describe(layer)}; {expected}. {error}") from None
    arguments = layer._inbound_nodes[node_index].arguments
    if is_embedding(layer) and not (arguments.kwargs.get("reverse") or arguments.args[1:2] == (True,)):
        raise ValueError(f"The last operation of {model.name!r} is an embedding of ids, {layer.name!r}; {expected}.")
    return arguments.keras_tensors[0], layer


def of_one_output(metrics):
    """Metrics in a list of their own, which Keras 3.12 wants them in if there is one output, and not in a list of lists."""
    return keras.tree.flatten(metrics) if isinstance(metrics, list) else metrics


@register
class FeaturesModel(keras.Model):
    """What `split_head` makes of a model: the same layers without the last, which it trains and saves nevertheless.

    features = x, with logits = x W + b made by the head where they are needed, in chunks.

    Args:
        model: A functional or sequential model whose last layer makes the logits, as for `split_head`. It is kept as
            `logits_model`, shares all weights, and predicts; its last layer is `head`.
        name: The name; None: that of `model` with `_features` behind it.
        trainable: Whether it is trained; None: as its layers are.

    Returns:
        A `keras.Model` whose outputs are the features, of shape (..., hidden).

    Raises:
        ValueError: As `split_head`; by `compile`, a loss or a metric of logits, or one with another model's head.

    Differs from Keras:
        `compile` gives its head to losses and metrics that have none; `fit` looks at metrics before the optimizer's step, as the
        model with logits does.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1000)])
        >>> features_model = keras_xent.fused.FeaturesModel(model)
        >>> features_model.compile("sgd", keras_xent.LinearSparseCategoricalCrossentropy())
        >>> x, y = np.zeros((2, 4), "float32"), np.array([0, 999])
        >>> round(float(features_model.evaluate(x, y, verbose=0)), 4), round(float(np.log(1000)), 4)
        (6.9078, 6.9078)
        >>> features_model.logits_model.predict(x, verbose=0).shape
        (2, 1000)

    Source:
        `keras_xent.fused.split_head`; the loss: `keras_xent.LinearSparseCategoricalCrossentropy`.
    """

    def __init__(self, model, name=None, trainable=None):
        features, head = cut(model)
        structure = getattr(model, "input", None)  # a sequential model has none
        inputs = structure if isinstance(structure, (dict, list, tuple)) else model.inputs[0]
        super().__init__(inputs=inputs, outputs=features, name=name or f"{model.name}_features")
        self.logits_model = model
        self.head = head
        self._looking = lambda: []
        if head not in self._layers:  # Keras 3.12 finds the layers between inputs and outputs alone
            self._layers = [*self._layers, head]
        if trainable is not None:
            self.trainable = trainable

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, weighted_metrics=None, **kwargs):
        """Compiles the model; losses and metrics that need a head and have none are given its own."""
        losses = [each for each in keras.tree.flatten(loss) if each is not None]
        if losses and not any(isinstance(each, NeedsHead) for each in losses):
            raise ValueError(
                f"{self.name!r} ends in features, not logits: its `loss` must be one that knows the head, such as "
                f"`keras_xent.LinearSparseCategoricalCrossentropy(head)`. Received: loss={loss!r}. Other losses go to the "
                "model with logits, `features_model.logits_model`."
            )
        for metric in keras.tree.flatten([metrics, weighted_metrics]):
            if metric in OF_LOGITS or (isinstance(metric, str) and "categorical" in metric):
                raise ValueError(
                    f"{self.name!r} ends in features, not logits, of which the metric {metric!r} means nothing. Pass "
                    "`keras_xent.fused.LinearSparseCategoricalAccuracy(head)` or `keras_xent.fused.LinearPerplexity(head)`."
                )
        for each in keras.tree.flatten([loss, metrics, weighted_metrics]):
            if isinstance(each, NeedsHead):
                if each.head not in (None, self.head):
                    raise ValueError(
                        f"{each.name!r} has another head, {each.head.name!r}, than {self.name!r}, whose output layer is "
                        f"{self.head.name!r}. Pass the head that `keras_xent.fused.split_head` gave beside this model."
                    )
                each.bind(Head(self.head))
        looking = [each for each in keras.tree.flatten([metrics, weighted_metrics]) if isinstance(each, LinearMetric)]
        self._looking = lambda: looking  # a list of metrics Keras would track, beside its own
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=of_one_output(metrics),
            weighted_metrics=of_one_output(weighted_metrics),
            **kwargs,
        )

    def compile_from_config(self, config):
        """Compiles a loaded model as the saved one was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The total loss; evaluation needs no gradients."""
        if training:
            if keras.backend.backend() != "jax":  # which shows its metrics the kernel that the loss saw
                for metric in self._looking():
                    metric.look(y, y_pred)
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        with evaluation():
            return super().compute_loss(x, y, y_pred, sample_weight, training)

    if keras.backend.backend() == "jax":

        def train_step(self, state, data):
            """One step, in which metrics find the head's kernel."""
            with step_with([*self.trainable_variables, *self.non_trainable_variables], [*state[0], *state[1]]):
                return super().train_step(state, data)

        def test_step(self, state, data):
            """The same without training."""
            with step_with([*self.trainable_variables, *self.non_trainable_variables], [*state[0], *state[1]]):
                return super().test_step(state, data)

    def get_config(self):
        """The config of the model with logits."""
        return {"model": keras.saving.serialize_keras_object(self.logits_model), "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The features model that `get_config` describes."""
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects=custom_objects)
        return cls(**config | {"model": model})

"""Sample weights and masks: whether they reach the losses that they are meant for."""

import keras
import numpy as np

from .asking import numbers
from .heads import flat_layers
from .meaning import FUNCTION_NAMES, TEACHER
from .paths import keeps_steps
from .situation import share, short

ALIGN = "Pass weights whose axes are the leading ones of the losses"


def alignment(situation):
    """Weights that do not line up with the losses of their examples."""
    weights, shape = situation.weights, (len(situation.y_true), *situation.losses_shape[1:])
    if weights is None or not weights.ndim or situation.unheard:
        return
    fits = situation.aligned_weights is not None
    seen = f"sample_weight has shape {weights.shape}, the losses {shape}"
    if not fits:
        yield situation.found(
            "weights-broadcast",
            f"{seen}, which do not line up.",
            f"{ALIGN}: {shape}{f' or {shape[:1]}' if len(shape) > 1 else ''}.",
        )
    elif not situation.meaning.ours and weights.ndim < len(shape) and weights.size > 1:
        if weights.ndim == len(shape) - 1 and shape[-1] == 1:  # an axis that Keras adds
            return
        silent = can_broadcast(weights.shape, shape)
        yield situation.found(
            "weights-broadcast",
            f"{seen}. Keras lines them up from the last axis: "
            + (f"it weighs axis {len(shape) - weights.ndim} instead of the examples." if silent else "it will raise an error."),
            f"Give them an axis of size 1 for each missing one: `sample_weight[...{', None' * (len(shape) - weights.ndim)}]`, "
            "or use `keras_xent`'s loss of that name, which lines them up from the first axis.",
        )


def can_broadcast(weights, losses):
    """Whether NumPy's rule gives the losses' shape."""
    try:
        return np.broadcast_shapes(weights, losses) == losses
    except ValueError:
        return False


def unheard(situation):
    """Weights that Keras's distiller is given, and drops."""
    weights = situation.weights
    if situation.unheard and weights is not None and not (weights == 1).all():
        yield situation.found(
            "weights-ignored",
            f"sample_weight goes from {short(weights.min())} to {short(weights.max())}, but Keras's Distiller drops it.",
            "Use `keras_xent.distill.Distiller`, which weighs both parts of the loss.",
        )


def masks(situation):
    """Padding that some layer masks, and that counts all the same."""
    shape = situation.losses_shape
    if len(shape) < 2:
        return
    if situation.mask is not None:
        hidden = ~situation.mask.astype(bool)
        if situation.unheard and situation.meaning.kind == TEACHER and hidden.any():
            yield situation.found(
                "mask-not-applied",
                f"{share(hidden)} positions are masked, but keras.distillation.Distiller compares teacher and student there too.",
                "Use `keras_xent.distill.Distiller`, which applies masks to both parts of the loss.",
            )
        return
    if situation.meaning.ignored or (situation.weights is not None and (situation.weights == 0).any()):
        return  # padding is dealt with in another way
    for layer in flat_layers(situation.network):
        padding = padding_of(layer, situation.x, shape)
        if padding is not None and padding.any() and keeps_steps(situation.network, layer, shape[1]):
            yield situation.found(
                "mask-not-applied",
                f"{share(padding)} positions are padding to layer {layer.name!r} ({type(layer).__name__}), but its mask does not "
                "reach the model's output: a layer on the way does not hand it on, so that padding counts in the loss.",
                "Set `supports_masking = True` in your own layers on the way; or pass weights of 0 there, or `ignore_class` with "
                "a label for padding.",
            )
            return


def padding_of(layer, x, shape):
    """Where a layer that makes masks would see padding in the input that has one step per loss.

    None if it makes none, and if there are several such inputs: which of them the losses are about is not known.
    """
    makes = isinstance(layer, keras.layers.Embedding) and layer.mask_zero
    if not makes and not isinstance(layer, keras.layers.Masking):
        return None
    inputs = [numbers(leaf) for leaf in keras.tree.flatten(x)]
    inputs = [values for values in inputs if values.dtype.kind in "fiu" and values.shape[:2] == shape[:2]]
    if len(inputs) != 1 or inputs[0].ndim != (2 if makes else 3):
        return None
    return inputs[0] == 0 if makes else (inputs[0] == layer.mask_value).all(-1)


def metrics(situation):
    """A metric of the loss's name that will show another number."""
    weights, meaning = situation.aligned_weights, situation.meaning
    if weights is None or (weights == 1).all() or situation.unheard or meaning.ignored or meaning.name not in FUNCTION_NAMES:
        return
    reduction = getattr(meaning.loss, "reduction", "sum_over_batch_size")
    if reduction not in ("sum_over_batch_size", "mean", "mean_with_sample_weight"):
        return
    plain, weighted = metrics_of_the_loss(situation.model, meaning.name)
    if not plain and not weighted:
        return
    try:
        number = len(situation.y_pred)
        losses = numbers(meaning.per_example(situation.y_true[:number], situation.y_pred))
        kept = 1.0 * np.broadcast_to(situation.unmasked[:number], losses.shape)
        weights = np.broadcast_to(weights[:number], losses.shape) * kept
    except Exception:  # what the loss raises is said by other checks
        return
    by_weights = (losses * weights).sum() / max(weights.sum(), 1e-30)
    shown = by_weights if reduction == "mean_with_sample_weight" else (losses * weights).sum() / max(kept.sum(), 1)
    for there, value, how in (
        (plain, (losses * kept).sum() / max(kept.sum(), 1), "`metrics` are not weighted"),
        (weighted, by_weights, "`weighted_metrics` divide by the sum of the weights, the loss by the number of examples"),
    ):
        if there and abs(value - shown) > 1e-3 * max(abs(shown), 1e-30):
            yield situation.found(
                "metric-unweighted",
                f"the loss is {short(shown)} on these examples, but the metric of that name will show {short(value)}: {how}.",
                "Nothing is wrong, but compare them with care. With `weighted_metrics` and a loss with "
                "reduction='mean_with_sample_weight' both are the same.",
            )


def metrics_of_the_loss(model, name):
    """Whether `metrics` and `weighted_metrics` of `compile` hold the loss itself.

    Keras's public `get_compile_config` would import TensorFlow, where it is installed, on every backend.
    """
    words, compiled = {name, FUNCTION_NAMES[name]}, getattr(model, "_compile_metrics", None)
    return tuple(
        any(word_of(metric) in words for metric in keras.tree.flatten(getattr(compiled, kept, None)))
        for kept in ("_user_metrics", "_user_weighted_metrics")
    )


def word_of(metric):
    """The name of a metric as `compile` takes it."""
    if isinstance(metric, str):
        return metric
    return type(metric).__name__ if isinstance(metric, keras.metrics.Metric) else getattr(metric, "__name__", None)


CHECKS = alignment, unheard, masks, metrics

"""Cross-entropy from features and the kernel of the output layer, without ever holding all logits."""

import importlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from .. import _backend, _checks, _labels
from .._base import register, widened
from .problem import FromFeatures, engine

SLOPES = {"tensorflow": ".tensorflow_slopes", "torch": ".torch_slopes"}
crossentropy = importlib.import_module(SLOPES.get(keras.backend.backend(), ".slopes"), __package__)

__all__ = ["Problem", "checked", "engine", "linear_sparse_categorical_crossentropy"]


def checked(ignore_class, label_smoothing, class_weight, z_loss, logit_softcap, invalid_labels, chunk_size):
    """The options, each checked."""
    return {
        "ignore_class": _checks.class_ids("ignore_class", ignore_class),
        "label_smoothing": _checks.number("label_smoothing", label_smoothing, 0.0, 1.0),
        "class_weight": _checks.class_weight(class_weight),
        "z_loss": _checks.number("z_loss", z_loss, 0.0),
        "logit_softcap": None if logit_softcap is None else _checks.number("logit_softcap", logit_softcap, 0.0, open_low=True),
        "invalid_labels": _checks.choice("invalid_labels", invalid_labels, ("error", "ignore")),
        "chunk_size": _checks.optional_count("chunk_size", chunk_size, 1),
    }


class Problem(FromFeatures):
    """Labels beside features and kernel."""

    def __init__(self, y_true, features, kernel, bias, options, transposed=False):
        super().__init__(features, kernel, bias, transposed, options["chunk_size"])
        labels = _checks.one_label_per_row(_checks.label_tensor(y_true), self.features, len(self.features.shape) - 1)
        self.fits = _checks.same_sizes(ops.shape(labels), self.shape)
        self.labels = _labels.CheckedLabels(labels, self.num_classes, options["ignore_class"], options["invalid_labels"])
        self.counts = self.labels.counts
        class_weight = options["class_weight"]
        if class_weight is not None:
            class_weight = ops.convert_to_tensor(class_weights(class_weight, self.num_classes), dtype=widened(self.dtype))
        numbers = {name: options[name] for name in ("label_smoothing", "z_loss", "logit_softcap")}
        self._compute(crossentropy.SparseCrossentropy(**numbers), (ops.reshape(self.labels.ids, (-1,)),), (class_weight,))

    def _settled(self, values):
        return super()._settled(self.labels.settle(values))


def class_weights(class_weight, num_classes):
    """One weight per class."""
    like_logits = np.broadcast_to(0.0, (1, num_classes))
    return _checks.class_weights_per_class(class_weight, like_logits, 1)


@register
def linear_sparse_categorical_crossentropy(
    y_true: Any,
    features: Any,
    kernel: Any,
    bias: Any = None,
    *,
    ignore_class: int | Collection[int] | None = None,
    label_smoothing: float = 0.0,
    class_weight: Mapping[int, float] | Sequence[float] | None = None,
    z_loss: float = 0.0,
    logit_softcap: float | None = None,
    invalid_labels: str = "error",
    chunk_size: int | None = None,
) -> Any:
    """Cross-entropy between class ids and the logits that features and a kernel make, never all logits at once, in nats.

    loss = -w_y log p_y + λ (log Σ_k exp z_k)², with p = softmax(z), z = c tanh(u / c) and u = x W + b. With label smoothing s
    the first term is -(1 - s) w_y log p_y - (s / K) Σ_k w_k log p_k; without a cap c z is u.

    The logits of a chunk of rows are made, used and forgotten; the gradient makes them anew. On TensorFlow they are those of a
    block of classes, unless `chunk_size` asks for rows. Beside the gradients themselves this takes the memory of one chunk,
    however many rows there are. Who knows beforehand what the losses will be multiplied with, as a `Loss` does, saves the second
    time: `keras_xent.LinearSparseCategoricalCrossentropy`.

    Args:
        y_true: Class ids from 0 to K - 1, of shape (...), or (..., 1); as in `sparse_categorical_crossentropy`.
        features: What the output layer is given, of shape (..., hidden).
        kernel: Of shape (hidden, num_classes), as that of `Dense`, with two or more classes. On PyTorch the transpose of an
            embedding's table is not copied.
        bias: None, or of shape (num_classes,).
        ignore_class: A class id, or several: positions with such a label cost 0.
        label_smoothing: The share s in [0, 1] of the target that is spread evenly.
        class_weight: None, a mapping from class id to weight (classes left out weigh 1), or one weight per class. It does
            not weigh the z-loss.
        z_loss: λ, at least 0: the weight of the squared logarithm of the softmax's denominator, which keeps that near 1.
        logit_softcap: c > 0, or None: logits are bent to lie between -c and c. All else sees the bent ones.
        invalid_labels: `"error"` or `"ignore"`, for labels that are no class id; as in `sparse_categorical_crossentropy`.
        chunk_size: How many rows' logits are held at once. None: so many that they take 64 MiB in float32, or half of what
            the kernel's gradient takes, if that is more; on TensorFlow blocks of classes that take 64 MiB.

    Returns:
        The losses, of shape (...) and in the dtype of `features`; half precision is multiplied and summed in float32.

    Raises:
        ValueError: Shapes that do not fit, one class, labels that are no class ids, or an argument out of its range.
        TypeError: An argument or array of the wrong type, such as strings for labels.
        NotImplementedError: A second derivative. Forward differentiation is refused as well, on JAX by a `TypeError`.

    Differs from Keras:
        Keras has nothing of the kind, and would hold all logits, and their gradient; what they cost is that of
        `keras_xent.SparseCategoricalCrossentropy(from_logits=True)`.

    Example:
        >>> features, kernel = [[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]
        >>> losses = keras_xent.linear_sparse_categorical_crossentropy([2, 0], features, kernel)
        >>> [round(float(loss), 5) for loss in losses]
        [0.40761, 0.23954]

    Source:
        The definition: `keras_xent.reference.linear_sparse_categorical_crossentropy`. Chunks of rows: Hsu et al., "Liger Kernel"
        (2024); blocks of classes: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models" (2024); z-loss: Chowdhery
        et al., "PaLM" (2022), section 5; soft cap: Gemma Team, "Gemma 2" (2024), section 2.
    """
    options = checked(ignore_class, label_smoothing, class_weight, z_loss, logit_softcap, invalid_labels, chunk_size)
    problem = Problem(y_true, features, kernel, bias, options)
    losses = ops.cast(problem.losses(), problem.dtype)
    return losses if problem.counts is None else _backend.carry_mask(losses, problem.counts)

"""Inputs, hard labels and weights that belong to stored targets."""

from typing import Any

import keras
import numpy as np

from .labelling import to_numpy


class Companions:
    """What goes with the targets of an example: arrays, or the batches of a `PyDataset`."""

    def __init__(self, inputs, labels, sample_weight, num_examples, batch_size):
        self.inputs: Any = inputs
        self.batch_size, self.num_examples = batch_size, num_examples
        self.of_batches = isinstance(inputs, keras.utils.PyDataset)
        self.has_labels = labels is not None
        if labels is True and not self.of_batches:
            raise ValueError(f"labels=True takes labels from a PyDataset, but `inputs` is a {type(inputs).__name__}.")
        if self.of_batches:
            expected = -(-num_examples // batch_size)
            if inputs.num_batches != expected:
                raise ValueError(
                    f"`inputs` has {inputs.num_batches} batches, but the store has {num_examples} examples: {expected} batches "
                    f"of batch_size={batch_size}. Pass the batch size of `inputs`."
                )
        else:
            self.inputs = keras.tree.map_structure(lambda leaf: as_array("inputs", leaf, num_examples), inputs)
        self.labels: Any = labels if labels is True else as_array("labels", labels, num_examples)
        self.sample_weight = as_array("sample_weight", sample_weight, num_examples)

    def kind_of_labels(self, position_axes):
        """What a loss has to be told of the labels; of those of a `PyDataset` the first batch tells."""
        if not self.has_labels:
            return None
        labels: Any = self._of(np.arange(min(self.batch_size, self.num_examples)))[1] if self.labels is True else self.labels
        return "sparse" if np.shape(labels)[position_axes + 1 :] in ((), (1,)) else "dense"

    def zip_with(self, targets, weights, examples):
        """A batch for `fit`."""
        inputs, labels, given = self._of(examples)
        if labels is not None:
            targets = pack(targets, labels)
        weights = combine(given, weights)
        if inputs is None:
            if weights is None:
                return targets
            raise ValueError("Without `inputs` there is no place for weights. Pass `inputs`, or read with `example(i)`.")
        return (inputs, targets) if weights is None else (inputs, targets, weights)

    def _of(self, examples):
        labels = None if self.labels is None or self.labels is True else self.labels[examples]
        given = None if self.sample_weight is None else self.sample_weight[examples]
        if not self.of_batches:
            inputs = None if self.inputs is None else keras.tree.map_structure(lambda leaf: leaf[examples], self.inputs)
            return inputs, labels, given
        number = int(examples[0]) // self.batch_size
        batch: Any = self.inputs[number]
        parts: Any = batch if isinstance(batch, (tuple, list)) else (batch,)
        length = len(keras.tree.flatten(parts[0])[0])
        if length != len(examples):
            raise ValueError(
                f"Batch {number} of `inputs` has {length} examples, that of the store {len(examples)}. Every batch but the last "
                f"must have batch_size={self.batch_size}."
            )
        if self.labels is True:
            if len(parts) < 2:
                raise ValueError("labels=True takes labels from `inputs`, but its batches hold inputs only.")
            labels = to_numpy(parts[1])
        if given is None and len(parts) > 2:
            given = to_numpy(parts[2])
        return parts[0], labels, given


def as_array(name, values, num_examples):
    """A NumPy array with one row per example, or None."""
    if values is None:
        return None
    array = to_numpy(values)
    rows = len(array) if np.ndim(array) else "no"
    if rows != num_examples:
        raise ValueError(
            f"`{name}` has {rows} examples, but the store has {num_examples}. Pass what belongs "
            "to the data that was labelled, in its order."
        )
    return array


def pack(targets, labels):
    """The targets with the hard labels, for a loss that takes both."""
    from ..packing import pack_targets

    return pack_targets(targets, labels, top_k=True)


def combine(given, padding):
    """The weights of the user with those of the padding, which are 0 and 1."""
    if given is None or padding is None:
        return padding if given is None else given
    given = np.asarray(given, "float32")
    given = given[:, None] if given.ndim == 1 else given
    if given.shape[1] not in (1, padding.shape[1]):
        raise ValueError(
            f"`sample_weight` has {given.shape[1]} positions per example, but the targets are padded to {padding.shape[1]}. Pass "
            f"weights of shape (examples,) or with {padding.shape[1]} positions, or set `pad_to`."
        )
    return given * padding

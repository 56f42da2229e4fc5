"""Where batches come from: arrays, a `PyDataset`, a `tf.data.Dataset` or a torch `DataLoader`."""

import dataclasses
import operator
from collections.abc import Callable, Iterator
from typing import Any

import keras

from . import arguments


@dataclasses.dataclass(frozen=True)
class Source:
    """Batches of inputs in an order that is the same each time."""

    batches_from: Callable[[int], Iterator[Any]]  # of inputs: from that one on if it jumps, else all
    jumps: bool  # what does not is read again from the start, and compared with what the teacher saw
    num_batches: int | None
    num_examples: int | None = None
    batch_size: int | None = None  # for arrays

    @property
    def is_arrays(self):
        """Whether reading all of it again costs next to nothing."""
        return self.batch_size is not None


def source_of(data, batch_size):
    """The source that fits the data; inputs are the first part of what a batch holds, as in `fit`."""
    module, kinds = type(data).__module__, {base.__name__ for base in type(data).__mro__}
    if isinstance(data, keras.utils.PyDataset):
        source = of_py_dataset(data)
    elif module.startswith("tensorflow") and "DatasetV2" in kinds:
        source = of_tf_dataset(data)
    elif "DataLoader" in kinds and hasattr(data, "dataset"):
        source = of_data_loader(data)
    else:
        return of_arrays(data, 32 if batch_size is None else arguments.whole("batch_size", batch_size, 1))
    if batch_size is not None:
        raise ValueError(
            f"`batch_size` is for arrays. Received: batch_size={batch_size} for a {type(data).__name__}, which makes its own "
            "batches."
        )
    return source


def of_arrays(data, batch_size):
    """Arrays, or a list or dictionary of them; a tuple is (inputs, ...)."""
    inputs = data[0] if isinstance(data, tuple) else data
    leaves = keras.tree.flatten(inputs)
    lengths = {len(leaf) if getattr(leaf, "shape", None) else 0 for leaf in leaves}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            "`data` must be a PyDataset, a tf.data.Dataset, a torch DataLoader or arrays with equally many examples, at least "
            f"one. Received: a {type(data).__name__} with lengths {sorted(lengths)}."
        )
    (length,) = lengths

    def batches_from(first):
        for start in range(first * batch_size, length, batch_size):
            rows = slice(start, start + batch_size)
            yield keras.tree.map_structure(operator.itemgetter(rows), inputs)

    return Source(batches_from, False, -(-length // batch_size), length, batch_size)


def of_py_dataset(data):
    """A `PyDataset`, which can be asked for any batch."""
    if data.num_batches is None:
        raise ValueError("`data` is an endless PyDataset (num_batches is None); a store needs an end.")
    return Source(lambda first: (inputs_of(data[i]) for i in range(first, data.num_batches)), True, data.num_batches)


def of_tf_dataset(data):
    """A `tf.data.Dataset`, batched."""
    cardinality = int(data.cardinality())
    if cardinality == -1:
        raise ValueError("`data` is an endless tf.data.Dataset; a store needs an end. Use `data.take(...)`.")
    return Source(lambda _: map(inputs_of, data), False, None if cardinality < 0 else cardinality)


def of_data_loader(data):
    """A torch `DataLoader`."""
    samplers = data, getattr(data, "batch_sampler", None)  # either may have one
    if any("Random" in type(getattr(one, "sampler", None)).__name__ for one in samplers):
        raise ValueError(
            "`data` is a DataLoader that shuffles, so that what the teacher says could not be found again. Pass one with "
            "shuffle=False, and shuffle when reading: `StoredTargets(path, shuffle=True)`."
        )
    try:
        num_batches = len(data)
    except TypeError:  # over an iterable
        num_batches = None
    return Source(lambda _: map(inputs_of, data), False, num_batches)


def inputs_of(batch):
    """The inputs of (inputs,), (inputs, labels) or (inputs, labels, weights); a data loader makes lists."""
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def batch_length(inputs):
    """How many examples a batch holds."""
    shape: Any = getattr(keras.tree.flatten(inputs)[0], "shape", None)
    if shape is None or not len(shape):
        raise ValueError(f"`data` must give batches of arrays. Received: {type(inputs).__name__}. Batch it first.")
    return int(shape[0])

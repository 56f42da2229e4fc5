"""Reading a store: targets zipped with the inputs they belong to, in order or shuffled."""

import os
from typing import Any

import keras
import numpy as np

from ... import _checks
from . import arguments, manifest
from .columns import bytes_per_position, widen
from .gathering import gather_equal, gather_ragged
from .shards import expected_names, open_shard
from .zipping import Companions

MOST_OPEN = 256  # shards; a system gives a process about 1000 files
VERIFY = ("first_read", "open", "never")


class StoredTargets(keras.utils.PyDataset):
    """What `write_targets` stored, batch by batch, with the inputs it was said of: data for `fit`.

    A batch is (inputs, targets) or (inputs, targets, sample_weight), or the targets alone without `inputs`. Targets are pairs of
    a class id and its log-probability, (batch, ..., k, 2) in float32, for the loss that `loss()` builds.

    Args:
        path: The directory of a complete store.
        inputs: Arrays (a list or dictionary of them for several inputs) with as many examples as the store, in its order; or a
            `PyDataset` whose batches have `batch_size` examples, of which the inputs are taken, and the weights if it has
            any.
        labels: Hard labels, one array; they are packed with the targets (`keras_xent.pack_targets`). True takes them from
            the `PyDataset`, class ids or dense labels.
        sample_weight: Weights, one array, of shape (examples,) or with the positions.
        batch_size: How many examples a batch has.
        shuffle: Whether each epoch has another order, which follows from `seed` and the number of the epoch. With a
            `PyDataset` of inputs, its batches are shuffled, not the examples.
        seed: An int.
        num_classes: The number of classes you expect; another one in the store is an error. None takes what it has.
        pad_to: For examples of several lengths: how many positions a batch has. None is the longest of the store, or of
            the batch for inputs from a `PyDataset`. Padding lists no class, and its `sample_weight` is 0.
        verify: When the checksum of a shard is compared: `"first_read"`, `"open"` (now, all) or `"never"`.
        workers, use_multiprocessing, max_queue_size: As in `keras.utils.PyDataset`.

    Returns:
        A `PyDataset`. `example(i)` gives the targets of one example; `manifest` says what the store says of itself.

    Raises:
        ValueError: No store, or an unfinished one; a damaged, missing or foreign file; inputs, labels or weights of another
            length; another vocabulary.
        ImportError: `pyarrow` is not installed (the extra `store`).

    Differs from Keras:
        Keras has no stored teachers; `keras.distillation.Distiller` runs its teacher in every epoch.

    Example:
        >>> import tempfile
        >>> inputs, directory = np.eye(6, 4), tempfile.mkdtemp()
        >>> _ = keras_xent.distill.write_targets(
        ...     lambda x: 3.0 * x, inputs, directory, k=2, temperature=2.0, targets="logits", verbose=0
        ... )
        >>> stored = keras_xent.distill.StoredTargets(directory, inputs, batch_size=4, shuffle=True)
        >>> [targets.shape for _, targets in stored]
        [(4, 2, 2), (2, 2, 2)]

    Source:
        `keras.utils.PyDataset`.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        inputs: Any = None,
        labels: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        num_classes: int | None = None,
        pad_to: int | None = None,
        verify: str = "first_read",
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ) -> None:
        super().__init__(workers=workers, use_multiprocessing=use_multiprocessing, max_queue_size=max_queue_size)
        arguments.arrow()
        self.path = arguments.directory(path)
        self.batch_size = arguments.whole("batch_size", batch_size, 1)
        self.shuffle = _checks.flag("shuffle", shuffle)
        self.seed = arguments.whole("seed", seed, 0)
        self.verify = _checks.choice("verify", verify, VERIFY)
        self.epoch = 0
        self.manifest = complete_manifest(self.path)
        self._settings, self._records = self.manifest["settings"], self.manifest["shards"]
        if num_classes is not None and num_classes != self.num_classes:
            raise ValueError(
                f"The store at {self.path} is of another vocabulary: it has num_classes={self.num_classes}. "
                f"Expected: num_classes={num_classes}. Label again with a teacher of that vocabulary."
            )
        manifest.refuse_foreign(self.path, expected_names(self._records))
        manifest.check_sizes(self.path, self._records)
        self._firsts = np.array([record["first_example"] for record in self._records])
        self._shortest = min(record["shortest"] for record in self._records)
        self._longest = max(record["longest"] for record in self._records)
        self.pad_to = self._padding(pad_to)
        self.companions = Companions(inputs, labels, sample_weight, self.num_examples, self.batch_size)
        self._shards, self._verified, self._order = {}, set(), None
        if verify == "open":
            for number in range(len(self._records)):
                self._shard(number)

    k = property(lambda self: self._settings["k"], doc="How many classes each distribution has.")
    temperature = property(lambda self: self._settings["temperature"], doc="At which the log-probabilities were taken.")
    num_classes = property(lambda self: self._settings["num_classes"], doc="How many classes the teacher had.")
    num_examples = property(lambda self: self.manifest["examples"], doc="How many examples there are.")

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return -(-self.num_examples // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        """One batch."""
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(f"Batch {index} of {len(self)}.")  # which ends a `for` loop
        examples = self._examples_of(index)
        targets, weights = self._targets_of(examples)
        return self.companions.zip_with(targets, weights, examples)

    def example(self, index: int) -> np.ndarray:
        """The targets of one example, (..., k, 2), without padding."""
        index = index + self.num_examples if index < 0 else index
        if not 0 <= index < self.num_examples:
            raise IndexError(f"Example {index} of {self.num_examples}.")
        (columns, _) = gather_ragged(self._shard, *self._find(np.array([index])))
        pairs = widen(*columns)
        shape = self._settings.get("position_shape", (len(pairs),))
        return pairs.reshape(*shape, self.k, 2) if self._settings["position_axes"] else pairs[0]

    def on_epoch_end(self) -> None:
        """Goes on to the order of the next epoch."""
        self.epoch += 1

    def loss(self, **kwargs: Any) -> Any:
        """The `DistillationLoss` that fits the store; arguments that contradict it are a `ValueError` naming both sides."""
        from ..loss import DistillationLoss

        fixed = {"temperature": self.temperature, "targets": "top_k", "teacher_classes": self.num_classes}
        for name, value in fixed.items():
            if name in kwargs and kwargs[name] != value:
                raise ValueError(
                    f"{name}={kwargs[name]!r} contradicts the store at {self.path}, which has {name}={value!r}. Leave it out."
                )
        kind = self.companions.kind_of_labels(self._settings["position_axes"])
        if kwargs.setdefault("labels", kind) != kind and kind is not None:
            raise ValueError(
                f"labels={kwargs['labels']!r}, but the labels of {self.path} are packed: labels={kind!r}. Leave it out."
            )
        return DistillationLoss(**{**kwargs, **fixed})

    def _padding(self, pad_to):
        if pad_to is None:
            return None
        pad_to = arguments.whole("pad_to", pad_to, 1)
        if self._settings["position_axes"] != 1 or pad_to < self._longest:
            raise ValueError(
                f"pad_to={pad_to}, but the store at {self.path} has examples of {self._longest} positions "
                f"on {self._settings['position_axes']} axes. Expected one axis and at least {self._longest}."
            )
        return pad_to

    def _examples_of(self, index):
        """The numbers of the examples of a batch."""
        by_batch = self.companions.of_batches
        if self.shuffle:
            if self._order is None or self._order[0] != self.epoch:
                several = len(self) if by_batch else self.num_examples
                self._order = (self.epoch, np.random.default_rng((self.seed, self.epoch)).permutation(several))
            order = self._order[1]
            if not by_batch:
                return order[index * self.batch_size : (index + 1) * self.batch_size]
            index = int(order[index])
        return np.arange(index * self.batch_size, min((index + 1) * self.batch_size, self.num_examples))

    def _targets_of(self, examples):
        """The targets of some examples, and a weight per position if there is padding."""
        if self._shortest == self._longest and self.pad_to in (None, self._longest):
            shape = self._settings.get("position_shape", (self._longest,) if self._settings["position_axes"] else ())
            columns = gather_equal(self._shard, *self._find(examples), self._longest)
            return widen(*(column.reshape(len(examples), *shape, *column.shape[2:]) for column in columns)), None
        columns, lengths = gather_ragged(self._shard, *self._find(examples))
        longest = self.pad_to or (int(lengths.max()) if self.companions.of_batches else self._longest)
        counted = np.arange(longest) < lengths[:, None]
        pairs = np.zeros((len(examples), longest, self.k, 2), "float32")
        pairs[..., 1] = -np.inf
        pairs[counted] = widen(*columns)
        return pairs, counted.astype("float32")

    def _find(self, examples):
        """The shards of examples, and their places there."""
        numbers = np.searchsorted(self._firsts, examples, "right") - 1
        return numbers, examples - self._firsts[numbers]

    def _shard(self, number):
        shard = self._shards.get(number)
        if shard is None:  # two threads may open it: both get the same
            verify = self.verify != "never" and number not in self._verified
            shard = open_shard(self.path, self._records[number], self._settings, verify)
            self._verified.add(number)
            for oldest in list(self._shards)[: max(0, len(self._shards) - MOST_OPEN + 1)]:
                self._shards.pop(oldest, None)
            self._shards[number] = shard
        return shard

    def __getstate__(self):
        """Without open files: another process opens the store by its path."""
        return {**self.__dict__, "_shards": {}, "_order": None}

    def __repr__(self) -> str:
        """What is stored, in a line."""
        size = bytes_per_position(self.k, self.num_classes, self._settings["dtype"])
        shards = f"{len(self._records)} shard{'s' if len(self._records) > 1 else ''}"
        return (
            f"StoredTargets: {self.num_examples} examples, k={self.k} of {self.num_classes} classes at temperature "
            f"{self.temperature}, {size} bytes per position, {shards}"
        )


def complete_manifest(directory):
    """The manifest of a store that has been written to its end."""
    content = manifest.read_manifest(directory)
    if not content["complete"]:
        kept = sum(record["examples"] for record in manifest.kept_records(directory))
        raise ValueError(
            f"The store at {directory} is unfinished: {kept} examples are kept. Make the call of `write_targets` that began it "
            "again; it goes on from there."
        )
    return content

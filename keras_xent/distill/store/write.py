"""A teacher runs once over the data, and what it says is kept."""

import itertools
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import arguments, manifest
from .fingerprints import add_inputs, weights_checksum
from .labelling import Labeller
from .progress import progress_bar
from .sources import batch_length, source_of
from .stored import StoredTargets
from .writer import store_writer


def write_targets(
    teacher: Any,
    data: Any,
    path: str | os.PathLike,
    *,
    k: int,
    temperature: float,
    targets: str,
    num_classes: int | None = None,
    batch_size: int | None = None,
    shard_size: int | None = None,
    dtype: str = "float16",
    verbose: bool | int = True,
) -> StoredTargets:
    """Runs a teacher once over the data and stores the k most probable classes of every distribution.

    log p = log softmax(z / T), over all classes; the k largest are kept, and the logarithm of what is left to the others.

    Killed at any moment, or out of disk space, the same call goes on after the last whole shard: the teacher does not run again
    on what is kept. It must be the same teacher, with the same data, which is compared: the weights of a model (of a function
    nothing can be) and the inputs by their checksums, all of arrays, of other data those before the point where it goes on. (A
    `PyDataset` is asked for those of the last shard alone, and for a store that is complete data other than arrays for those
    of the first.)

    Args:
        teacher: A `keras.Model`, or a function from a batch of inputs to a (batch, ..., num_classes) array or tensor. A function
            is given batches as `data` makes them.
        data: A `keras.utils.PyDataset`, a batched `tf.data.Dataset`, a torch `DataLoader`, or arrays (a list or dictionary of
            them for several inputs), in an order that is the same each time. Of batches (inputs, labels, ...) the inputs
            are used.
        path: A directory for the store, new or with the beginning of this very store.
        k: How many classes to keep, from 1 to num_classes.
        temperature: T > 0. The log-probabilities are taken at it, so that the loss will have it too.
        targets: `"logits"`, `"probs"` or `"log_probs"`: what the teacher gives.
        num_classes: How many of the teacher's outputs are classes, from the first on, where outputs are padded; None is all.
        batch_size: For arrays: how many examples the teacher sees at once (32 if None).
        shard_size: At how many examples a shard is full; it holds whole batches. None makes about 64 MiB. It is also what may
            have to be labelled again after a kill.
        dtype: Of the log-probabilities, which are stored relative to the largest. `"float16"` keeps the mean loss within 1e-3
            relative for a student whose logits are 0.1 or more away from its teacher's; `"float32"` that of each example, however
            close the student is.
        verbose: Whether to show a progress bar.

    Returns:
        The `StoredTargets(path)`.

    Raises:
        ValueError: A wrong argument; another call than the one that began the store, another teacher or other data; NaN, logits
            passed as probabilities and the like, naming the example; a damaged or foreign shard; a second writer.
        OSError: What the system says, a full disk for example. What was kept before is intact.
        ImportError: `pyarrow` is not installed (the extra `store`).

    Differs from Keras:
        Keras has nothing of the kind.

    Example:
        >>> import tempfile
        >>> inputs, directory = np.eye(6, 4), tempfile.mkdtemp()
        >>> stored = keras_xent.distill.write_targets(
        ...     lambda x: 3.0 * x, inputs, directory, k=2, temperature=2.0, targets="logits", verbose=0
        ... )
        >>> stored
        StoredTargets: 6 examples, k=2 of 4 classes at temperature 2.0, 10 bytes per position, 1 shard
        >>> loss = stored.loss()

    Source:
        Arrow's IPC files: https://arrow.apache.org/docs/format/Columnar.html
    """
    directory = arguments.directory(path)
    labeller = Labeller(teacher, k=k, temperature=temperature, targets=targets, num_classes=num_classes)
    source = source_of(data, batch_size)
    settings = {
        **arguments.settings(k, temperature, targets, dtype),
        "num_classes": labeller.num_classes,
        "shard_size": None if shard_size is None else arguments.whole("shard_size", shard_size, 1),
        "batch_size": source.batch_size,
        "num_batches": source.num_batches,
        "num_examples": source.num_examples,
    }
    with store_writer(directory, settings) as writer:
        _refuse_another_teacher(writer, weights_checksum(teacher))
        if writer.complete:
            _compare_complete(source, writer)
        else:
            _label(labeller, source, writer, verbose)
    return StoredTargets(directory)


def _refuse_another_teacher(writer, checksum):
    """A store holds what one teacher said; that of a plain function is not known."""
    for record in writer.records:
        kept = record.get("teacher_crc32")
        if None not in (kept, checksum) and kept != checksum:
            raise ValueError(
                f"`teacher` is not the one that labelled {writer.directory / record['file']}: the checksum of its weights was "
                f"{kept}, now {checksum}. Pass the same teacher, or write to another directory."
            )
    writer.teacher_crc = checksum


def _compare_complete(source, writer):
    """The inputs with those that the teacher saw: all of arrays, else those of the first shard."""
    seen, enough = _Seen(writer), writer.batches if source.is_arrays else writer.records[0]["batches"]
    for number, inputs in enumerate(itertools.islice(source.batches_from(0), enough), 1):
        seen.compare(number, inputs)


def _label(labeller, source, writer, verbose):
    """The batches that are not kept yet, after those that are have been compared with what the teacher saw."""
    seen, number, crc = _Seen(writer), 0, 0
    if source.jumps and writer.records:  # the last shard stands for all
        number = writer.batches - writer.records[-1]["batches"]
        seen.pass_to(number)
    kept, example = writer.batches, writer.examples
    with progress_bar(source.num_batches, kept, verbose) as show:
        for inputs in source.batches_from(number):
            number += 1
            if number <= kept:
                seen.compare(number, inputs)
                continue
            length = batch_length(inputs)
            labelled = labeller({"index": np.arange(example, example + length), "x": inputs})
            crc, shards = add_inputs(crc, inputs), len(writer.records)
            writer.append(labelled, labeller.num_classes, crc)
            crc = crc if len(writer.records) == shards else 0
            example += length
            show(number)
    expected = max(number, kept) if source.num_batches is None else source.num_batches
    if number != expected:
        raise ValueError(f"`data` gave {number} batches; expected {expected}. The store at {writer.directory} is unfinished.")
    writer.finish(crc)


class _Seen:
    """Compares inputs that are passed over with those that the teacher saw."""

    def __init__(self, writer):
        self.directory, self.crc, self.ends, total = writer.directory, 0, {}, 0
        for record in writer.records:
            total += record["batches"]
            self.ends[total] = record

    def pass_to(self, number):
        self.ends = {end: record for end, record in self.ends.items() if end > number}

    def compare(self, number, inputs):
        self.crc = add_inputs(self.crc, inputs)
        if number in self.ends:
            record, crc = self.ends[number], self.crc
            self.crc = 0
            if record["inputs_crc32"] not in (None, crc):
                raise ValueError(
                    f"`data` is not what the teacher saw: the inputs of {record['file']} had checksum {record['inputs_crc32']}, "
                    f"now {crc}. Pass the same data in the same order, neither shuffled nor augmented at random, or write to "
                    f"another directory than {self.directory}."
                )


def write_labelled(
    batches: Iterable[dict[str, Any]],
    path: str | os.PathLike,
    *,
    k: int,
    temperature: float,
    targets: str,
    num_classes: int,
    num_examples: int,
    shard_size: int | None = None,
    dtype: str = "float16",
    index_key: str = "index",
    verbose: bool | int = True,
) -> StoredTargets:
    """Stores what `Labeller`s said elsewhere, on a cluster for example; equal to what `write_targets` would have stored.

    Args:
        batches: Dictionaries as a `Labeller` returns them. They may arrive in another order, each with examples that follow one
            another; those that come early are held in memory until it is their turn. Examples that are kept already are
            passed over.
        path: A directory for the store.
        k: That of the `Labeller`s.
        temperature: That of the `Labeller`s.
        targets: That of the `Labeller`s.
        shard_size: Exactly so many examples are in each shard but the last.
        dtype: `"float16"` or `"float32"`.
        verbose: Whether to show a progress bar.
        num_classes: How many classes the teacher has.
        num_examples: How many examples there are in all.
        index_key: The key of the number of each example, from 0.

    Returns:
        The `StoredTargets(path)`.

    Raises:
        ValueError: As `write_targets`; an example that is missing, comes twice or is out of range.

    Differs from Keras:
        Keras has nothing of the kind.

    Example:
        >>> import tempfile
        >>> label = keras_xent.distill.Labeller(lambda x: x, k=1, temperature=1.0, targets="logits")
        >>> halves = [{"index": np.arange(i, i + 2), "x": np.eye(4)[i : i + 2]} for i in (2, 0)]
        >>> keras_xent.distill.write_labelled(map(label, halves), tempfile.mkdtemp(), k=1, temperature=1.0,
        ...     targets="logits", num_classes=4, num_examples=4, verbose=0)
        StoredTargets: 4 examples, k=1 of 4 classes at temperature 1.0, 7 bytes per position, 1 shard

    Source:
        `examples/label_with_ray.py`.
    """
    directory = arguments.directory(path)
    settings = {
        **arguments.settings(k, temperature, targets, dtype),
        "num_classes": arguments.whole("num_classes", num_classes, 2),
        "shard_size": None if shard_size is None else arguments.whole("shard_size", shard_size, 1),
        "num_examples": arguments.whole("num_examples", num_examples, 1),
    }
    arguments.number_of_classes(settings["num_classes"], settings["num_classes"], settings["k"])
    with store_writer(directory, settings) as writer:
        if not writer.complete:
            with progress_bar(settings["num_examples"], writer.examples, verbose) as show:
                batches = _labelled_at(settings["temperature"], batches)
                for end, labelled in _in_order(batches, index_key, writer.examples, settings["num_examples"]):
                    _refuse_wrong_classes(labelled, settings)
                    _append_in_shards(writer, labelled, settings["num_classes"])
                    show(end)
            writer.finish()
    return StoredTargets(directory)


def _labelled_at(temperature, batches):
    """The batches, each labelled at that temperature, as far as it says."""
    for batch in batches:
        for other in np.unique(batch.get("temperature", temperature)):
            if other != temperature:
                raise ValueError(f"temperature={temperature}, but batches were labelled at temperature={other}.")
        yield batch


def _in_order(batches, index_key, first, num_examples):
    """The batches from example `first` on, each as soon as those before it were there, and where each ends."""
    early, expected = {}, first
    for batch in batches:
        arguments.keys_of("A labelled batch", batch, [index_key, *LABELLED])
        index = np.asarray(batch[index_key])
        if not len(index):
            continue
        start, length = int(index[0]), len(index)
        if (index != np.arange(start, start + length)).any() or start < 0 or start + length > num_examples:
            raise ValueError(
                f"A batch must hold examples that follow one another, from 0 to {num_examples - 1}. Received: {index_key} from "
                f"{index.min()} to {index.max()} in a batch of {length}."
            )
        if start + length <= first:
            continue
        if max(start, first) < expected or start in early:
            raise ValueError(f"Example {start} comes twice; expected each of the {num_examples} examples once.")
        passed = max(0, first - start)
        early[start + passed] = {name: np.asarray(batch[name])[passed:] for name in LABELLED}
        while expected in early:
            labelled = early.pop(expected)
            expected += len(labelled["ids"])
            yield expected, labelled
    if expected != num_examples:
        raise ValueError(f"Example {expected} is missing; expected each of the {num_examples} examples once.")


LABELLED = ("ids", "log_probs", "log_rest")


def _append_in_shards(writer, labelled, num_classes):
    """A batch, cut where a shard is full: how a cluster makes batches leaves no trace in the store."""
    while len(labelled["ids"]):
        room = writer.room() or len(labelled["ids"])
        writer.append({name: values[:room] for name, values in labelled.items()}, num_classes)
        labelled = {name: values[room:] for name, values in labelled.items()}


def _refuse_wrong_classes(labelled, settings):
    """What a worker with other settings would have sent."""
    ids, num_classes = np.asarray(labelled["ids"]), settings["num_classes"]
    if ids.shape[-1] != settings["k"]:
        raise ValueError(f"k={settings['k']}, but the labelled batches hold {ids.shape[-1]} classes per distribution.")
    if ids.min() < 0 or ids.max() >= num_classes:
        raise ValueError(f"`ids` holds class {ids.max()}, but num_classes={num_classes} (0 to {num_classes - 1}).")


def examples_kept(path: str | os.PathLike) -> int:
    """How many examples the store at `path` holds so far, for whoever need not label them again.

    Args:
        path: The directory of a store, finished or not; 0 if there is none yet.

    Returns:
        An int.

    Raises:
        ValueError: A damaged manifest or record.

    Differs from Keras:
        Keras has nothing of the kind.

    Example:
        >>> keras_xent.distill.examples_kept("not/there/yet")
        0

    Source:
        `examples/label_with_ray.py`.
    """
    directory = arguments.directory(path)
    if not (directory / manifest.MANIFEST).exists():
        return 0
    kept = manifest.read_manifest(directory)
    records = kept["shards"] if kept["complete"] else manifest.kept_records(directory)
    return sum(record["examples"] for record in records)

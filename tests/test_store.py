"""Stored teachers: what is written is what is read, within 1e-3 of the loss; whatever is wrong is named."""

import doctest
import errno
import json
import os
import pickle
import resource
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

pytest.importorskip("pyarrow")
import pyarrow

import keras_xent
from keras_xent.distill import store as store_package
from keras_xent.distill.store import Labeller, StoredTargets, examples_kept, files, write_labelled, write_targets
from keras_xent.distill.store.columns import narrow, widen

from .backends import BACKEND, array, tensor

CLASSES, K, TEMPERATURE = 300, 5, 2.0
OPTIONS = {"k": K, "temperature": TEMPERATURE, "targets": "logits", "verbose": 0}


def log_softmax(logits):
    depths = logits - logits.max(-1, keepdims=True)
    return depths - np.log(np.exp(depths).sum(-1, keepdims=True))


def exact(logits, k=K, temperature=TEMPERATURE):
    """Ids and log-probabilities of the k largest, and the logarithm of the rest, in float64."""
    log_probs = log_softmax(np.asarray(logits, "float64") / temperature)
    order = np.argsort(-log_probs, axis=-1, kind="stable")
    ids, rest = order[..., :k], order[..., k:]
    with np.errstate(divide="ignore"):
        log_rest = np.log(np.exp(np.take_along_axis(log_probs, rest, -1)).sum(-1))
    return ids, np.take_along_axis(log_probs, ids, -1), log_rest


def read_all(stored):
    return np.concatenate([stored[i] for i in range(len(stored))])


def same(x):
    """A teacher whose inputs are its outputs."""
    return x


class Recorder:
    """The same, which remembers how many batches it saw."""

    def __init__(self, *, breaks_at=None):
        self.seen, self.breaks_at = [], breaks_at

    def __call__(self, x):
        if len(self.seen) == self.breaks_at:
            raise KeyboardInterrupt
        self.seen.append(array(x) if not hasattr(x, "numpy") else x.numpy())
        return x


class Batches(keras.utils.PyDataset):
    def __init__(self, logits, size, labels=None, weights=None):
        super().__init__()
        self.parts, self.size = [logits, *(part for part in (labels, weights) if part is not None)], size

    def __len__(self):
        return -(-len(self.parts[0]) // self.size)

    def __getitem__(self, index):
        return tuple(part[index * self.size : (index + 1) * self.size] for part in self.parts)


def tf_dataset(logits, size):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((logits, np.zeros(len(logits)))).batch(size)


def tf_dataset_of_unknown_length(logits, size):
    return tf_dataset(logits, 1).unbatch().filter(lambda *_: True).batch(size)


def data_loader(logits, size):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(logits), torch.zeros(len(logits)))
    return torch.utils.data.DataLoader(data, batch_size=size)


SOURCES = {
    "arrays": lambda logits, size: logits,
    "arrays with labels": lambda logits, size: (logits, np.zeros(len(logits))),
    "PyDataset": Batches,
    "tf.data": tf_dataset,
    "tf.data of unknown length": tf_dataset_of_unknown_length,
    "DataLoader": data_loader,
}


@pytest.fixture
def logits(rng):
    return rng.normal(size=(50, CLASSES)).astype("float32") * 3


@pytest.fixture
def directory(tmp_path, logits):
    """A store of four shards."""
    write_targets(same, logits, tmp_path / "store", batch_size=8, shard_size=16, **OPTIONS)
    return tmp_path / "store"


def flip(path, at=-1000, mask=0x10):
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


# ---------------------------------------------------------------------------------------------- what is written and read


def test_holds_the_most_probable_classes_at_the_temperature(logits, directory):
    stored = StoredTargets(directory)
    pairs = read_all(stored)
    ids, log_probs, _ = exact(logits)
    assert pairs.dtype == np.float32
    assert (pairs[..., 0] == ids).all()
    np.testing.assert_allclose(pairs[..., 1], log_probs, atol=2.0**-11 * np.ptp(log_probs, axis=-1).max())
    assert (stored.k, stored.temperature, stored.num_classes, stored.num_examples) == (K, TEMPERATURE, CLASSES, 50)
    assert (stored.example(17) == pairs[17]).all() and (stored.example(-1) == pairs[49]).all()
    assert repr(stored) == "StoredTargets: 50 examples, k=5 of 300 classes at temperature 2.0, 24 bytes per position, 4 shards"


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_store(tmp_path, logits, directory, source):
    data = SOURCES[source](logits, 8)
    size = {"batch_size": 8} if "arrays" in source else {}
    write_targets(same, data, tmp_path / "other", shard_size=16, **size, **OPTIONS)
    for shard in ("shard-00000.arrow", "shard-00003.arrow"):
        one, other = (pyarrow.ipc.open_file(str(path / shard)).read_all() for path in (directory, tmp_path / "other"))
        assert one.equals(other)


def test_a_model_labels_as_a_function_does(tmp_path, rng):
    x = rng.normal(size=(20, 4)).astype("float32")
    teacher = keras.Sequential([keras.Input((4,)), keras.layers.Dense(7), keras.layers.Dropout(0.9)])
    stored = write_targets(teacher, x, tmp_path / "store", batch_size=8, **{**OPTIONS, "k": 3})
    ids, log_probs, _ = exact(teacher.predict(x, verbose=0), 3)
    assert (read_all(stored)[..., 0] == ids).all()
    np.testing.assert_allclose(read_all(stored)[..., 1], log_probs, atol=2e-3)


def test_a_model_of_several_inputs(tmp_path, rng):
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
    teacher = keras.Model({"one": one, "two": two}, keras.layers.Dense(7)(keras.layers.add([one, two])))
    x = {"one": rng.normal(size=(10, 4)).astype("float32"), "two": rng.normal(size=(10, 4)).astype("float32")}
    stored = write_targets(teacher, x, tmp_path / "store", batch_size=4, **OPTIONS)
    assert (read_all(stored)[..., 0] == exact(teacher.predict(x, verbose=0))[0]).all()
    (inputs, targets), *_ = StoredTargets(tmp_path / "store", x, batch_size=4)
    assert inputs["two"].shape == (4, 4) and targets.shape == (4, K, 2)


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "arrays"])
def test_a_model_takes_the_batches_of_every_source(tmp_path, logits, source):
    teacher = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Rescaling(2.0)])
    stored = write_targets(teacher, SOURCES[source](logits, 32), tmp_path / "store", **OPTIONS)
    assert (read_all(stored)[..., 0] == exact(logits)[0]).all()


def test_a_half_precision_teacher_is_summed_in_float32(tmp_path, logits):
    stored = write_targets(lambda x: tensor(x, "bfloat16"), logits, tmp_path / "store", **OPTIONS)
    rounded = array(tensor(logits, "bfloat16"))
    np.testing.assert_allclose(np.sort(read_all(stored)[..., 1])[..., ::-1], exact(rounded)[1], atol=2e-3)


@pytest.mark.parametrize("targets", ["probs", "log_probs"])
def test_probabilities_and_their_logarithms_are_tempered_as_logits_are(tmp_path, logits, directory, targets):
    given = log_softmax(logits.astype("float64"))
    given = np.exp(given) if targets == "probs" else given
    stored = write_targets(same, given.astype("float32"), tmp_path / "given", **{**OPTIONS, "targets": targets})
    expected = read_all(StoredTargets(directory))
    assert (read_all(stored)[..., 0] == expected[..., 0]).all()
    np.testing.assert_allclose(read_all(stored)[..., 1], expected[..., 1], atol=2e-3)


def test_classes_of_probability_zero_are_listed_as_nothing(tmp_path):
    stored = write_targets(same, np.eye(4, dtype="float32"), tmp_path / "store", **{**OPTIONS, "targets": "probs", "k": 2})
    pairs = read_all(stored)
    assert (pairs[..., 0, 0] == np.arange(4)).all()
    assert (pairs[..., 0, 1] == 0).all() and (pairs[..., 1, 1] == -np.inf).all()


def test_outputs_beyond_the_classes_are_left_out(tmp_path, logits):
    padded = np.concatenate([logits, np.full((50, 20), 99.0, "float32")], axis=1)
    stored = write_targets(same, padded, tmp_path / "store", num_classes=CLASSES, **OPTIONS)
    assert stored.num_classes == CLASSES
    assert (read_all(stored)[..., 0] == exact(logits)[0]).all()


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 2)])
def test_positions(tmp_path, rng, shape):
    logits = rng.normal(size=(*shape, 20)).astype("float32")
    stored = write_targets(same, logits, tmp_path / "store", batch_size=2, shard_size=4, **OPTIONS)
    assert read_all(stored).shape == (*shape, K, 2)
    assert (read_all(stored)[..., 0] == exact(logits)[0]).all()
    assert (stored.example(5)[..., 0] == exact(logits)[0][5]).all()
    assert stored.manifest["positions"] == np.prod(shape)


def ragged(rng):
    """Batches of different numbers of positions."""
    parts = [rng.normal(size=(2, length, 20)).astype("float32") for length in (3, 5, 1, 4)]
    data = Batches(np.zeros((8, 1)), 2)
    data.__class__ = type("Ragged", (Batches,), {"__getitem__": lambda self, index: (parts[index],)})
    return parts, data


def test_examples_of_several_lengths_are_padded_with_weight_0(tmp_path, rng):
    parts, data = ragged(rng)
    write_targets(same, data, tmp_path / "store", shard_size=4, **OPTIONS)
    x = np.zeros((8, 5, 1))
    stored = StoredTargets(tmp_path / "store", x, batch_size=8, sample_weight=np.full(8, 2.0))
    _, targets, weights = stored[0]
    assert targets.shape == (8, 5, K, 2) and weights.dtype == np.float32
    assert (weights.sum(-1) == 2 * np.repeat([3, 5, 1, 4], 2)).all()
    for i in range(8):
        length = parts[i // 2].shape[1]
        assert (targets[i, :length, :, 0] == exact(parts[i // 2][i % 2])[0]).all()
        assert (targets[i, length:, :, 1] == -np.inf).all()
        assert (stored.example(i) == targets[i, :length]).all()
    by_batch = StoredTargets(tmp_path / "store", data, batch_size=2)
    assert [batch[1].shape[1] for batch in by_batch] == [3, 5, 1, 4]
    assert StoredTargets(tmp_path / "store", x, pad_to=7)[0][1].shape[1] == 7
    with pytest.raises(ValueError, match=r"pad_to=4, but the store at .* has examples of 5 positions"):
        StoredTargets(tmp_path / "store", x, pad_to=4)
    with pytest.raises(ValueError, match=r"Without `inputs` there is no place for weights"):
        StoredTargets(tmp_path / "store")[0]


def test_padding_costs_nothing(tmp_path, rng):
    parts, data = ragged(rng)
    write_targets(same, data, tmp_path / "store", **OPTIONS)
    student = rng.normal(size=(8, 5, 20)).astype("float32")
    stored = StoredTargets(tmp_path / "store", student, batch_size=8)
    loss, each = stored.loss(reduction="sum"), stored.loss(reduction="none")
    x, targets, weights = stored[0]
    alone = [each(stored.example(i)[None], student[i : i + 1, : parts[i // 2].shape[1]]) for i in range(8)]
    assert float(loss(targets, x, weights)) == pytest.approx(sum(float(array(losses).sum()) for losses in alone), rel=1e-5)


@pytest.mark.parametrize(("classes", "dtype"), [(256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")])
def test_ids_take_the_smallest_dtype(tmp_path, classes, dtype):
    last = np.zeros((1, classes), "float32")
    last[0, -1] = 9.0
    stored = write_targets(same, last, tmp_path / "store", **{**OPTIONS, "k": 1})
    assert stored.example(0)[0, 0] == classes - 1
    table = pyarrow.ipc.open_file(str(tmp_path / "store" / "shard-00000.arrow")).read_all()
    assert str(table.schema.field("ids").type.value_type) == dtype


# ------------------------------------------------------------------------------------------------ how exact the loss stays

TEACHERS = {"flat": 0.3, "usual": 2.0, "peaked": 6.0, "certain": 15.0}


def reference_losses(log_probs, rest, ids, student, tail):
    """The KL divergence of each example in float64, from the exact numbers."""
    log_q = log_softmax(student)
    listed = np.take_along_axis(log_q, ids, -1)
    unlisted = np.ones_like(log_q, bool)
    np.put_along_axis(unlisted, ids, False, -1)
    others = np.where(unlisted, np.exp(log_q), 0.0).sum(-1)
    if tail == "renormalize":
        log_p, log_q = log_softmax(log_probs), log_softmax(listed)
    elif tail == "bucket":
        log_p = np.concatenate([log_probs, np.log(rest)[:, None]], -1)
        log_q = np.concatenate([listed, np.log(others)[:, None]], -1)
    else:
        log_p = np.repeat(np.log(rest / unlisted.sum(-1))[:, None], log_q.shape[-1], -1)
        np.put_along_axis(log_p, ids, log_probs, -1)
    return (np.exp(log_p) * (log_p - log_q) - np.exp(log_p) + np.exp(log_q)).sum(-1)


def errors_of(dtype, scale, distance, tail, rng):
    """Relative errors of the losses that a store causes: of their mean, and the largest of one example."""
    logits = scale * rng.normal(size=(128, 2000))
    student = scale * rng.normal(size=logits.shape) if distance is None else logits + distance * rng.normal(size=logits.shape)
    ids, log_probs, log_rest = exact(logits, 32, 1.0)
    labelled = {"ids": ids, "log_probs": log_probs.astype("float32"), "log_rest": log_rest.astype("float32")}
    pairs = widen(*narrow(labelled, 2000, dtype).values())
    stored = pairs[..., 1].astype("float64")
    stored_rest = -np.expm1(stored[:, 0]) - np.exp(stored[:, 1:]).sum(-1)  # as the loss finds it
    expected = reference_losses(log_probs, np.exp(log_rest), ids, student, tail)
    losses = reference_losses(stored, np.maximum(stored_rest, 2.0**-40), ids, student, tail)
    return abs(losses.mean() / expected.mean() - 1), np.abs(losses / expected - 1).max()


@pytest.mark.parametrize("tail", ["bucket", "renormalize", "uniform"])
@pytest.mark.parametrize("teacher", TEACHERS)
def test_float16_keeps_the_mean_loss_within_a_thousandth(rng, teacher, tail):
    """For students that know nothing, that have learned something and that are nearly there."""
    for distance in (None, 0.5, 0.1):
        assert errors_of("float16", TEACHERS[teacher], distance, tail, rng)[0] < 1e-3


@pytest.mark.parametrize("tail", ["bucket", "renormalize", "uniform"])
@pytest.mark.parametrize("teacher", ["flat", "usual", "peaked"])
def test_float32_keeps_each_loss_within_a_thousandth(rng, teacher, tail):
    for distance in (None, 0.5, 0.1):
        assert errors_of("float32", TEACHERS[teacher], distance, tail, rng)[1] < 1e-3


def test_the_bound_can_be_missed(rng):
    """Log-probabilities in float16, without the rest, would not keep it."""
    logits = TEACHERS["certain"] * rng.normal(size=(128, 2000))
    ids, log_probs, log_rest = exact(logits, 32, 1.0)
    student = logits + 0.5 * rng.normal(size=logits.shape)
    plain = log_probs.astype("float16").astype("float64")
    rest = np.maximum(1 - np.exp(plain).sum(-1), 2.0**-40)
    expected = reference_losses(log_probs, np.exp(log_rest), ids, student, "bucket")
    assert abs(reference_losses(plain, rest, ids, student, "bucket").mean() / expected.mean() - 1) > 1e-3


@pytest.mark.parametrize("tail", ["bucket", "renormalize", "uniform"])
def test_the_loss_of_the_store_equals_that_of_the_teacher(logits, directory, rng, tail):
    stored = StoredTargets(directory, batch_size=50)
    student = (logits + rng.normal(size=logits.shape)).astype("float32")
    pairs = keras_xent.distill.top_k_targets(logits, K, temperature=TEMPERATURE)
    loss = keras_xent.DistillationLoss(TEMPERATURE, targets="top_k", tail=tail)
    ours = stored.loss(tail=tail)
    assert (ours.temperature, ours.targets, ours.teacher_classes) == (TEMPERATURE, "top_k", CLASSES)
    assert float(ours(stored[0], student)) == pytest.approx(float(loss(pairs, student)), rel=1e-3)


# ------------------------------------------------------------------------------------------------------------- reading


def test_shuffles_by_seed_and_epoch(logits, directory):
    x = np.arange(50)
    expected = read_all(StoredTargets(directory))
    orders = {}
    for seed in (0, 1):
        stored = StoredTargets(directory, x, batch_size=8, shuffle=True, seed=seed)
        for epoch in range(2):
            batches = list(stored)
            order = np.concatenate([inputs for inputs, _ in batches])
            assert (np.sort(order) == x).all()
            assert (np.concatenate([targets for _, targets in batches]) == expected[order]).all()
            orders[seed, epoch] = tuple(order)
            stored.on_epoch_end()
    assert len(set(orders.values())) == 4
    again = StoredTargets(directory, x, batch_size=8, shuffle=True, seed=1)
    again.on_epoch_end()
    assert tuple(np.concatenate([inputs for inputs, _ in again])) == orders[1, 1]


def test_zips_with_a_py_dataset(logits, directory):
    labels, weights = np.arange(50) % CLASSES, np.arange(50.0)
    data = Batches(np.arange(50), 8, labels, weights)
    expected = read_all(StoredTargets(directory))
    stored = StoredTargets(directory, data, batch_size=8, shuffle=True, seed=2)
    order = np.concatenate([inputs for inputs, *_ in stored])
    assert sorted(order) == list(range(50)) and list(order) != list(range(50))
    for inputs, targets, given in stored:
        assert (targets == expected[inputs]).all() and (given == inputs).all()
    with_labels = StoredTargets(directory, data, labels=True, batch_size=8)
    packed = keras_xent.pack_targets(expected[:8], labels[:8], top_k=True)
    np.testing.assert_array_equal(with_labels[0][1], packed)


def test_packs_labels_for_a_loss_of_both(logits, directory):
    labels = np.arange(50) % CLASSES
    stored = StoredTargets(directory, logits, labels, batch_size=50)
    loss = stored.loss(label_weight=0.5)
    assert loss.labels == "sparse"
    dense = np.eye(CLASSES)[labels]
    assert StoredTargets(directory, logits, dense).loss(label_weight=0.5).labels == "dense"
    with pytest.raises(ValueError, match=r"labels='dense', but the labels of .* are packed: labels='sparse'"):
        stored.loss(label_weight=0.5, labels="dense")
    x, y = stored[0]
    soft = float(StoredTargets(directory).loss(label_weight=0.0)(read_all(StoredTargets(directory)), x))
    hard = float(keras_xent.SparseCategoricalCrossentropy(from_logits=True)(labels, x))
    assert float(loss(y, x)) == pytest.approx(0.5 * soft + 0.5 * hard, rel=1e-5)


@pytest.mark.parametrize("workers", [1, 3])
def test_fit(logits, directory, workers):
    x = logits[:, :20]
    stored = StoredTargets(directory, x, batch_size=8, shuffle=True, workers=workers, sample_weight=np.ones(50))
    student = keras.Sequential([keras.Input((20,)), keras.layers.Dense(CLASSES)])
    student.compile(keras.optimizers.Adam(0.05), loss=stored.loss())
    history = student.fit(stored, epochs=3, verbose=0).history["loss"]
    assert history[2] < history[0]
    assert stored.epoch >= 3


def test_pickles_by_path(logits, directory):
    stored = StoredTargets(directory, logits, batch_size=8, shuffle=True)
    stored.on_epoch_end()
    before = stored[1]
    content = pickle.dumps(stored)
    again = pickle.loads(content)[1]
    assert all((one == other).all() for one, other in zip(before, again, strict=True))
    assert len(pickle.dumps(StoredTargets(directory, batch_size=8))) < 5000


def test_keeps_few_shards_open(directory, monkeypatch):
    """And compares each checksum once, however often it opens the shard."""
    monkeypatch.setattr("keras_xent.distill.store.stored.MOST_OPEN", 2)
    expected = read_all(StoredTargets(directory))
    stored, checked = StoredTargets(directory, batch_size=5, shuffle=True), []
    monkeypatch.setattr("keras_xent.distill.store.shards.check_content", lambda path, *_: checked.append(path.name))
    for _ in range(3):
        assert (np.sort(read_all(stored), axis=0) == np.sort(expected, axis=0)).all()
        assert len(stored._shards) == 2
    assert sorted(checked) == [f"shard-0000{number}.arrow" for number in range(4)]


def test_threads_read_the_same(logits, directory):
    stored = StoredTargets(directory, batch_size=8)
    expected, found = read_all(StoredTargets(directory)), [None] * 8

    def read(number):
        found[number] = read_all(stored)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((part == expected).all() for part in found)


# ------------------------------------------------------------------------------------------------------- other readers


def test_opens_with_pandas(directory, logits):
    pandas = pytest.importorskip("pandas")
    frame = pandas.concat([pandas.read_feather(path) for path in sorted(directory.glob("*.arrow"))])
    ratios = np.stack(frame["log_ratios"].to_list()).astype("float32")
    log_probs = ratios + np.log(-np.expm1(frame["log_rest"].to_numpy()))[:, None] - np.log(np.exp(ratios).sum(-1))[:, None]
    assert (np.stack(frame["ids"].to_list()) == exact(logits)[0]).all()
    np.testing.assert_allclose(log_probs, read_all(StoredTargets(directory))[..., 1], atol=1e-5)


def test_opens_with_duckdb(tmp_path, logits):
    """Which reads Arrow without a copy, but no float16."""
    duckdb = pytest.importorskip("duckdb")
    write_targets(same, logits, tmp_path / "store", dtype="float32", **OPTIONS)
    shard = pyarrow.ipc.open_file(pyarrow.memory_map(str(tmp_path / "store" / "shard-00000.arrow"))).read_all()
    found = duckdb.from_arrow(shard).select("ids[1], exp(log_rest)").fetchall()
    ids, _, log_rest = exact(logits)
    np.testing.assert_allclose(found, np.stack([ids[:, 0], np.exp(log_rest)], -1), rtol=1e-5)


def test_opens_with_datasets(tmp_path, directory, logits):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    opened = datasets.load_dataset(
        "arrow", data_files=str(directory / "*.arrow"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(opened) == 50
    assert opened[17]["ids"] == exact(logits)[0][17].tolist()


# ------------------------------------------------------------------------------------------------------------- going on


def same_arrays(one, other):
    assert [file.name for file in sorted(one.glob("*"))] == [file.name for file in sorted(other.glob("*"))]
    return all((one / file.name).read_bytes() == file.read_bytes() for file in other.glob("*"))


@pytest.mark.parametrize("source", ["arrays", "PyDataset", "tf.data of unknown length", "DataLoader"])
def test_goes_on_after_an_interruption(tmp_path, logits, source):
    data, size = SOURCES[source](logits, 8), {"batch_size": 8} if source == "arrays" else {}
    path = tmp_path / "store"
    interrupted, again, once_more, whole = Recorder(breaks_at=5), Recorder(), Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        write_targets(interrupted, data, path, shard_size=16, **size, **OPTIONS)
    assert examples_kept(path) == 32  # two batches a shard, two shards
    with pytest.raises(ValueError, match=r"The store at .* is unfinished: 32 examples are kept"):
        StoredTargets(path)
    write_targets(again, data, path, shard_size=16, **size, **OPTIONS)
    assert np.concatenate(again.seen).tolist() == logits[32:].tolist()
    write_targets(once_more, data, path, shard_size=16, **size, **OPTIONS)
    assert once_more.seen == []
    write_targets(whole, data, tmp_path / "whole", shard_size=16, **size, **OPTIONS)
    assert same_arrays(path, tmp_path / "whole")
    assert examples_kept(path) == 50


class Killed(BaseException):
    pass


def test_killed_between_any_two_steps_it_goes_on(tmp_path, monkeypatch, logits):
    """From the n-th call on nothing reaches the disk, as if the process were gone; for every n."""
    data, options = logits[:8], {"batch_size": 2, "shard_size": 4, **OPTIONS}
    write_targets(same, data, tmp_path / "whole", **options)
    for last in range(1, 100):
        path, calls, recorder = tmp_path / f"store {last}", [0], Recorder()
        with monkeypatch.context() as patch:
            for owner, name in ((os, "fsync"), (os, "replace"), (files.Path, "unlink"), (files.Path, "mkdir")):
                patch.setattr(owner, name, dying(getattr(owner, name), calls, last))
            try:
                write_targets(same, data, path, **options)
            except Killed:
                pass
            else:
                assert calls[0] < last
                break
        kept = examples_kept(path)
        write_targets(recorder, data, path, **options)
        assert sum(map(len, recorder.seen)) == 8 - kept
        assert same_arrays(path, tmp_path / "whole"), last
    assert last > 20


def dying(function, calls, last):
    def call(*args, **kwargs):
        calls[0] += 1
        if calls[0] >= last:
            raise Killed
        return function(*args, **kwargs)

    return call


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 4}, r"was begun with k=5. Received: k=4"),
        ({"temperature": 3.0}, r"was begun with temperature=2.0. Received: temperature=3.0"),
        ({"targets": "log_probs"}, r"was begun with targets='logits'. Received: targets='log_probs'"),
        ({"dtype": "float32"}, r"was begun with dtype='float16'. Received: dtype='float32'"),
        ({"num_classes": 299}, r"was begun with num_classes=300. Received: num_classes=299"),
        ({"shard_size": 8}, r"was begun with shard_size=16. Received: shard_size=8"),
        ({"batch_size": 10}, r"was begun with batch_size=8. Received: batch_size=10"),
        ({"data": 40}, r"was begun with num_batches=7. Received: num_batches=5"),
        ({"data": 49}, r"was begun with num_examples=50. Received: num_examples=49"),
    ],
)
@pytest.mark.parametrize("breaks_at", [5, None])
def test_goes_on_only_as_it_began(tmp_path, logits, change, message, breaks_at):
    options = {"batch_size": 8, "shard_size": 16, **OPTIONS}
    try:
        write_targets(Recorder(breaks_at=breaks_at), logits, tmp_path / "store", **options)
    except KeyboardInterrupt:
        pass
    change = {**change}
    data = logits[: change.pop("data", 50)]
    with pytest.raises(ValueError, match=message):
        write_targets(same, data, tmp_path / "store", **{**options, **change})


@pytest.mark.parametrize("source", ["arrays", "DataLoader"])
def test_goes_on_only_with_the_same_data(tmp_path, logits, source):
    size = {"batch_size": 8} if source == "arrays" else {}
    with pytest.raises(KeyboardInterrupt):
        write_targets(Recorder(breaks_at=5), SOURCES[source](logits, 8), tmp_path / "s", shard_size=16, **size, **OPTIONS)
    with pytest.raises(ValueError, match=r"`data` is not what the teacher saw: the inputs of shard-0000\d.arrow"):
        write_targets(same, SOURCES[source](logits[::-1].copy(), 8), tmp_path / "s", shard_size=16, **size, **OPTIONS)


def test_a_second_writer_is_refused(tmp_path, logits):
    def teacher(x):
        with pytest.raises(ValueError, match=r"Two writers on one store"):
            write_targets(same, logits, tmp_path / "store", **OPTIONS)
        return x

    write_targets(teacher, logits, tmp_path / "store", **OPTIONS)


def test_a_second_process_is_refused(tmp_path):
    holder = "import fcntl, sys\nfile = open(sys.argv[1] + '/.lock', 'ab')\nfcntl.lockf(file, fcntl.LOCK_EX)\n"
    holder += "print('held', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=r"Two writers on one store"), files.only_writer(tmp_path):
            pass
        child.kill()
    with files.only_writer(tmp_path):
        pass


def test_a_full_disk_is_said_and_leaves_what_was_kept(tmp_path, monkeypatch, logits):
    options, writes = {"batch_size": 8, "shard_size": 16, **OPTIONS}, [0]
    true_fsync = os.fsync

    def full(handle):
        writes[0] += 1
        if writes[0] > 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        true_fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            OSError, match=r"shard-0000\d.* could not be written to .*: No space left on device.*Make room"
        ) as info:
            write_targets(same, logits, tmp_path / "store", **options)
    assert info.value.errno == errno.ENOSPC
    assert not list((tmp_path / "store").glob(".*unfinished"))
    kept = examples_kept(tmp_path / "store")
    assert 0 < kept < 50
    recorder = Recorder()
    write_targets(recorder, logits, tmp_path / "store", **options)
    assert sum(map(len, recorder.seen)) == 50 - kept


def test_a_file_size_limit_is_met_by_the_system_itself(tmp_path, logits):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"shard-00000.arrow could not be written .*File too large.*Make room"):
            write_targets(same, logits, tmp_path / "store", **OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in sorted((tmp_path / "store").iterdir())] == [".lock", "manifest.json"]
    assert len(write_targets(same, logits, tmp_path / "store", **OPTIONS)) == 2


# ------------------------------------------------------------------------------------------------- damaged and foreign


def damage(directory, kind, tmp_path, logits):
    shard, manifest = directory / "shard-00001.arrow", directory / "manifest.json"
    if kind == "flipped":
        flip(shard)
    elif kind == "truncated":
        shard.write_bytes(shard.read_bytes()[:-100])
    elif kind == "missing":
        shard.unlink()
    elif kind == "another store's":
        write_targets(same, logits, tmp_path / "other", batch_size=8, shard_size=16, **{**OPTIONS, "temperature": 3.0})
        shard.write_bytes((tmp_path / "other" / shard.name).read_bytes())
    elif kind == "another place's":
        shard.write_bytes((directory / "shard-00000.arrow").read_bytes())
    elif kind == "unlisted":
        (directory / "shard-00004.arrow").write_bytes(shard.read_bytes())
    elif kind == "foreign file":
        (directory / "notes.txt").write_text("mine")
    elif kind == "manifest":
        flip(manifest, at=100)
    elif kind == "no manifest":
        manifest.unlink()
    elif kind == "a pickle":
        shard.write_bytes(pickle.dumps(Bomb()).ljust(shard.stat().st_size, b"\0"))
    elif kind == "newer":
        content = files.read_json(manifest)
        files.write_json(manifest, {**content, "format": 2})


class Bomb:
    """Unpickling it would be noticed."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


DAMAGES = {
    "flipped": r"shard-00001.arrow is damaged: its SHA-256 is .*Put back an intact copy",
    "truncated": r"shard-00001.arrow is \d+ bytes long, but was written with \d+. Put back",
    "missing": r"shard-00001.arrow is missing. Put back",
    "another store's": r"shard-00001.arrow was written for another store",
    "another place's": r"shard-00001.arrow was written for another store, or another place in this one",
    "unlisted": r"shard-00004.arrow is a shard that the manifest does not list. Move it out",
    "foreign file": r"notes.txt is no part of the store. Move it out",
    "manifest": r"manifest.json is damaged, or was not written by",
    "no manifest": r"No store at .*: it holds no manifest.json",
    "a pickle": r"shard-00001.arrow is damaged",
    "newer": r"manifest.json is of format 2, but this version of keras_xent reads format 1",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_is_damaged_or_foreign_is_named_and_not_read(tmp_path, logits, directory, kind):
    damage(directory, kind, tmp_path, logits)
    with pytest.raises(ValueError, match=DAMAGES[kind]):
        StoredTargets(directory, verify="open")
    with pytest.raises(ValueError, match=DAMAGES[kind]):
        read_all(StoredTargets(directory))


def test_every_flipped_byte_is_found(directory):
    shard = directory / "shard-00003.arrow"
    content = shard.read_bytes()
    for at in range(0, len(content), 97):
        flip(shard, at)
        with pytest.raises(ValueError, match=r"shard-00003.arrow"):
            StoredTargets(directory).example(-1)
        shard.write_bytes(content)
    StoredTargets(directory).example(-1)


def test_only_the_damaged_shard_is_refused(directory):
    flip(directory / "shard-00001.arrow")
    stored = StoredTargets(directory, batch_size=16)
    assert stored[0].shape == (16, K, 2)
    with pytest.raises(ValueError, match=r"shard-00001"):
        stored[1]


def test_class_ids_out_of_range_are_found_behind_a_right_checksum(directory):
    shard, manifest = directory / "shard-00000.arrow", files.read_json(directory / "manifest.json")
    content = bytearray(shard.read_bytes())
    at = content.index(np.asarray(StoredTargets(directory).example(0)[:, 0], "uint16").tobytes())
    content[at : at + 2] = np.uint16(CLASSES).tobytes()
    shard.write_bytes(content)
    manifest["shards"][0]["sha256"] = files.checksum(shard)
    files.write_json(directory / "manifest.json", manifest)
    with pytest.raises(ValueError, match=r"shard-00000.arrow holds class 300, but the store has num_classes=300 \(0 to 299\)"):
        StoredTargets(directory)[0]


def test_other_columns_are_refused_behind_a_right_checksum(directory):
    shard, manifest = directory / "shard-00000.arrow", files.read_json(directory / "manifest.json")
    table = pyarrow.ipc.open_file(str(shard)).read_all().select(["ids", "log_ratios"])
    with pyarrow.ipc.new_file(str(shard), table.schema) as sink:
        sink.write_table(table)
    manifest["shards"][0] |= {"sha256": files.checksum(shard), "bytes": shard.stat().st_size}
    files.write_json(directory / "manifest.json", manifest)
    with pytest.raises(ValueError, match=r"shard-00000.arrow cannot be read"):
        StoredTargets(directory)[0]


@pytest.mark.parametrize("kind", ["record", "another record", "shard", "foreign", "another store's"])
def test_a_writer_goes_on_with_nothing_that_is_damaged_or_foreign(tmp_path, logits, kind):
    path, options = tmp_path / "store", {"batch_size": 8, "shard_size": 16, **OPTIONS}
    with pytest.raises(KeyboardInterrupt):
        write_targets(Recorder(breaks_at=5), logits, path, **options)
    if kind == "record":
        flip(path / "shard-00001.json", at=20)
        message = r"shard-00001.json is damaged"
    elif kind == "another record":
        (path / "shard-00001.json").write_bytes((path / "shard-00000.json").read_bytes())
        message = r"shard-00001.json records shard-00000.arrow from example 0. Expected: shard-00001.arrow from example 16"
    elif kind == "shard":
        (path / "shard-00001.arrow").write_bytes(b"short")
        message = r"shard-00001.arrow is 5 bytes long"
    elif kind == "foreign":
        (path / "shard-00007.arrow").write_bytes(b"what?")
        message = r"shard-00007.arrow is a shard that the manifest does not list"
    else:
        write_targets(same, logits * 2, tmp_path / "other", **{**options, "temperature": 3.0})
        records = files.read_json(tmp_path / "other" / "manifest.json")["shards"]
        files.write_json(path / "shard-00001.json", records[1])
        message = r"shard-00001.arrow is a shard of another store"
    with pytest.raises(ValueError, match=message):
        write_targets(same, logits, path, **options)


def test_a_directory_of_other_things_is_left_alone(tmp_path, logits):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"thesis.tex is no part of the store"):
        write_targets(same, logits, tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match=r"`path` must name a directory, but .*thesis.tex is a file"):
        write_targets(same, logits, tmp_path / "thesis.tex", **OPTIONS)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, r"`temperature` must be a finite number, above 0. Received: temperature=0"),
        ({"temperature": -1}, r"`temperature` must be a finite number, above 0. Received: temperature=-1"),
        ({"temperature": float("nan")}, r"`temperature` must be a finite number, above 0. Received: temperature=nan"),
        ({"temperature": float("inf")}, r"`temperature` must be a finite number, above 0. Received: temperature=inf"),
        ({"temperature": "2"}, r"`temperature` must be a number. Received: temperature='2'"),
        ({"temperature": None}, r"`temperature` must be a number. Received: temperature=None"),
        ({"k": 0}, r"`k` must be a finite number, at least 1. Received: k=0"),
        ({"k": 2.5}, r"`k` must be a whole number of at least 1. Received: k=2.5"),
        ({"k": 301}, r"k=301, but the teacher has num_classes=300. Expected k <= 300"),
        ({"num_classes": 301}, r"num_classes=301, but the teacher has 300 outputs"),
        ({"num_classes": 4}, r"k=5, but the teacher has num_classes=4"),
        ({"targets": "logit"}, r"`targets` must be one of 'logits', 'probs', 'log_probs'. Received: targets='logit'"),
        ({"targets": None}, r"`targets` must be one of"),
        ({"dtype": "int8"}, r"`dtype` must be one of 'float16', 'float32'"),
        ({"batch_size": 0}, r"`batch_size` must be a finite number, at least 1"),
        ({"shard_size": -1}, r"`shard_size` must be a finite number, at least 1"),
    ],
)
def test_wrong_arguments(tmp_path, logits, change, message):
    with pytest.raises(ValueError, match=message):
        write_targets(same, logits, tmp_path / "store", **{**OPTIONS, **change})
    assert examples_kept(tmp_path / "store") == 0


def spoiled(targets, value):
    """Probabilities or logits of 20 examples of which number 13 is wrong."""
    rows = np.full((20, 4), 0.25 if targets == "probs" else np.log(0.25), "float32")
    rows[13] = value
    return rows


@pytest.mark.parametrize(
    ("targets", "value", "message"),
    [
        ("logits", [np.nan, 0, 0, 0], r"finite logits. Received, for example 13: NaN or infinity"),
        ("logits", [np.inf, 0, 0, 0], r"finite logits. Received, for example 13: NaN or infinity"),
        ("logits", [-np.inf] * 4, r"for example 13: -inf for every class"),
        ("probs", [-0.1, 0.5, 0.5, 0.1], r"probabilities. Received, for example 13: a negative number. For logits pass targets="),
        ("probs", [1.0, 2.0, 3.0, 0.0], r"for example 13: numbers whose probabilities sum to 6, not to about 1. For logits"),
        ("probs", [0.0] * 4, r"sum to 0, not to about 1"),
        ("probs", [np.nan, 0, 0, 1], r"for example 13: NaN"),
        (
            "log_probs",
            [1.0, 0.0, 0.0, 0.0],
            r"log-probabilities. Received, for example 13: numbers whose probabilities sum to 5.718",
        ),
        ("log_probs", [200.0, 0.0, 0.0, 0.0], r"for example 13: numbers whose"),
    ],
)
@pytest.mark.parametrize("as_model", [False, True])
def test_what_a_teacher_must_not_say(tmp_path, targets, value, message, as_model):
    teacher = keras.Sequential([keras.Input((4,)), keras.layers.Identity()]) if as_model else same
    options = {**OPTIONS, "k": 2, "targets": targets, "batch_size": 5, "shard_size": 10}
    with pytest.raises(ValueError, match=message):
        write_targets(teacher, spoiled(targets, value), tmp_path / "store", **options)
    assert examples_kept(tmp_path / "store") == 10


def test_names_the_position_too(tmp_path, rng):
    logits = rng.normal(size=(6, 3, 8))
    logits[4, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"for example 4, position 2: NaN"):
        write_targets(same, logits, tmp_path / "store", **OPTIONS)


def test_masked_logits_and_rounded_probabilities_pass(tmp_path, logits):
    masked = np.where(np.arange(CLASSES) < 10, logits, -np.inf)
    assert len(write_targets(same, masked, tmp_path / "masked", **OPTIONS)) == 2
    probs = tensor(np.exp(log_softmax(logits)), "bfloat16")
    assert len(write_targets(same, array(probs), tmp_path / "rounded", **{**OPTIONS, "targets": "probs"})) == 2


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (lambda x: x[:, 0], r"must give one \(batch, ..., num_classes\) tensor.*Received: shape"),
        (lambda x: x[:, :1], r"The teacher has 1 class; expected num_classes > 1"),
        (lambda x: x[:3], r"one row per example: expected 32, received 3"),
    ],
)
def test_teachers_of_other_shapes(tmp_path, logits, teacher, message):
    with pytest.raises(ValueError, match=message):
        write_targets(teacher, logits, tmp_path / "store", **OPTIONS)


def test_a_torch_teacher_that_still_drops_out(tmp_path, logits):
    torch = pytest.importorskip("torch")
    teacher = torch.nn.Dropout()
    with pytest.raises(ValueError, match=r"training mode .*call `teacher.eval\(\)` first"):
        write_targets(teacher, data_loader(logits, 8), tmp_path / "store", **OPTIONS)
    assert len(write_targets(teacher.eval(), data_loader(logits, 8), tmp_path / "store", **OPTIONS)) == 2


def test_data_without_an_order_or_an_end(tmp_path, logits):
    torch, tf = pytest.importorskip("torch"), pytest.importorskip("tensorflow")
    shuffling = torch.utils.data.DataLoader(torch.from_numpy(logits), batch_size=8, shuffle=True)
    cases = {
        r"a DataLoader that shuffles": shuffling,
        r"an endless tf.data.Dataset": tf.data.Dataset.from_tensors(logits).repeat(),
        r"Batch it first": tf.data.Dataset.from_tensors(0.0),
        r"`data` must be a PyDataset.*lengths \[0\]": logits[:0],
        r"`data` must be a PyDataset.*lengths \[49, 50\]": [logits, logits[1:]],
        r"`data` must be a PyDataset.*a str": "inputs.npy",
        r"holds no examples": tf.data.Dataset.from_tensor_slices(logits).batch(8).take(0),
    }
    for message, data in cases.items():
        with pytest.raises(ValueError, match=message):
            write_targets(same, data, tmp_path / "store", **OPTIONS)
    with pytest.raises(ValueError, match=r"`batch_size` is for arrays. Received: batch_size=4 for a Batches"):
        write_targets(same, Batches(logits, 8), tmp_path / "store", batch_size=4, **OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": np.zeros((49, 2))}, r"`inputs` has 49 examples, but the store has 50"),
        ({"labels": np.zeros(51)}, r"`labels` has 51 examples, but the store has 50"),
        ({"sample_weight": 1.0}, r"`sample_weight` has no examples, but the store has 50"),
        ({"inputs": Batches(np.zeros(50), 5)}, r"`inputs` has 10 batches, but the store has 50 examples: 2 batches"),
        ({"labels": True}, r"labels=True takes labels from a PyDataset"),
        ({"num_classes": 32000}, r"another vocabulary: it has num_classes=300. Expected: num_classes=32000"),
        ({"batch_size": 0}, r"`batch_size` must be a finite number, at least 1"),
        ({"seed": -1}, r"`seed` must be a finite number, at least 0"),
        ({"shuffle": "yes"}, r"`shuffle` must be True or False"),
        ({"verify": "often"}, r"`verify` must be one of 'first_read', 'open', 'never'"),
        ({"pad_to": 9}, r"pad_to=9, but the store at .* on 0 axes"),
    ],
)
def test_readers_that_do_not_fit(directory, arguments, message):
    with pytest.raises(ValueError, match=message):
        StoredTargets(directory, **arguments)


def test_a_batch_of_another_size_is_found(directory):
    inputs = Batches(np.zeros(26), 13)
    with pytest.raises(ValueError, match=r"Batch 0 of `inputs` has 13 examples, that of the store 25"):
        StoredTargets(directory, inputs, batch_size=25)[0]


@pytest.mark.parametrize(
    "contradiction", [{"temperature": 4.0}, {"targets": "logits"}, {"teacher_classes": 299}, {"temperature": None}]
)
def test_a_loss_cannot_contradict_its_store(directory, contradiction):
    ((name, value),) = contradiction.items()
    with pytest.raises(ValueError, match=rf"{name}={value!r} contradicts the store at .*, which has {name}="):
        StoredTargets(directory).loss(**contradiction)


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch, logits):
    for name in ("pyarrow", "pyarrow.ipc"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: write_targets(same, logits, tmp_path / "s", **OPTIONS), lambda: StoredTargets(tmp_path)):
        with pytest.raises(ImportError, match=r"keras_xent\[store\]"):
            call()


# -------------------------------------------------------------------------------------------------------- many machines


def test_labels_made_elsewhere_give_the_same_store(tmp_path, logits, directory, rng):
    label = Labeller(build_teacher=lambda: same, k=K, temperature=TEMPERATURE, targets="logits")
    parts = [label({"index": np.arange(i, min(i + 8, 50)), "x": logits[i : i + 8]}) for i in range(0, 50, 8)]
    labelled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    starts = [0, 7, 14, 21, 35, 40]  # batches as they happen to leave a cluster
    batches = [
        {name: values[start:end] for name, values in labelled.items()}
        for start, end in zip(starts, [*starts[1:], 50], strict=True)
    ]
    assert {name: part.dtype for name, part in batches[0].items()} == {
        "index": np.int64,
        "ids": np.int32,
        "log_probs": np.float32,
        "log_rest": np.float32,
    }
    options = {**OPTIONS, "shard_size": 16, "num_classes": CLASSES, "num_examples": 50}
    rng.shuffle(batches)
    write_labelled(iter(batches), tmp_path / "other", **options)
    for shard in sorted(directory.glob("*.arrow")):
        one, other = (pyarrow.ipc.open_file(str(path / shard.name)).read_all() for path in (directory, tmp_path / "other"))
        assert one.equals(other)

    def few():
        yield from batches[:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_labelled(few(), tmp_path / "third", **options)
    write_labelled(reversed(batches), tmp_path / "third", **options)
    assert same_arrays(tmp_path / "other", tmp_path / "third")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda batches: batches[:-1], r"Example 8 is missing; expected each of the 12 examples once"),
        (lambda batches: [*batches, batches[1]], r"Example 4 comes twice"),
        (lambda batches: [{**batches[0], "index": np.array([0, 2, 1, 3])}], r"must hold examples that follow one another"),
        (lambda batches: [{**batches[0], "index": np.arange(10, 14)}], r"from 0 to 11. Received: index from 10 to 13"),
        (lambda batches: [{**batches[0], "ids": batches[0]["ids"] + 1}], r"`ids` holds class 300, but num_classes=300"),
        (lambda batches: [{**batches[0], "ids": batches[0]["ids"][:, 1:]}], r"k=5, but the labelled batches hold 4"),
    ],
)
def test_labels_that_do_not_fit(tmp_path, logits, spoil, message):
    logits[0, -1] = 99.0
    label = Labeller(same, k=K, temperature=TEMPERATURE, targets="logits")
    batches = [label({"index": np.arange(start, start + 4), "x": logits[start : start + 4]}) for start in (0, 4, 8)]
    with pytest.raises(ValueError, match=message):
        write_labelled(spoil(batches), tmp_path / "s", num_classes=CLASSES, num_examples=12, **OPTIONS)


def test_a_labeller_of_several_inputs(logits):
    label = Labeller(lambda x: x["one"] + x["two"], input_key=["one", "two"], k=K, temperature=TEMPERATURE, targets="logits")
    assert (label({"index": np.arange(50), "one": logits / 4, "two": logits / 4 * 3})["ids"] == exact(logits)[0]).all()


def test_a_labeller_wants_one_teacher():
    for arguments in ({}, {"teacher": same, "build_teacher": lambda: same}):
        with pytest.raises(ValueError, match=r"Pass one of `teacher` and `build_teacher`"):
            Labeller(**arguments, k=1, temperature=1.0, targets="logits")


# ------------------------------------------------------------------------------------------------------------ the rest


@pytest.mark.parametrize("has_rich", [True, False])
def test_shows_progress(tmp_path, logits, capsys, monkeypatch, has_rich):
    monkeypatch.setattr("keras_xent.distill.store.progress.use_rich", lambda: has_rich)
    write_targets(same, logits, tmp_path / "store", **{**OPTIONS, "verbose": 1})
    captured = capsys.readouterr()
    assert "2/2" in captured.out + captured.err
    write_targets(same, logits, tmp_path / "silent", **OPTIONS)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_the_manifest_says_what_is_stored(directory):
    content = json.loads((directory / "manifest.json").read_text())
    assert content["settings"] == {
        "k": K,
        "temperature": TEMPERATURE,
        "targets": "logits",
        "dtype": "float16",
        "num_classes": CLASSES,
        "shard_size": 16,
        "batch_size": 8,
        "num_batches": 7,
        "num_examples": 50,
        "position_axes": 0,
    }
    assert content["complete"] and content["examples"] == content["positions"] == 50
    assert content["versions"]["keras_xent"] == keras_xent.__version__
    assert [shard["examples"] for shard in content["shards"]] == [16, 16, 16, 2]


@pytest.mark.parametrize("example", ["label_with_ray.py", "measure_store.py"])
def test_examples_say_what_they_do_and_what_they_lack(tmp_path, example):
    path = Path(__file__).parents[1] / "examples" / example
    launcher = tmp_path / example
    launcher.write_text(
        "import importlib.util, runpy\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'pyarrow' else find(name, *rest)\n"
        f"runpy.run_path({str(path)!r}, run_name='__main__')\n"
    )
    helped = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0 and "--quick" in helped.stdout
    lacking = subprocess.run([sys.executable, launcher], capture_output=True, text=True)
    assert lacking.returncode == 2 and lacking.stdout == ""
    assert lacking.stderr.startswith(f"{example}: error: not installed: ") and lacking.stderr.count("\n") == 1


@pytest.mark.parametrize("name", store_package.__all__)
def test_examples_in_docstrings(name):
    names = {"np": np, "keras_xent": keras_xent}
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(store_package, name), name, globs=names)
    results = doctest.DocTestRunner(verbose=False).run(example)
    assert results.attempted and not results.failed


def test_public_names():
    assert store_package.__all__ == ["Labeller", "StoredTargets", "examples_kept", "write_labelled", "write_targets"]
    assert BACKEND in ("tensorflow", "jax", "torch")

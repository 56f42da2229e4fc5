"""Reading a store: order, inputs beside it, workers, and other programs."""

import pickle
import threading

import keras
import numpy as np
import pyarrow
import pytest

import keras_xent
from keras_xent.distill.store import StoredTargets, write_targets

from .stores import CLASSES, OPTIONS, Batches, exact, read_all, same


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
    assert with_labels.loss(label_weight=0.5).labels == "sparse"
    one_hot = StoredTargets(directory, Batches(np.arange(50), 8, np.eye(CLASSES)[labels % CLASSES]), labels=True, batch_size=8)
    assert one_hot.loss(label_weight=0.5).labels == "dense"
    assert np.isfinite(float(one_hot.loss(label_weight=0.5)(one_hot[0][1], np.zeros((8, CLASSES)))))


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

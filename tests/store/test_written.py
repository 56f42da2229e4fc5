"""What a store holds: every source, teacher and shape of data gives it."""

import keras
import numpy as np
import pyarrow
import pytest

from keras_xent.distill.store import StoredTargets, write_targets

from ..backends import array, tensor
from .stores import (
    CLASSES,
    OPTIONS,
    SOURCES,
    TEMPERATURE,
    Batches,
    K,
    close_in_float16,
    exact,
    log_softmax,
    read_all,
    same,
    same_examples,
)


def test_holds_the_most_probable_classes_at_the_temperature(logits, directory):
    stored = StoredTargets(directory)
    pairs = read_all(stored)
    ids, log_probs, _ = exact(logits)
    assert pairs.dtype == np.float32
    assert (pairs[..., 0] == ids).all()
    assert close_in_float16(pairs[..., 1], log_probs)
    assert (stored.k, stored.temperature, stored.num_classes, stored.num_examples) == (K, TEMPERATURE, CLASSES, 50)
    assert (stored.example(17) == pairs[17]).all() and (stored.example(-1) == pairs[49]).all()
    assert repr(stored) == "StoredTargets: 50 examples, k=5 of 300 classes at temperature 2.0, 24 bytes per position, 4 shards"


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_store(tmp_path, logits, directory, source):
    data = SOURCES[source](logits, 8)
    size = {"batch_size": 8} if "arrays" in source else {}
    write_targets(same, data, tmp_path / "other", shard_size=16, **size, **OPTIONS)
    one, other = (pyarrow.ipc.open_file(str(path / "shard-00003.arrow")).schema for path in (directory, tmp_path / "other"))
    assert one.equals(other)
    assert same_examples(tmp_path / "other", directory)


def test_a_model_labels_as_a_function_does(tmp_path, rng):
    x = rng.normal(size=(20, 4)).astype("float32")
    teacher = keras.Sequential([keras.Input((4,)), keras.layers.Dense(7), keras.layers.Dropout(0.9)])
    stored = write_targets(teacher, x, tmp_path / "store", batch_size=8, **{**OPTIONS, "k": 3})
    ids, log_probs, _ = exact(teacher.predict(x, verbose=0), 3)
    assert (read_all(stored)[..., 0] == ids).all()
    assert close_in_float16(read_all(stored)[..., 1], log_probs)


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
    assert close_in_float16(np.sort(read_all(stored)[..., 1])[..., ::-1], exact(rounded)[1])


@pytest.mark.parametrize("targets", ["probs", "log_probs"])
def test_probabilities_and_their_logarithms_are_tempered_as_logits_are(tmp_path, logits, directory, targets):
    given = log_softmax(logits.astype("float64"))
    given = np.exp(given) if targets == "probs" else given
    stored = write_targets(same, given.astype("float32"), tmp_path / "given", **{**OPTIONS, "targets": targets})
    expected = read_all(StoredTargets(directory))
    assert (read_all(stored)[..., 0] == expected[..., 0]).all()
    assert close_in_float16(read_all(stored)[..., 1], expected[..., 1])


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

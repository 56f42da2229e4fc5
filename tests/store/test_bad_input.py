"""Wrong arguments, and what a teacher must not say."""

import sys

import keras
import numpy as np
import pytest

from keras_xent.distill.store import StoredTargets, examples_kept, write_targets

from ..backends import array, tensor
from .stores import CLASSES, OPTIONS, Batches, data_loader, log_softmax, same


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


def test_a_keras_teacher_is_told_as_plainly(tmp_path, logits):
    teacher = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError) as error:
        write_targets(teacher, logits, tmp_path / "store", **OPTIONS)
    assert str(error.value) == "k=5, but the teacher has num_classes=4. Expected k <= 4."


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
        r"a DataLoader that shuffles, so": torch.utils.data.DataLoader(logits, batch_sampler=shuffling.batch_sampler),
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

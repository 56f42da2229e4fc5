"""Labels made on several machines give the store of one."""

import numpy as np
import pyarrow
import pytest

from keras_xent.distill.store import Labeller, write_labelled

from .stores import CLASSES, OPTIONS, TEMPERATURE, K, exact, same, same_stores


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
        "temperature": np.float64,
    }
    options = {**OPTIONS, "shard_size": 16, "num_classes": CLASSES, "num_examples": 50}
    batches.insert(3, {name: values[:0] for name, values in labelled.items()})  # a cluster has empty blocks, too
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
    assert same_stores(tmp_path / "other", tmp_path / "third")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda batches: batches[:-1], r"Example 8 is missing; expected each of the 12 examples once"),
        (lambda batches: [*batches, batches[1]], r"Example 4 comes twice"),
        (lambda batches: [{**batches[0], "index": np.array([0, 2, 1, 3])}], r"must hold examples that follow one another"),
        (lambda batches: [{**batches[0], "index": np.arange(10, 14)}], r"from 0 to 11. Received: index from 10 to 13"),
        (lambda batches: [{**batches[0], "ids": batches[0]["ids"] + 1}], r"`ids` holds class 300, but num_classes=300"),
        (lambda batches: [{**batches[0], "ids": batches[0]["ids"][:, 1:]}], r"k=5, but the labelled batches hold 4"),
        (
            lambda batches: [{**batches[0], "temperature": np.full(4, 3.0)}],
            r"temperature=2.0, but .* labelled at temperature=3.0",
        ),
        (lambda batches: [{"ids": batches[0]["ids"]}], r"must hold 'index', 'ids'.* Missing: \['index', 'log_probs'"),
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


def test_a_labeller_wants_one_teacher_and_named_inputs():
    with pytest.raises(ValueError, match=r"must hold 'index', 'x'. Missing: \['x'\]. Received: \['index'\]"):
        Labeller(same, k=K, temperature=TEMPERATURE, targets="logits")({"index": np.arange(2)})
    with pytest.raises(ValueError, match=r"must be a keras.Model or a function .* Received: 'bert' of type str"):
        Labeller("bert", k=K, temperature=TEMPERATURE, targets="logits")
    for arguments in ({}, {"teacher": same, "build_teacher": lambda: same}):
        with pytest.raises(ValueError, match=r"Pass one of `teacher` and `build_teacher`"):
            Labeller(**arguments, k=1, temperature=1.0, targets="logits")

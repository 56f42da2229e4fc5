"""A store that was interrupted goes on, alone in its directory, also after a full disk."""

import contextlib
import errno
import os
import resource
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_xent.distill.store import StoredTargets, examples_kept, files, write_targets

from .stores import OPTIONS, SOURCES, Batches, Recorder, same, same_stores


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
    assert same_stores(path, tmp_path / "whole")
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
        assert same_stores(path, tmp_path / "whole"), last
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


@pytest.mark.parametrize("breaks_at", [5, None])
@pytest.mark.parametrize("changed", [0, 20, 49])
def test_one_array_that_differs_is_found_wherever_it_is(tmp_path, logits, changed, breaks_at):
    options = {"batch_size": 8, "shard_size": 16, **OPTIONS}
    with contextlib.suppress(KeyboardInterrupt):
        write_targets(Recorder(breaks_at=breaks_at), logits, tmp_path / "store", **options)
    other = logits.copy()
    other[changed, 7] += 1
    if breaks_at and changed == 49:  # not labelled yet
        write_targets(same, other, tmp_path / "store", **options)
        return
    with pytest.raises(ValueError, match=rf"`data` is not what .* the inputs of shard-0000{changed // 16}.arrow"):
        write_targets(same, other, tmp_path / "store", **options)


@pytest.mark.parametrize("source", ["PyDataset", "tf.data", "DataLoader"])
def test_other_data_for_a_complete_store(tmp_path, logits, source):
    write_targets(same, SOURCES[source](logits, 8), tmp_path / "store", shard_size=16, **OPTIONS)
    assert len(write_targets(same, SOURCES[source](logits, 8), tmp_path / "store", shard_size=16, **OPTIONS)) == 2
    with pytest.raises(ValueError, match=r"`data` is not what the teacher saw: the inputs of shard-00000.arrow"):
        write_targets(same, SOURCES[source](logits[::-1].copy(), 8), tmp_path / "store", shard_size=16, **OPTIONS)


class Breaking(Batches):
    breaks_at: int | None = None

    def __getitem__(self, index):
        if index == self.breaks_at:
            raise KeyboardInterrupt
        return super().__getitem__(index)


@pytest.mark.parametrize("breaks_at", [2, None])
def test_another_teacher_is_refused(tmp_path, rng, breaks_at):
    """One that was trained on, for example: a store holds what one teacher said."""
    data = Breaking(rng.normal(size=(24, 6)).astype("float32"), 8)
    teacher = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    options = {**OPTIONS, "k": 2, "shard_size": 8}
    data.breaks_at = breaks_at
    with contextlib.suppress(KeyboardInterrupt):
        write_targets(teacher, data, tmp_path / "store", **options)
    assert examples_kept(tmp_path / "store") == (24 if breaks_at is None else 16)
    data.breaks_at = None
    kernel = teacher.get_weights()[0]
    teacher.layers[0].kernel.assign(kernel + 0.01)
    with pytest.raises(ValueError, match=r"`teacher` is not the one that labelled .*shard-00000.arrow: the checksum"):
        write_targets(teacher, data, tmp_path / "store", **options)
    teacher.layers[0].kernel.assign(kernel)
    assert write_targets(teacher, data, tmp_path / "store", **options).num_examples == 24


def test_another_torch_module_is_refused(tmp_path, logits):
    torch = pytest.importorskip("torch")
    teacher, data = torch.nn.Linear(300, 8).eval(), SOURCES["DataLoader"](logits, 8)
    options = {**OPTIONS, "k": 2}
    write_targets(teacher, data, tmp_path / "store", **options)
    with torch.no_grad():
        teacher.bias += 1
    with pytest.raises(ValueError, match=r"`teacher` is not the one that labelled"):
        write_targets(teacher, data, tmp_path / "store", **options)


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

"""Damaged and foreign files are named, not read."""

import pickle

import numpy as np
import pyarrow
import pytest

from keras_xent.distill.store import StoredTargets, files, write_targets

from .stores import CLASSES, OPTIONS, K, Recorder, flip, read_all, same


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

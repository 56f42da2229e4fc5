"""What a store says of itself: `manifest.json`, and while it is being written one small file per finished shard.

A shard is kept from the moment its own file is there, so that no central file can tear; the last step gathers them in the
manifest and marks it complete.
"""

import re

from . import files

MANIFEST = "manifest.json"
FORMAT = 1
SHARD = re.compile(r"shard-\d{5,}\.arrow")


def shard_name(number):
    """The file of a shard."""
    return f"shard-{number:05d}.arrow"


def record_path(directory, name):
    """Where a finished shard is recorded until the store is complete."""
    return (directory / name).with_suffix(".json")


def read_manifest(directory):
    """The manifest; a directory without one is an error."""
    path = directory / MANIFEST
    if not path.exists():
        found = "it holds no manifest.json" if directory.is_dir() else "there is no such directory"
        raise ValueError(f"No store at {directory}: {found}. Write one with `write_targets(teacher, data, path, ...)`.")
    manifest = files.read_json(path)
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"{path} is of format {manifest.get('format')}, but this version of keras_xent reads format {FORMAT}. "
            f"It was written by {manifest.get('versions')}."
        )
    return manifest


def kept_records(directory):
    """The records of the shards that are finished, in order, of a store that is still being written."""
    records, examples = [], 0
    while (path := record_path(directory, shard_name(len(records)))).exists():
        record = files.read_json(path)
        if record.get("file") != shard_name(len(records)) or record.get("first_example") != examples:
            raise ValueError(
                f"{path} records {record.get('file')} from example {record.get('first_example')}. Expected: "
                f"{shard_name(len(records))} from example {examples}. Remove it and its shard, and make the same call again."
            )
        records.append(record)
        examples += record["examples"]
    return records


def refuse_other_settings(directory, kept, wanted):
    """A store goes on only as it began: names the first thing that differs, on both sides."""
    for name, value in wanted.items():
        if kept.get(name) != value:
            raise ValueError(
                f"The store at {directory} was begun with {name}={kept.get(name)!r}. Received: {name}={value!r}. "
                "Make the same call to go on with it, or write to another directory."
            )


def refuse_foreign(directory, names):
    """Only what a store consists of may lie in its directory; hidden files do not count."""
    allowed = {MANIFEST, *names, *(record_path(directory, name).name for name in names)}
    for file in sorted(directory.iterdir()):
        if file.name not in allowed and not file.name.startswith("."):
            what = "a shard that the manifest does not list" if SHARD.fullmatch(file.name) else "no part of the store"
            raise ValueError(f"{file} is {what}. Move it out of the directory; a store's directory holds nothing else.")


def check_sizes(directory, records):
    """Every shard is there and as long as it was: what can be seen without reading it."""
    for record in records:
        path = directory / record["file"]
        if not path.exists():
            raise ValueError(f"{path} is missing. {how_to_mend(path)}")
        size = path.stat().st_size
        if size != record["bytes"]:
            raise ValueError(f"{path} is {size} bytes long, but was written with {record['bytes']}. {how_to_mend(path)}")


def how_to_mend(path):
    """What to do about a damaged shard."""
    return (
        f"Put back an intact copy, or label again into another directory. ({path.name} is damaged, or a shard of another store; "
        "nothing of it was read.)"
    )

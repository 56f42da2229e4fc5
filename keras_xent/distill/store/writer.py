"""Shards, one after the other: each is whole and recorded before the next begins."""

import contextlib
import hashlib
import json
from typing import Any

import keras
import numpy as np

from . import arguments, files, manifest
from .columns import bytes_per_position, narrow, to_table

SHARD_BYTES = 64 * 2**20


@contextlib.contextmanager
def store_writer(directory, settings):
    """A `StoreWriter` that is alone in its directory."""
    arguments.arrow()
    begun = (directory / manifest.MANIFEST).exists()
    if directory.is_dir() and not begun:
        manifest.refuse_foreign(directory, ())
    directory.mkdir(parents=True, exist_ok=True)
    with files.only_writer(directory):
        files.remove_unfinished(directory)
        yield StoreWriter(directory, settings)


class StoreWriter:
    """Collects labelled batches into shards.

    `batches` and `examples` say how much is kept. A shard holds whole batches: at least `shard_size` examples, but for the last.
    """

    def __init__(self, directory, settings):
        self.directory, self.settings = directory, settings
        self.records, self.complete, self._parts, self.teacher_crc = [], False, [], None
        if (directory / manifest.MANIFEST).exists():
            self._continue(manifest.read_manifest(directory))
        self.batches = sum(record["batches"] for record in self.records)
        self.examples = sum(record["examples"] for record in self.records)

    def _continue(self, kept):
        if self.settings.get("shard_size") is None:
            self.settings["shard_size"] = kept["settings"].get("shard_size")
        if self.settings.get("num_classes") is None:
            self.settings["num_classes"] = kept["settings"].get("num_classes")
        manifest.refuse_other_settings(self.directory, kept["settings"], self.settings)
        self.settings = {**kept["settings"], **self.settings}
        self.complete = kept["complete"]
        self.records = kept["shards"] if self.complete else manifest.kept_records(self.directory)
        names = [record["file"] for record in self.records]
        # the next shard may have its name already, but no record: it is written again
        manifest.refuse_foreign(self.directory, names if self.complete else [*names, manifest.shard_name(len(names))])
        for record in self.records:
            if record["settings"] != fingerprint(self.settings):
                raise ValueError(
                    f"{self.directory / record['file']} is a shard of another store. Remove it with its record, "
                    f"{record['file'].replace('.arrow', '.json')}, and make the same call again."
                )
        manifest.check_sizes(self.directory, self.records)
        if self.complete:
            self._remove_records()

    def append(self, labelled, num_classes, inputs_crc=None):
        """One labelled batch; keeps the shard if it is full."""
        self._settle(labelled, num_classes)
        part = narrow(labelled, num_classes, self.settings["dtype"])
        self._parts.append(part)
        if self.settings["shard_size"] <= sum(len(part["ids"]) for part in self._parts):
            self._keep(inputs_crc)

    def room(self):
        """How many examples fit into the shard that is being filled; None before the first batch has told."""
        size = self.settings.get("shard_size")
        return None if size is None else size - sum(len(part["ids"]) for part in self._parts)

    def _settle(self, labelled, num_classes):
        """What only the first batch tells; the same must hold of each."""
        shape: Any = np.shape(labelled["ids"])
        # several axes of positions are stored as one, so that they must be the same in each example
        learned = {"num_classes": num_classes, "position_axes": len(shape) - 2}
        if len(shape) > 3:
            learned["position_shape"] = list(shape[1:-1])
        if self.settings.get("shard_size") is None:
            size = int(np.prod(shape[1:-1])) * bytes_per_position(shape[-1], num_classes, self.settings["dtype"])
            learned["shard_size"] = max(1, SHARD_BYTES // max(1, size))
        started = self.settings.get("position_axes") is not None
        known = {name: value for name, value in learned.items() if self.settings.get(name) is not None}
        manifest.refuse_other_settings(self.directory, self.settings, known)
        self.settings |= learned
        if not started:
            files.write_json(self.directory / manifest.MANIFEST, self._manifest(complete=False))

    def _keep(self, inputs_crc):
        name = manifest.shard_name(len(self.records))
        path = self.directory / name
        settings = fingerprint(self.settings)
        about = {"settings": settings, "first_example": self.examples}
        table = to_table(self._parts, self.settings["k"], json.dumps(about))
        content = arguments.arrow().BufferOutputStream()
        with arguments.arrow().ipc.new_file(content, table.schema) as sink:
            sink.write_table(table, max_chunksize=max(1, table.num_rows))
        content = memoryview(content.getvalue())
        with files.written_whole(path) as file:
            file.write(content)
        lengths = [int(np.prod(part["log_rest"].shape[1:])) for part in self._parts]
        positions = sum(length * len(part["ids"]) for length, part in zip(lengths, self._parts, strict=True))
        record = {
            "file": name,
            "examples": table.num_rows,
            "first_example": self.examples,
            "positions": positions,
            "shortest": min(lengths),
            "longest": max(lengths),
            "batches": len(self._parts),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "inputs_crc32": inputs_crc,
            "teacher_crc32": self.teacher_crc,
            "settings": settings,
        }
        files.write_json(manifest.record_path(self.directory, name), record)
        self.records.append(record)
        self.batches, self.examples, self._parts = self.batches + len(self._parts), self.examples + table.num_rows, []

    def finish(self, inputs_crc=None):
        """Keeps what is left, and marks the store complete."""
        if self._parts:
            self._keep(inputs_crc)
        if not self.records:
            raise ValueError("`data` holds no examples; a store needs at least one.")
        files.write_json(self.directory / manifest.MANIFEST, self._manifest(complete=True))
        self._remove_records()
        self.complete = True

    def _remove_records(self):
        """The manifest has them now."""
        for record in self.records:
            manifest.record_path(self.directory, record["file"]).unlink(missing_ok=True)

    def _manifest(self, complete):
        from ... import __version__

        totals = {name: sum(record[name] for record in self.records) for name in ("examples", "positions", "bytes")}
        versions = {"keras_xent": __version__, "keras": keras.__version__, "pyarrow": arguments.arrow().__version__}
        content = {"format": manifest.FORMAT, "complete": complete, "settings": self.settings, "versions": versions}
        return {**content, **totals, "shards": self.records} if complete else content


def fingerprint(settings):
    """Tells shards of stores with other settings apart."""
    return files.checksum_of(settings)[:16]

"""A finished shard, opened when it is first needed and compared with what the manifest says of it."""

import dataclasses
import json
from typing import Any

import numpy as np

from . import arguments, files
from .columns import NAMES, from_table, ids_dtype
from .manifest import how_to_mend, shard_name


@dataclasses.dataclass(frozen=True)
class Shard:
    """Memory-mapped columns; `starts` says where each example's positions begin, or is None if each has one."""

    ids: np.ndarray
    log_ratios: np.ndarray
    log_rest: np.ndarray
    starts: np.ndarray | None

    def rows(self, first, last):
        """Where the positions of some examples begin and end."""
        return (first, last) if self.starts is None else (int(self.starts[first]), int(self.starts[last]))


def open_shard(directory, record, settings, verify):
    """The shard, or a `ValueError` that names its file; no number of a damaged or foreign one is used."""
    path = directory / record["file"]
    if verify:
        check_content(path, record, settings)
    try:
        table = read_table(path)
        expected = (settings["k"], ids_dtype(settings["num_classes"]), settings["dtype"], record["examples"])
        if described(table, settings) != (*expected, settings["position_axes"] > 0):
            raise ValueError("other columns than those of the manifest")
        columns, starts = from_table(table)
    except (arguments.arrow().ArrowException, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} cannot be read: {error}. {how_to_mend(path)}") from error
    if verify and len(columns["ids"]) and columns["ids"].max() >= settings["num_classes"]:
        raise ValueError(
            f"{path} holds class {columns['ids'].max()}, but the store has num_classes={settings['num_classes']} "
            f"(0 to {settings['num_classes'] - 1}). {how_to_mend(path)}"
        )
    return Shard(columns["ids"], columns["log_ratios"], columns["log_rest"], starts)


def check_content(path, record, settings):
    """The checksum; where it differs, whether the shard is another store's."""
    found = files.checksum(path)
    if found == record["sha256"]:
        return
    try:
        about = json.loads(read_table(path).schema.metadata[b"keras_xent"])
        foreign = about["settings"] != files.checksum_of(settings)[:16] or about["first_example"] != record["first_example"]
    except (arguments.arrow().ArrowException, OSError, ValueError, KeyError, TypeError):
        foreign = False
    what = "was written for another store, or another place in this one" if foreign else "is damaged"
    raise ValueError(f"{path} {what}: its SHA-256 is {found}, the manifest has {record['sha256']}. {how_to_mend(path)}")


def read_table(path) -> Any:
    """The table of a shard, mapped into memory."""
    arrow = arguments.arrow()
    return arrow.ipc.open_file(arrow.memory_map(str(path))).read_all()


def described(table, settings):
    """What the columns are: k, dtypes, examples, and whether there are lists of positions."""
    arrow = arguments.arrow()
    types = [table.schema.field(name).type for name in NAMES]
    lists = [arrow.types.is_large_list(kind) for kind in types]
    ids, log_ratios, log_rest = (kind.value_type if is_list else kind for kind, is_list in zip(types, lists, strict=True))
    if len(set(lists)) > 1 or ids.list_size != log_ratios.list_size or log_rest != arrow.float32():
        raise ValueError("columns that do not fit each other")
    if table.column(0).num_chunks != 1 or any(column.null_count for column in table.columns):
        raise ValueError("several record batches, or missing values")
    dtypes = (np.dtype(kind.value_type.to_pandas_dtype()).name for kind in (ids, log_ratios))
    return ids.list_size, *dtypes, table.num_rows, lists[0]


def expected_names(records):
    """The files of a complete store, which are numbered without gaps."""
    names = [record["file"] for record in records]
    if names != [shard_name(number) for number in range(len(names))]:
        raise ValueError(f"The manifest lists shards that are not numbered from 0: {names[:3]}...")
    return names

"""Examples out of several shards, in any order, as columns of a batch."""

import numpy as np

from .columns import NAMES


def gather_equal(shard_of, numbers, rows, length):
    """Columns of shape (examples, positions, ...), where every example has `length` positions."""
    columns = {}
    for number in np.unique(numbers):
        chosen = numbers == number
        for name in NAMES:
            values = getattr(shard_of(number), name)
            values = values.reshape(-1, length, *values.shape[1:])[rows[chosen]]
            if name not in columns:
                columns[name] = np.empty((len(rows), *values.shape[1:]), values.dtype)
            columns[name][chosen] = values
    return [columns[name] for name in NAMES]


def gather_ragged(shard_of, numbers, rows):
    """Columns with the positions of all examples, one after the other, and how many each example has."""
    shards = [shard_of(number) for number in numbers]
    spans = [shard.rows(row, row + 1) for shard, row in zip(shards, rows, strict=True)]
    lengths = np.array([last - first for first, last in spans])
    columns = []
    for name in NAMES:
        parts = [getattr(shard, name)[first:last] for shard, (first, last) in zip(shards, spans, strict=True)]
        columns.append(np.concatenate(parts))
    return columns, lengths

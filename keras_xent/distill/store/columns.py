"""The columns of a shard: from what a teacher said to Arrow and back.

An example is a record, with one of each of these, or a list of one of each per position:

- `ids`: its k most probable classes, the most probable first;
- `log_ratios`: log p_i - log p_1 of each, so that the first is 0;
- `log_rest`: log r, the logarithm of what is left to all other classes.

log p_i = log_ratio_i + log(1 - r) - log Σ_j exp(log_ratio_j)

Why so: log-probabilities in float16 would be coarse where all are small (0.004 at p = 1e-4), and lose r, which is 1 - Σ p_i,
where the k classes hold nearly everything. Ratios are fine where they matter, with as many bytes (`examples/measure_store.py`).
"""

import math

import numpy as np

from . import arguments

NAMES = ("ids", "log_ratios", "log_rest")


def ids_dtype(num_classes):
    """The smallest dtype that holds every class id."""
    return next(dtype for dtype in ("uint8", "uint16", "uint32") if num_classes - 1 <= np.iinfo(dtype).max)


def bytes_per_position(k, num_classes, dtype):
    """What one distribution takes."""
    return k * (np.dtype(ids_dtype(num_classes)).itemsize + np.dtype(dtype).itemsize) + 4


def narrow(labelled, num_classes, dtype):
    """The columns in the dtypes that are stored."""
    log_probs = np.asarray(labelled["log_probs"])
    with np.errstate(over="ignore"):  # below float16 a probability is 0 as well
        log_ratios = (log_probs - log_probs[..., :1]).astype(dtype)
    return {
        "ids": np.asarray(labelled["ids"]).astype(ids_dtype(num_classes)),
        "log_ratios": log_ratios,
        "log_rest": np.asarray(labelled["log_rest"]).astype("float32"),
    }


def widen(ids, log_ratios, log_rest):
    """Pairs of a class id and its log-probability, float32, as `top_k_targets` makes them.

    log p_i = log_ratio_i + log(1 - r) - log1p(Σ_{j≠1} exp(log_ratio_j))
    """
    log_ratios = log_ratios.astype("float32")
    with np.errstate(divide="ignore"):  # nothing is left
        log_listed = np.log(-np.expm1(log_rest.astype("float64")))
    others = np.exp(log_ratios[..., 1:]).sum(-1, dtype="float64")
    pairs = np.empty((*ids.shape, 2), "float32")
    pairs[..., 0] = ids
    pairs[..., 1] = log_ratios + (log_listed - np.log1p(others)).astype("float32")[..., None]
    return pairs


def to_table(parts, k, metadata):
    """An Arrow table out of batches of narrow columns; positions may differ in number from batch to batch."""
    arrow = arguments.arrow()
    columns = {name: np.concatenate([part[name].reshape(-1) for part in parts]) for name in NAMES}
    columns = {name: arrow.array(values) for name, values in columns.items()}
    for name in ("ids", "log_ratios"):
        columns[name] = arrow.FixedSizeListArray.from_arrays(columns[name], k)
    if parts[0]["log_rest"].ndim > 1:
        lengths = np.concatenate([np.full(len(part["log_rest"]), math.prod(part["log_rest"].shape[1:])) for part in parts])
        offsets = arrow.array(np.concatenate([[0], np.cumsum(lengths)]).astype("int64"))
        columns = {name: arrow.LargeListArray.from_arrays(offsets, values) for name, values in columns.items()}
    return arrow.table(columns).replace_schema_metadata({"keras_xent": metadata})


def from_table(table):
    """The columns as flat arrays without a copy, and where each record starts (None: one position each)."""
    arrow = arguments.arrow()
    columns, starts = {}, None
    for name in NAMES:
        column = table.column(name).chunk(0)
        if arrow.types.is_large_list(column.type):
            starts = column.offsets.to_numpy()
            column = column.values
        k = column.type.list_size if arrow.types.is_fixed_size_list(column.type) else None
        values = (column if k is None else column.values).to_numpy(zero_copy_only=True)
        columns[name] = values if k is None else values.reshape(-1, k)
    return columns, starts

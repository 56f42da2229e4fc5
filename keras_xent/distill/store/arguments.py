"""Every argument of the store: a `ValueError` says what was passed, what was expected and what to do."""

import importlib
from pathlib import Path
from typing import Any

from ... import _checks

TARGETS = ("logits", "probs", "log_probs")
DTYPES = ("float16", "float32")


def whole(name, value, low, what="a whole number"):
    """An int from `low`."""
    number = _checks.number(name, value, low)
    if number % 1:
        raise ValueError(f"`{name}` must be {what} of at least {low}. Received: {name}={value!r}.")
    return int(number)


def settings(k, temperature, targets, dtype):
    """What a store's numbers depend on, each checked."""
    return {
        "k": whole("k", k, 1),
        "temperature": _checks.number("temperature", temperature, 0.0, open_low=True),
        "targets": _checks.choice("targets", targets, TARGETS),
        "dtype": _checks.choice("dtype", dtype, DTYPES),
    }


def keys_of(what, batch, wanted):
    """What a batch has to hold."""
    missing = [key for key in wanted if key not in batch]
    if missing:
        raise ValueError(f"{what} must hold {', '.join(map(repr, wanted))}. Missing: {missing}. Received: {sorted(batch)}.")


def number_of_classes(num_classes, width, k):
    """How many classes of a teacher's `width` outputs count."""
    if num_classes is not None and num_classes > width:
        raise ValueError(f"num_classes={num_classes}, but the teacher has {width} outputs. Expected at most {width}.")
    num_classes = width if num_classes is None else num_classes
    if num_classes < 2:
        raise ValueError(f"The teacher has {num_classes} class; expected num_classes > 1, on the last axis of its output.")
    if k > num_classes:
        raise ValueError(f"k={k}, but the teacher has num_classes={num_classes}. Expected k <= {num_classes}.")
    return num_classes


def directory(path):
    """A `Path` out of a string or a path."""
    if not isinstance(path, (str, Path)) and not hasattr(path, "__fspath__"):
        raise ValueError(f"`path` must name a directory. Received: path={path!r} of type {type(path).__name__}.")
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise ValueError(f"`path` must name a directory, but {path} is a file. A store is a directory of shards.")
    return path


def arrow() -> Any:
    """`pyarrow`, which is imported when a store is written or read, not before."""
    try:
        importlib.import_module("pyarrow.ipc")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ImportError("A store needs `pyarrow`. Run: pip install 'keras_xent[store]'") from error

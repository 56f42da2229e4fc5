"""A small teacher's logits, and a store of them."""

import pytest

from keras_xent.distill.store import write_targets

from .stores import CLASSES, OPTIONS, same


@pytest.fixture
def logits(rng):
    return rng.normal(size=(50, CLASSES)).astype("float32") * 3


@pytest.fixture
def directory(tmp_path, logits):
    """A store of four shards."""
    write_targets(same, logits, tmp_path / "store", batch_size=8, shard_size=16, **OPTIONS)
    return tmp_path / "store"

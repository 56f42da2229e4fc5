"""What the tests of stores share: teachers, sources of data, and ways to spoil a file."""

import keras
import numpy as np
import pytest

from keras_xent.distill.store import StoredTargets, files

from ..backends import array

CLASSES, K, TEMPERATURE = 300, 5, 2.0
OPTIONS = {"k": K, "temperature": TEMPERATURE, "targets": "logits", "verbose": 0}


def log_softmax(logits):
    depths = logits - logits.max(-1, keepdims=True)
    return depths - np.log(np.exp(depths).sum(-1, keepdims=True))


def exact(logits, k=K, temperature=TEMPERATURE):
    """Ids and log-probabilities of the k largest, and the logarithm of the rest, in float64."""
    log_probs = log_softmax(np.asarray(logits, "float64") / temperature)
    order = np.argsort(-log_probs, axis=-1, kind="stable")
    ids, rest = order[..., :k], order[..., k:]
    with np.errstate(divide="ignore"):
        log_rest = np.log(np.exp(np.take_along_axis(log_probs, rest, -1)).sum(-1))
    return ids, np.take_along_axis(log_probs, ids, -1), log_rest


def close_in_float16(actual, expected):
    """Log-probabilities as float16 keeps them: relative to the largest, which is kept by what is left to the others."""
    return bool((np.abs(actual - expected) <= 2.0**-11 * np.ptp(expected, axis=-1, keepdims=True) + 1e-5).all())


def read_all(stored):
    return np.concatenate([stored[i] for i in range(len(stored))])


def same(x):
    """A teacher whose inputs are its outputs."""
    return x


class Recorder:
    """The same, which remembers how many batches it saw."""

    def __init__(self, *, breaks_at=None):
        self.seen, self.breaks_at = [], breaks_at

    def __call__(self, x):
        if len(self.seen) == self.breaks_at:
            raise KeyboardInterrupt
        self.seen.append(array(x) if not hasattr(x, "numpy") else x.numpy())
        return x


class Batches(keras.utils.PyDataset):
    def __init__(self, logits, size, labels=None, weights=None):
        super().__init__()
        self.parts, self.size = [logits, *(part for part in (labels, weights) if part is not None)], size

    def __len__(self):
        return -(-len(self.parts[0]) // self.size)

    def __getitem__(self, index):
        return tuple(part[index * self.size : (index + 1) * self.size] for part in self.parts)


def tf_dataset(logits, size):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((logits, np.zeros(len(logits)))).batch(size)


def tf_dataset_of_unknown_length(logits, size):
    return tf_dataset(logits, 1).unbatch().filter(lambda *_: True).batch(size)


def data_loader(logits, size):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(logits), torch.zeros(len(logits)))
    return torch.utils.data.DataLoader(data, batch_size=size)


SOURCES = {
    "arrays": lambda logits, size: logits,
    "arrays with labels": lambda logits, size: (logits, np.zeros(len(logits))),
    "PyDataset": Batches,
    "tf.data": tf_dataset,
    "tf.data of unknown length": tf_dataset_of_unknown_length,
    "DataLoader": data_loader,
}


def flip(path, at=-1000, mask=0x10):
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


def same_stores(one, other):
    """Whether two stores have the same files, the same records, and the same examples."""
    assert [file.name for file in sorted(one.glob("*"))] == [file.name for file in sorted(other.glob("*"))]
    assert recorded(one) == recorded(other)
    return same_examples(one, other)


def same_examples(one, other):
    """Numbers may differ by a rounding: a backend may add the same row up in another order if it lies elsewhere in memory."""
    (ids, numbers), (other_ids, other_numbers) = (
        np.moveaxis(read_all(StoredTargets(directory, verify="open")), -1, 0) for directory in (one, other)
    )
    next_in_float16 = 2.0**-10 * np.ptp(other_numbers, axis=-1, keepdims=True) + 1e-5
    return bool((ids == other_ids).all() and (np.abs(numbers - other_numbers) <= next_in_float16).all())


def recorded(directory):
    """What the manifest says, without the checksums of what was computed."""
    manifest = files.read_json(directory / "manifest.json")
    shards = [{name: value for name, value in shard.items() if name != "sha256"} for shard in manifest["shards"]]
    return {name: value for name, value in manifest.items() if name != "checksum"} | {"shards": shards}

"""What does a stored teacher cost and save? Bytes per token, tokens per second, an epoch from the store and with the teacher.

Also what was decided by measurement: Arrow or Parquet for shuffled reading, and how exact the loss stays in which dtype.

    python examples/measure_store.py --backend jax
"""

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

FULL = {"examples": 2048, "length": 128, "classes": 32000, "k": 64, "labelled": 64, "repeats": 5}
QUICK = {"examples": 128, "length": 16, "classes": 2000, "k": 16, "labelled": 64, "repeats": 2}
BACKENDS = ("tensorflow", "jax", "torch")
BATCH_SIZE, TEMPERATURE = 16, 2.0


def parse_arguments(arguments=None):
    """The settings, checked before anything slow happens."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = os.environ.get("KERAS_BACKEND") or "tensorflow"
    parser.add_argument("--backend", default=default, choices=BACKENDS, help="of Keras (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a check, with a smaller teacher")
    settings = parser.parse_args(arguments)
    missing = [name for name in (settings.backend, "pyarrow") if importlib.util.find_spec(name) is None]
    if missing:
        parser.exit(
            2, f"{parser.prog}: error: not installed: {', '.join(missing)}. Run: pip install '.[store,{settings.backend}]'\n"
        )
    return settings


if __name__ == "__main__":
    settings = parse_arguments()
    os.environ["KERAS_BACKEND"] = settings.backend  # Keras reads it when it is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow  # noqa: E402
import pyarrow.parquet  # noqa: E402

import keras_xent  # noqa: E402
from keras_xent.distill.store import StoredTargets, write_labelled, write_targets  # noqa: E402
from keras_xent.distill.store.columns import narrow, widen  # noqa: E402


def seconds(function, repeats):
    """The median time of a call, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        function()
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


# ------------------------------------------------------------------------------------------------- the store by itself


def drawn(sizes, rng):
    """What a teacher might have said: distributions that fall off, some nearly certain."""
    shape = (sizes["examples"], sizes["length"], sizes["k"])
    log_probs = np.cumsum(-rng.exponential(0.3, shape), axis=-1)
    rest = 10 ** -rng.uniform(0.1, 6, shape[:-1])
    log_probs += (np.log1p(-rest) - np.log(np.exp(log_probs).sum(-1)))[..., None]
    ids = np.argsort(rng.random((sizes["examples"], 1, sizes["classes"])), axis=-1)[..., : sizes["k"]]
    ids = (ids + rng.integers(0, sizes["classes"], shape[:-1])[..., None]) % sizes["classes"]
    return {"ids": ids.astype("int32"), "log_probs": log_probs.astype("float32"), "log_rest": np.log(rest).astype("float32")}


def measure_files(sizes, directory, rng):
    """Bytes, tokens per second written and read, and Parquet beside it."""
    labelled, tokens = drawn(sizes, rng), sizes["examples"] * sizes["length"]
    starts = range(0, sizes["examples"], BATCH_SIZE)
    batches = [
        {
            "index": np.arange(start, start + BATCH_SIZE),
            **{name: part[start : start + BATCH_SIZE] for name, part in labelled.items()},
        }
        for start in starts
    ]
    options = {"k": sizes["k"], "temperature": TEMPERATURE, "targets": "logits", "num_classes": sizes["classes"], "verbose": 0}
    rows = []
    for dtype in ("float16", "float32"):
        path = directory / dtype

        def write(path=path, dtype=dtype):
            shutil.rmtree(path, ignore_errors=True)
            write_labelled(batches, path, num_examples=sizes["examples"], dtype=dtype, **options)

        written = seconds(write, sizes["repeats"])
        stored = {shuffle: StoredTargets(path, batch_size=BATCH_SIZE, shuffle=shuffle) for shuffle in (False, True)}
        read = {
            shuffle: seconds(lambda it=stored[shuffle]: [it[i] for i in range(len(it))], sizes["repeats"]) for shuffle in stored
        }
        size = sum(file.stat().st_size for file in path.glob("*.arrow")) / tokens
        rows.append((dtype, size, tokens / written, tokens / read[False], tokens / read[True]))
    print(f"\nThe store by itself: {tokens} tokens, k={sizes['k']} of {sizes['classes']}; in tokens per second")
    print(f"{'dtype':8} {'bytes/token':>12} {'written':>12} {'in order':>12} {'shuffled':>12}")
    for dtype, size, *speeds in rows:
        print(f"{dtype:8} {size:12.1f}" + "".join(f" {speed:12,.0f}" for speed in speeds))
    measure_parquet(directory / "float16", tokens, sizes, rng)


def measure_parquet(path, tokens, sizes, rng):
    """The same columns in Parquet, of which only the reading is counted."""
    shards = [pyarrow.ipc.open_file(pyarrow.memory_map(str(file))).read_all() for file in sorted(path.glob("*.arrow"))]
    table = pyarrow.concat_tables(shards)
    few = rng.permutation(sizes["examples"])[: sizes["labelled"]]
    print(f"\nShuffled batches of {BATCH_SIZE} examples: bytes per token, tokens per second")
    stored = StoredTargets(path, batch_size=BATCH_SIZE, shuffle=True)
    speed = len(few) * sizes["length"] / seconds(lambda: [stored[i] for i in range(len(few) // BATCH_SIZE)], sizes["repeats"])
    size = sum(file.stat().st_size for file in path.glob("*.arrow")) / tokens
    print(f"Arrow, made ready for the loss      {size:8.1f} {speed:14,.0f}")
    for compression in ("none", "zstd"):
        for group in (1, BATCH_SIZE):
            file = path.parent / f"{compression}-{group}.parquet"
            pyarrow.parquet.write_table(table, file, row_group_size=group, compression=compression)
            opened = pyarrow.parquet.ParquetFile(file, memory_map=True)

            def read_parquet(opened=opened, group=group):
                for start in range(0, len(few), BATCH_SIZE):
                    for example in few[start : start + BATCH_SIZE]:
                        opened.read_row_group(int(example) // group).slice(int(example) % group, 1)

            speed = len(few) * sizes["length"] / seconds(read_parquet, 1)
            print(f"Parquet, {compression:5} row groups of {group:2}     {file.stat().st_size / tokens:8.1f} {speed:14,.0f}")


# -------------------------------------------------------------------------------------------------- how exact the loss is


def measure_errors(rng):
    """Losses from stored targets against those from exact ones: the mean, and the worst example."""
    print("\nRelative error of the loss (KL, bucket): of the mean of 256 examples / of the worst one; k=32 of 2000 classes")
    print(f"{'teacher':10} {'student':20} {'log p in float16':>20} {'stored, float16':>20} {'stored, float32':>20}")
    for teacher, scale in {"flat": 0.3, "usual": 2.0, "peaked": 6.0}.items():
        for student, distance in {"knows nothing": None, "0.5 away": 0.5, "0.1 away": 0.1}.items():
            logits = scale * rng.normal(size=(256, 2000))
            others = (
                scale * rng.normal(size=logits.shape) if distance is None else logits + distance * rng.normal(size=logits.shape)
            )
            log_probs = log_softmax(logits)
            ids = np.argsort(-log_probs, axis=-1)[:, :32]
            unlisted = np.ones_like(log_probs, bool)
            np.put_along_axis(unlisted, ids, False, axis=-1)
            listed, log_q = np.take_along_axis(log_probs, ids, -1), log_softmax(others)
            q = np.append(np.take_along_axis(log_q, ids, -1), np.log(np.where(unlisted, np.exp(log_q), 0).sum(-1))[:, None], -1)
            rest = np.where(unlisted, np.exp(log_probs), 0).sum(-1)
            expected = bucket_loss(listed, rest, q)
            plain = listed.astype("float16").astype("float64")
            found = [bucket_loss(plain, np.maximum(1 - np.exp(plain).sum(-1), 2.0**-40), q)]
            for dtype in ("float16", "float32"):
                pairs = widen(*narrow({"ids": ids, "log_probs": listed, "log_rest": np.log(rest)}, 2000, dtype).values())
                stored = pairs[..., 1].astype("float64")
                left = -np.expm1(stored[:, 0]) - np.exp(stored[:, 1:]).sum(-1)
                found.append(bucket_loss(stored, np.maximum(left, 2.0**-40), q))
            errors = [f"{abs(f.mean() / expected.mean() - 1):.0e} / {np.abs(f / expected - 1).max():.0e}" for f in found]
            print(f"{teacher:10} {student:20}" + "".join(f" {error:>20}" for error in errors))


def log_softmax(logits):
    depths = logits - logits.max(-1, keepdims=True)
    return depths - np.log(np.exp(depths).sum(-1, keepdims=True))


def bucket_loss(log_probs, rest, log_q):
    log_p = np.append(log_probs, np.log(rest)[:, None], axis=-1)
    return (np.exp(log_p) * (log_p - log_q) - np.exp(log_p) + np.exp(log_q)).sum(-1)


# ---------------------------------------------------------------------------------------------------------- an epoch


def language_model(classes, width, layers):
    tokens = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Embedding(512, width)(tokens)
    for _ in range(layers):
        attended = keras.layers.MultiHeadAttention(4, width // 4)(hidden, hidden, use_causal_mask=True)
        hidden = keras.layers.LayerNormalization()(keras.layers.add([hidden, attended]))
        dense = keras.layers.Dense(width)(keras.layers.Dense(4 * width, activation="gelu")(hidden))
        hidden = keras.layers.LayerNormalization()(keras.layers.add([hidden, dense]))
    return keras.Model(tokens, keras.layers.Dense(classes)(hidden))


class AskTeacher(keras.utils.PyDataset):
    """The teacher says everything anew, for every batch."""

    def __init__(self, teacher, tokens):
        super().__init__()
        self.teacher, self.tokens = teacher, tokens

    def __len__(self):
        return len(self.tokens) // BATCH_SIZE

    def __getitem__(self, index):
        tokens = self.tokens[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        return tokens, self.teacher.predict_on_batch(tokens)


def measure_epoch(sizes, directory, rng):
    """The same student, from the store and with the teacher at hand."""
    tokens = rng.integers(0, 512, (sizes["labelled"], sizes["length"])).astype("int32")
    teacher = language_model(sizes["classes"], 512, 6)
    count = tokens.size
    begun = time.perf_counter()
    write_targets(
        teacher,
        tokens,
        directory / "asked",
        k=sizes["k"],
        temperature=TEMPERATURE,
        targets="logits",
        batch_size=BATCH_SIZE,
        verbose=0,
    )
    labelling = time.perf_counter() - begun
    saying = seconds(lambda: [AskTeacher(teacher, tokens)[i] for i in range(len(tokens) // BATCH_SIZE)], 1)
    stored = StoredTargets(directory / "asked", tokens, batch_size=BATCH_SIZE)
    epochs = {}
    for name, data, loss in (
        ("with the teacher", AskTeacher(teacher, tokens), keras_xent.DistillationLoss(TEMPERATURE, targets="logits")),
        ("from the store", stored, stored.loss()),
    ):
        keras.utils.set_random_seed(0)
        student = language_model(sizes["classes"], 128, 2)
        student.compile(keras.optimizers.Adam(1e-3), loss=loss)
        student.fit(data, verbose=0)
        epochs[name] = seconds(lambda data=data, student=student: student.fit(data, verbose=0), 1)
    print(f"\nA teacher of {teacher.count_params():,} weights, {count} tokens, on {keras.backend.backend()}")
    print(f"labelling, once (its compilation included): {labelling:.1f} s; {count / labelling:,.0f} tokens/s")
    print(f"the teacher alone, all logits:              {saying:.1f} s; {count / saying:,.0f} tokens/s")
    for name, took in epochs.items():
        print(f"an epoch of the student {name:16}:   {took:.1f} s; {count / took:,.0f} tokens/s")
    print(f"ratio: {epochs['with the teacher'] / epochs['from the store']:.1f}")


def main(settings):
    sizes, rng = QUICK if settings.quick else FULL, np.random.default_rng(0)
    directory = Path(tempfile.mkdtemp())
    try:
        measure_files(sizes, directory, rng)
        measure_errors(rng)
        measure_epoch(sizes, directory, rng)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(settings)
    sys.exit(0)

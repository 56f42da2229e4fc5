"""A teacher labels on a Ray cluster; the store equals that of one process.

Every worker builds the teacher once and labels the batches that Ray hands it; the driver writes the store, in order, as batches
arrive. Here the cluster is two workers on this machine. Killed and started again, it labels only what is not kept yet.

    python examples/label_with_ray.py --output store
"""

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

FULL = {"examples": 4096, "length": 32, "classes": 8192}
QUICK = {"examples": 256, "length": 8, "classes": 1000}
BATCH_SIZE, SHARD_SIZE, WORKERS = 32, 128, 2
SETTINGS = {"k": 16, "temperature": 2.0, "targets": "logits"}


def parse_arguments(arguments=None):
    """The settings, checked before anything slow happens."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, help="the directory of the store (default: one that is removed)")
    parser.add_argument("--quick", action="store_true", help="a check, on {examples} examples".format(**QUICK))
    settings = parser.parse_args(arguments)
    missing = [name for name in ("ray", "pyarrow") if importlib.util.find_spec(name) is None]
    if missing:
        parser.exit(2, f"{parser.prog}: error: not installed: {', '.join(missing)}. Run: pip install '.[store]' 'ray[data]'\n")
    return settings


def build_teacher(classes):
    """A small language model: what it says does not matter here, so that its weights are drawn, the same ones everywhere."""
    import keras

    keras.utils.set_random_seed(0)
    tokens = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Embedding(512, 64)(tokens)
    hidden = keras.layers.GRU(64, return_sequences=True)(hidden)
    return keras.Model(tokens, keras.layers.Dense(classes, kernel_initializer=keras.initializers.RandomNormal(0, 1))(hidden))


class BuildTeacher:
    """A function without arguments, which Ray can send to its workers."""

    def __init__(self, classes):
        self.classes = classes

    def __call__(self):
        return build_teacher(self.classes)


def label_on_cluster(tokens, path, classes):
    """The store, made by Ray."""
    import numpy as np
    import ray

    from keras_xent.distill.store import Labeller, examples_kept, write_labelled

    kept = examples_kept(path)
    rows = [{"index": i, "x": tokens[i]} for i in range(kept, len(tokens))]
    data = ray.data.from_items(rows, override_num_blocks=max(1, len(rows) // BATCH_SIZE))
    labelled = data.map_batches(
        Labeller,
        fn_constructor_kwargs={"build_teacher": BuildTeacher(classes), **SETTINGS},
        batch_size=BATCH_SIZE,
        compute=ray.data.ActorPoolStrategy(size=WORKERS),
        num_cpus=1,
    )
    batches = labelled.iter_batches(batch_size=BATCH_SIZE, batch_format="numpy")
    batches = ({name: np.asarray(values) for name, values in batch.items()} for batch in batches)
    return write_labelled(
        batches, path, num_classes=classes, num_examples=len(tokens), shard_size=SHARD_SIZE, verbose=0, **SETTINGS
    )


def differences(one, other):
    """How far apart the targets of two stores are: different class ids, and log-probabilities."""
    import numpy as np

    ids, log_probs = 0, 0.0
    for batch, same_batch in zip(one, other, strict=True):
        ids += int((batch[..., 0] != same_batch[..., 0]).sum())
        log_probs = max(log_probs, float(np.abs(batch[..., 1] - same_batch[..., 1]).max()))
    return ids, log_probs


def main(settings):
    import logging

    import numpy as np
    import ray

    from keras_xent.distill.store import write_targets

    sizes = QUICK if settings.quick else FULL
    tokens = np.random.default_rng(0).integers(0, 512, (sizes["examples"], sizes["length"])).astype("int32")
    temporary = Path(tempfile.mkdtemp())
    try:
        # the workers find this file and the library where this process found them
        search_path = os.pathsep.join([str(Path(__file__).resolve().parent), *filter(None, sys.path)])
        environment = {"env_vars": {"PYTHONPATH": search_path, "TF_CPP_MIN_LOG_LEVEL": "3"}}
        ray.init(num_cpus=WORKERS + 1, logging_level=logging.ERROR, log_to_driver=False, runtime_env=environment)
        context = ray.data.DataContext.get_current()
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context.execution_options.preserve_order = True  # else what comes early waits in memory, which is right as well
        begun = time.perf_counter()
        stored = label_on_cluster(tokens, settings.output or temporary / "cluster", sizes["classes"])
        print(f"{WORKERS} workers: {time.perf_counter() - begun:.0f} s, their start included. {stored}")
        ray.shutdown()

        begun = time.perf_counter()
        alone = write_targets(
            build_teacher(sizes["classes"]),
            tokens,
            temporary / "alone",
            batch_size=BATCH_SIZE,
            shard_size=SHARD_SIZE,
            verbose=0,
            **SETTINGS,
        )
        print(f"one process: {time.perf_counter() - begun:.0f} s. {alone}")
        ids, log_probs = differences(stored, alone)
        print(f"They differ in {ids} class ids and by at most {log_probs:.1e} in a log-probability.")
        return 0 if ids == 0 and log_probs < 1e-3 else 1
    finally:
        ray.shutdown()
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    chosen = parse_arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as on Ray's workers, so that sums are rounded alike
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    sys.exit(main(chosen))

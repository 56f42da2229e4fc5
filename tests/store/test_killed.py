"""A labelling process that is killed (SIGKILL) again and again at random moments, and started again until it is done.

Run as a script it is that process: it forks a child that labels, kills it, and forks the next, so that the libraries are imported
once.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keras_xent.distill.store import examples_kept, write_targets

from .stores import same_stores

EXAMPLES, BATCH_SIZE, SHARD_SIZE = 240, 4, 8
OPTIONS = {"k": 3, "temperature": 2.0, "targets": "logits", "verbose": 0, "batch_size": BATCH_SIZE, "shard_size": SHARD_SIZE}


def data():
    """Logits, the first of which is the number of the example."""
    logits = np.random.default_rng(0).normal(size=(EXAMPLES, 20)).astype("float32")
    logits[:, 0] = np.arange(EXAMPLES)
    return logits


def label(directory, log):
    """Labels, and writes down each example that the teacher sees, as soon as it does."""
    with open(log, "ab", buffering=0) as seen:

        def teacher(x):
            seen.write(x[:, 0].astype("int32").tobytes())
            time.sleep(0.001)
            return x

        write_targets(teacher, data(), directory, **OPTIONS)


def label_until_done(directory, logs, seed):
    """Forks a child, kills it, and so on, until one comes to the end."""
    draw = random.Random(seed)
    for run in range(1000):
        log = logs / f"{examples_kept(directory):04d} {run:04d}"
        log.touch()
        child = os.fork()
        if child == 0:
            label(directory, log)
            os._exit(0)
        fatal = 4 * draw.randint(1, 80)  # bytes of the log
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if log.stat().st_size >= fatal:
                time.sleep(draw.random() * 0.01)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
            time.sleep(0.0005)
        else:
            return


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_again_and_again_it_loses_and_repeats_nothing(tmp_path):
    (tmp_path / "logs").mkdir()
    command = [sys.executable, "-m", "tests.store.test_killed", tmp_path / "store", tmp_path / "logs", "0"]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"})
    logs = sorted((tmp_path / "logs").iterdir(), key=lambda log: log.name.split()[1])
    kills = len(logs) - 1
    assert kills >= 3
    for log in logs:  # whose name begins with how many examples were kept when it began
        seen = np.frombuffer(log.read_bytes(), "int32")
        kept = int(log.name.split()[0])
        assert seen.tolist() == list(range(kept, kept + len(seen)))
    assert kept + len(seen) == EXAMPLES
    write_targets(lambda x: x, data(), tmp_path / "whole", **OPTIONS)
    assert same_stores(tmp_path / "store", tmp_path / "whole")


if __name__ == "__main__":
    label_until_done(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

"""More than one device: the losses and the weights of one. The devices are virtual, in processes of their own."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from ..backends import BACKEND

ROOT = pathlib.Path(__file__).parents[2]


def run(module, *arguments):
    """What a program prints, read as JSON."""
    environment = os.environ | {"KERAS_BACKEND": BACKEND, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run("tests.devices.training", str(tmp_path_factory.mktemp("devices") / "results.json"))


def test_several_devices_train_as_one(trained):
    one = trained.pop("one")
    assert set(trained) == ({"rows", "classes"} if BACKEND == "jax" else {"rows"}) and len(one) == 10
    for name, expected in one.items():
        assert expected["losses"][0] > expected["losses"][1]  # they have learned something
        for several in trained.values():
            np.testing.assert_allclose(several[name]["losses"], expected["losses"], rtol=1e-5, err_msg=name)
            for actual, wanted in zip(several[name]["weights"], expected["weights"], strict=True):
                np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-6, err_msg=name)


if BACKEND == "jax":

    def test_logits_and_kernels_stay_where_they_are():
        """Of classes that are spread over devices, some numbers per row are exchanged; nothing of their size is gathered."""
        moved = run("tests.devices.sharded")
        whole = moved.pop("gathered on purpose")["moved"]
        assert whole == 12 * 256 and all(loss["same"] for loss in moved.values()), moved
        shard_of_kernel = 4 * 256 / 4  # no less than that of a chunk's logits
        assert {name: loss["moved"] for name, loss in moved.items() if loss["moved"] >= shard_of_kernel / 2} == {}
        assert sum(name.startswith("linear") for name in moved) == 4 - (not hasattr(keras.layers, "ReversibleEmbedding"))

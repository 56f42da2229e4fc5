"""The example that trains a large output both ways, run as a user runs it, on a small setting."""

import json

import matplotlib.image
import numpy as np
import pytest

from .backends import BACKEND
from .examples import names_in, run_example

EXAMPLE = "large_vocab.py"


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """What a small run printed, what it saved, and where."""
    directory = tmp_path_factory.mktemp("large") / "made by the run"
    run = run_example(EXAMPLE, "--quick", "--backend", BACKEND, "--output", directory, KERAS_BACKEND="unheard-of")
    assert run.returncode == 0, run.stderr
    return run, json.loads((directory / "large_vocab.json").read_text()), directory


def test_both_ways_learn_the_same(quick):
    run, saved, directory = quick
    logits, linear = saved["results"]["logits"], saved["results"]["linear"]
    np.testing.assert_allclose(linear["loss"], logits["loss"], rtol=1e-4)
    assert 2.0 < logits["loss"][1] < logits["loss"][0] < np.log(8000) + 0.1  # that of guessing
    assert all(f"{loss:.4f}" in run.stdout for loss in [*logits["loss"], *linear["loss"]])
    assert "a chunk at a time: epoch 2 of 2" in run.stderr
    assert matplotlib.image.imread(directory / "large_vocab.png").shape[2] == 4


def test_the_text():
    text = names_in(EXAMPLE)["text"]
    inputs, labels = text(2)
    assert inputs.shape == (2, 32, 32) and (inputs.reshape(-1)[1:] == labels.reshape(-1)[:-1]).all()
    with pytest.raises(SystemExit, match="words for"):
        text(10_000)

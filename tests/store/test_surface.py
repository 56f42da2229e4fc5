"""Progress, manifest, examples and docstrings."""

import doctest
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import keras_xent
from keras_xent.distill import store as store_package
from keras_xent.distill.store import write_targets

from ..backends import BACKEND
from .stores import (
    CLASSES,
    OPTIONS,
    TEMPERATURE,
    K,
    same,
)


@pytest.mark.parametrize("has_rich", [True, False])
def test_shows_progress(tmp_path, logits, capsys, monkeypatch, has_rich):
    monkeypatch.setattr("keras_xent.distill.store.progress.use_rich", lambda: has_rich)
    write_targets(same, logits, tmp_path / "store", **{**OPTIONS, "verbose": 1})
    captured = capsys.readouterr()
    assert "2/2" in captured.out + captured.err
    write_targets(same, logits, tmp_path / "silent", **OPTIONS)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_the_manifest_says_what_is_stored(directory):
    content = json.loads((directory / "manifest.json").read_text())
    assert content["settings"] == {
        "k": K,
        "temperature": TEMPERATURE,
        "targets": "logits",
        "dtype": "float16",
        "num_classes": CLASSES,
        "shard_size": 16,
        "batch_size": 8,
        "num_batches": 7,
        "num_examples": 50,
        "position_axes": 0,
    }
    assert content["complete"] and content["examples"] == content["positions"] == 50
    assert content["versions"]["keras_xent"] == keras_xent.__version__
    assert [shard["examples"] for shard in content["shards"]] == [16, 16, 16, 2]


@pytest.mark.parametrize("example", ["label_with_ray.py", "measure_store.py"])
def test_examples_say_what_they_do_and_what_they_lack(tmp_path, example):
    path = Path(__file__).parents[2] / "examples" / example
    launcher = tmp_path / example
    launcher.write_text(
        "import importlib.util, runpy\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'pyarrow' else find(name, *rest)\n"
        f"runpy.run_path({str(path)!r}, run_name='__main__')\n"
    )
    helped = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0 and "--quick" in helped.stdout
    lacking = subprocess.run([sys.executable, launcher], capture_output=True, text=True)
    assert lacking.returncode == 2 and lacking.stdout == ""
    assert lacking.stderr.startswith(f"{example}: error: not installed: ") and lacking.stderr.count("\n") == 1


@pytest.mark.parametrize("name", store_package.__all__)
def test_examples_in_docstrings(name):
    names = {"np": np, "keras_xent": keras_xent}
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(store_package, name), name, globs=names)
    results = doctest.DocTestRunner(verbose=False).run(example)
    assert results.attempted and not results.failed


def test_public_names():
    assert store_package.__all__ == ["Labeller", "StoredTargets", "examples_kept", "write_labelled", "write_targets"]
    assert BACKEND in ("tensorflow", "jax", "torch")

"""The example that compares tails, run as a user runs it, on a small setting: what it measures is what has to hold."""

import json

import matplotlib.image
import numpy as np
import pytest

from keras_xent.distill.top_k import TAILS
from keras_xent.parity.bounds import EPSILON

from .backends import BACKEND
from .examples import names_in, run_example

EXAMPLE = "compare_tails.py"


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """What a small run printed, and the directory it wrote into."""
    directory = tmp_path_factory.mktemp("run") / "made"
    finished = run_example(
        EXAMPLE, "--quick", "--backend", BACKEND, "--output", directory, strict=True, KERAS_BACKEND="unheard-of"
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, directory


@pytest.fixture(scope="module")
def measured(quick):
    return json.loads((quick[1] / "tails.json").read_text())["measured"]


@pytest.fixture(scope="module")
def example():
    """The names that the example defines."""
    return names_in(EXAMPLE)


def column(at, tail, key):
    """One number per k, of one tail at one temperature; NaN where there is none."""
    return np.array([row["tails"][tail][key] for row in at["rows"]], "float64")


def test_measures_each_k_at_each_temperature(measured):
    assert [at["temperature"] for at in measured] == [1.0, 4.0]
    for at in measured:
        assert [row["k"] for row in at["rows"]] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 500]
        listed = np.array([row["listed"] for row in at["rows"]])
        assert (np.diff(listed) > 0).all()
        assert listed[-1] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("tail", TAILS)
def test_with_all_classes_listed_nothing_but_rounding_is_left(measured, tail):
    for at in measured:
        last = at["rows"][-1]["tails"][tail]
        assert abs(last["loss_error"]) < 1e-4 and last["gradient_error"] < 1e-4
        assert last["norm_ratio"] == pytest.approx(1, abs=1e-4) and last["cosine"] == pytest.approx(1, abs=1e-4)


def test_a_bucket_is_a_lower_bound_that_rises_with_k(measured):
    """Splitting a class in two cannot lower a divergence."""
    for at in measured:
        losses = column(at, "bucket", "loss")
        rounding = 500 * EPSILON["float32"]
        assert (losses <= at["dense_loss"] * (1 + rounding)).all()
        assert (np.diff(losses) > 0).all()


def test_an_even_tail_costs_too_much(measured):
    """The student spreads the rest as the teacher does, and is asked for even shares."""
    for at in measured:
        assert (column(at, "uniform", "loss_error")[:-1] > 0).all()


@pytest.mark.parametrize("tail", TAILS)
def test_errors_fall_on_the_whole(measured, tail):
    """By rank, and from first to last; from k = 2, since one class renormalised has the loss 0 and no gradient."""
    for at in measured:
        ranks = np.arange(len(at["rows"]) - 1)
        for errors in (
            np.abs(column(at, tail, "loss_error")[1:]),
            column(at, tail, "gradient_error")[1:],
            1 - column(at, tail, "cosine")[1:],
        ):
            assert errors[-2] < errors[0] / 1.5
            assert np.corrcoef(ranks, errors.argsort().argsort())[0, 1] < -0.8


def test_one_class_renormalised_has_no_gradient(measured, quick):
    for at in measured:
        first = at["rows"][0]["tails"]["renormalize"]
        assert first["loss"] == first["norm_ratio"] == 0 and first["cosine"] is None
    assert quick[0].count("–") == len(measured)


def test_prints_what_it_saves(quick):
    printed, directory = quick
    record = json.loads((directory / "tails.json").read_text())
    assert record["settings"]["backend"] == BACKEND
    assert record["reading"] in printed.splitlines()
    for at in record["measured"]:
        assert f"Temperature {at['temperature']:g}: dense loss {at['dense_loss']:.4g} nats" in printed
        for row in at["rows"]:
            bucket = row["tails"]["bucket"]
            cells = [str(row["k"]), f"{row['listed']:.3f}", f"{bucket['loss_error']:+z.2%}", f"{bucket['norm_ratio']:.3f}"]
            assert any(line.split()[:4] == cells for line in printed.splitlines())


def test_saves_a_plot(quick):
    pixels = matplotlib.image.imread(quick[1] / "tails.png")
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    assert len(np.unique(pixels[..., :3] @ [1, 10, 100])) > 50  # colours


def test_the_reading_follows_from_the_numbers(example):
    def at(temperature, **errors):
        rows = [
            {"k": k, "tails": {tail: {"gradient_error": errors[tail][n]} for tail in TAILS}} for n, k in enumerate((1, 2, 4, 9))
        ]
        return {"temperature": temperature, "rows": rows}

    near = at(1.0, bucket=[0.5, 0.1, 0.01, 0], renormalize=[0.05, 0.3, 0.1, 0], uniform=[0.4, 0.05, 0.04, 0])
    far = at(4.0, bucket=[0.5, 0.4, 0.3, 0], renormalize=[0.09, 0.08, 0.07, 0], uniform=[9, 5, 3, 0])
    assert example["reading"]([near, far]) == (
        "For a gradient within 10% of the dense one it takes, of 9 classes, "
        "at temperature 1: 2 (bucket, uniform), 4 (renormalize); at temperature 4: 1 (renormalize), all (bucket, uniform)."
    )


def test_a_seed_gives_the_same_draws_again(example):
    for once, again, other in zip(*(example["drawn"](3, 7, seed) for seed in (0, 0, 1)), strict=True):
        assert (once == again).all() and (once != other).any()

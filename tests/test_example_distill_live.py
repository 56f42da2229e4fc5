"""The example that asks one teacher in several ways, run as a user runs it, on a small setting."""

import json

import matplotlib.image
import numpy as np
import pytest

from .backends import BACKEND
from .examples import run_example

EXAMPLE = "distill_live.py"
LABELS, LIVE, STORED, PROBS, KERAS_DEFAULT, KERAS_KL = range(6)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """What a small run printed, what it saved, and where. The option rules over the environment."""
    directory = tmp_path_factory.mktemp("live") / "made" / "by the run"
    run = run_example(EXAMPLE, "--quick", "--backend", BACKEND, "--output", directory, KERAS_BACKEND="unheard-of")
    assert run.returncode == 0, run.stderr
    return run.stdout, json.loads((directory / "live.json").read_text()), directory


def test_prints_a_row_for_each_student_with_the_numbers_it_saves(quick):
    printed, results, _ = quick
    assert results["settings"]["backend"] == BACKEND
    assert len(results["rows"]) == 6
    table = printed.splitlines()
    for row in results["rows"]:
        line = next(n for n, text in enumerate(table) if f"│ {row['name']} " in text and row["with"] in table[n + 1])
        for key, decimals in (("test_accuracy", 2), ("test_loss", 3)):
            assert f" {np.mean(row[key]):.{decimals}f} ± {np.std(row[key], ddof=1):.{decimals}f} " in table[line]
        assert f" {1000 * np.median(row['seconds_per_epoch']):.1f} " in table[line]


def test_results_are_plausible(quick):
    _, results, _ = quick
    assert min(results["teacher"]["test_accuracy"]) > 80  # after two epochs
    for row in results["rows"]:
        assert len(row["test_accuracy"]) == len(row["test_loss"]) == 2
        assert min(row["seconds_per_epoch"]) > 0
        assert row["peak_mebibytes"] is None or 50 < row["peak_mebibytes"] < 10_000
    sound = [results["rows"][row] for row in (LABELS, LIVE, STORED, PROBS, KERAS_KL)]
    assert min(min(row["test_accuracy"]) for row in sound) > 30  # chance is 10
    assert max(max(row["test_loss"]) for row in sound) < np.log(10)


def test_the_same_definition_trains_the_same_student(quick):
    """Live, from probabilities, and by Keras with `KLDivergence()`: one loss, up to rounding and what Keras clips."""
    _, results, _ = quick
    for row in (PROBS, KERAS_KL):
        np.testing.assert_allclose(results["rows"][row]["test_loss"], results["rows"][LIVE]["test_loss"], rtol=1e-3)
    labels, live, default = (results["rows"][row]["test_loss"] for row in (LABELS, LIVE, KERAS_DEFAULT))
    assert np.abs(np.subtract(labels, live)).min() > 1e-3  # other losses, other students
    assert np.abs(np.subtract(default, live)).min() > 1e-3


def test_saves_a_plot(quick):
    pixels = matplotlib.image.imread(quick[2] / "live.png")
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50  # colours


def test_what_it_says_follows_from_its_numbers(quick):
    printed, results, _ = quick
    quantile = 12.7062  # Student's, 97.5%, one degree of freedom: two seeds
    pairs = [*((row, LABELS) for row in range(1, 6)), *((row, LIVE) for row in (STORED, PROBS, KERAS_DEFAULT, KERAS_KL))]
    lines = printed.splitlines()
    for (question, answer), (row, baseline) in zip(results["answers"].items(), pairs, strict=True):
        shown = lines[lines.index(question) + 1 :]
        for (key, words), line, better in zip(answer.items(), shown, (1, -1), strict=False):
            assert line == f"  {key.replace('_', ' ')}: {words}"
            first, second = np.subtract(results["rows"][row][key], results["rows"][baseline][key])
            mean, margin = (first + second) / 2, quantile * abs(first - second) / 2
            expected = "no difference" if abs(mean) <= margin else "better" if better * mean > 0 else "worse"
            assert words.startswith(expected)

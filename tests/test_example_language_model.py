"""The example that distils a language model, run as a user runs it, on a small setting."""

import json
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

from .backends import BACKEND
from .examples import names_in, run_example

EXAMPLE = "distill_language_model.py"
NAMES = ["alone", "all words, live", "4 words, stored", "16 words, stored", "64 words, stored"]
CLASSES, LENGTH = 500, 32


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """What a small run printed, what it saved, and where. The option rules over the environment."""
    directory = tmp_path_factory.mktemp("words") / "made" / "by the run"
    run = run_example(EXAMPLE, "--quick", "--backend", BACKEND, "--output", directory, KERAS_BACKEND="unheard-of")
    assert run.returncode == 0, run.stderr
    return run.stdout, json.loads((directory / "language_model.json").read_text()), directory


@pytest.fixture(scope="module")
def example():
    """The names that the example defines."""
    return names_in(EXAMPLE)


def test_prints_a_row_for_each_student_with_the_numbers_it_saves(quick):
    printed, results, _ = quick
    assert results["settings"]["backend"] == BACKEND
    assert [row["name"] for row in results["rows"]] == NAMES
    for row in [results["teacher"], *results["rows"]]:
        line = next(text for text in printed.splitlines() if f"│ {row['name']} " in text)
        for key, decimals in (("perplexity", 1), ("loss", 3)):
            assert f" {np.mean(row[key]):.{decimals}f} ± {np.std(row[key], ddof=1):.{decimals}f} " in line
        assert f" {np.median(row['seconds_per_epoch']):.2f} " in line


def test_results_are_plausible(quick):
    _, results, _ = quick
    for row in [results["teacher"], *results["rows"]]:
        np.testing.assert_allclose(row["perplexity"], np.exp(row["loss"]))
        assert 5 < min(row["perplexity"]) and max(row["perplexity"]) < CLASSES  # that of guessing
        assert min(row["seconds_per_epoch"]) > 0
    assert max(results["teacher"]["loss"]) < min(results["rows"][0]["loss"])  # it read more, and is larger
    kept = [row["bytes_per_position"][0] for row in results["rows"][2:]]
    for size, k in zip(kept, (4, 16, 64), strict=True):  # ids and log-ratios in two bytes each; the rest in four
        assert 4 * k + 4 <= size < 1.25 * (4 * k + 4)


def test_what_it_says_follows_from_its_numbers(quick):
    printed, results, _ = quick
    quantile = 12.7062  # Student's, 97.5%, one degree of freedom: two seeds
    pairs = [(row, 0) for row in range(1, 5)] + [(row, 1) for row in range(2, 5)]
    for (question, words), (row, baseline) in zip(results["answers"].items(), pairs, strict=True):
        assert f"{question}: {words}" in printed
        first, second = np.subtract(results["rows"][row]["loss"], results["rows"][baseline]["loss"])
        mean, margin = (first + second) / 2, quantile * abs(first - second) / 2
        assert words.startswith("no difference" if abs(mean) <= margin else "better" if mean < 0 else "worse")


def test_saves_a_plot(quick):
    pixels = matplotlib.image.imread(quick[2] / "language_model.png")
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50  # colours


def test_nothing_held_out_is_read(example):
    """Topics quote one another, so that this is not a matter of course."""
    found = example["topics"](10_000)
    paragraphs = [words for topic in found for words in topic]
    assert len(paragraphs) == len(set(paragraphs)) > 1000
    settings = SimpleNamespace(paragraphs=10_000, words=1500, part=0.25)
    text = example["split_text"](0, settings)
    rows = [{tuple(row) for row in part[1]} for part in text]
    assert not rows[0] & (rows[2] | rows[3])
    assert min(map(len, rows[2:])) > 100
    assert rows[1] < rows[0]


def test_labels_are_the_next_words_and_padding_is_last(example):
    inputs, labels = example["to_arrays"]([("a", "b"), tuple("abc" * 11)], {"a": 3, "b": 4})
    assert inputs.shape == labels.shape == (3, LENGTH)
    assert labels[0].tolist() == [3, 4] + [0] * 30 and inputs[0].tolist() == [1, 3] + [0] * 30
    assert labels[1, :4].tolist() == [3, 4, 2, 3] and inputs[1, :4].tolist() == [1, 3, 4, 2]
    assert labels[2].tolist() == [2] + [0] * 31 and inputs[2].tolist() == [1] + [0] * 31


def test_perplexity_leaves_padding_out(example):
    """A model that knows each label, and nothing of padding, has the perplexity 1."""
    settings = SimpleNamespace(paragraphs=100, words=128, part=0.5)
    text = example["split_text"](0, settings).choosing
    batches = iter([text[1][begin : begin + 128] for begin in range(0, len(text[1]), 128)])

    class Knowing:
        def predict_on_batch(self, inputs):
            labels = next(batches)
            labels = np.pad(labels, [(0, len(inputs) - len(labels)), (0, 0)])
            right = 100.0 * np.eye(128)[labels]
            return np.where((labels == 0)[..., None], -right, right).astype("float32")

    assert example["mean_loss"](Knowing(), text) < 1e-6

"""The example that distils digits, run as a user runs it, on a small setting: its words follow from its numbers."""

import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

from keras_xent.parity.bounds import error_in_bounds

from .backends import BACKEND
from .examples import names_in, run_example

EXAMPLE = "distill_digits.py"
T_QUANTILE = 12.7062  # Student's, 97.5%, one degree of freedom: two seeds


def results_in(directory):
    return json.loads((directory / "digits.json").read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two small runs side by side, the second with one seed: what each printed, and the directory it wrote into.

    The backend comes from the option, which rules over the environment, and from the environment.
    """
    directories = [tmp_path_factory.mktemp("runs") / "made" / f"by run {number}" for number in (1, 2)]
    choices = [("--backend", BACKEND), ("--seeds", "1")]
    backends = ["unheard-of", BACKEND]
    with ThreadPoolExecutor() as pool:
        finished = list(
            pool.map(
                lambda choice, directory, backend: run_example(
                    EXAMPLE, "--quick", *choice, "--output", directory, KERAS_BACKEND=backend
                ),
                choices,
                directories,
                backends,
            )
        )
    for run in finished:
        assert run.returncode == 0, run.stderr
    return [(run.stdout, directory) for run, directory in zip(finished, directories, strict=True)]


@pytest.fixture(scope="module")
def quick(runs):
    return runs[0]


@pytest.fixture(scope="module")
def example():
    """The names that the example defines."""
    return names_in(EXAMPLE)


def test_prints_a_row_for_each_network_with_the_numbers_it_saves(quick):
    printed, directory = quick
    results = results_in(directory)
    assert results["settings"]["backend"] == BACKEND
    assert [row["loss"] for row in results["rows"]] == [
        "keras_xent.SparseCategoricalCrossentropy",
        "keras_xent.SparseCategoricalCrossentropy",
        "keras.losses.SparseCategoricalCrossentropy",
        "keras.losses.CategoricalCrossentropy",
        "keras_xent.DistillationLoss",
        "keras.losses.CategoricalCrossentropy",
        "keras_xent.DistillationLoss",
    ]
    table = printed.splitlines()
    for row in results["rows"]:
        line = next(n for n, text in enumerate(table) if row["source"] in text and row["loss"] in table[n + 1])
        accuracy, loss = row["test_accuracy"], row["test_loss"]
        assert f" {np.mean(accuracy):.2f} ± {np.std(accuracy, ddof=1):.2f} " in table[line]
        assert f" {np.mean(loss):.3f} ± {np.std(loss, ddof=1):.3f} " in table[line]
        assert f" {np.mean(row['milliseconds_per_epoch']):.0f} " in table[line]
        table = table[line + 1 :]


def test_results_are_plausible(quick):
    rows = results_in(quick[1])["rows"]
    accuracies = np.array([row["test_accuracy"] for row in rows])
    losses = np.array([row["test_loss"] for row in rows])
    assert accuracies.shape == losses.shape == (7, 2)
    assert (accuracies[0] > 85).all()  # the teacher, after two epochs
    assert (accuracies > 15).all() and (accuracies <= 100).all()  # chance is 10
    assert (losses > 0).all() and (losses < np.log(10)).all()
    for row in rows:
        assert np.shape(row["training_loss"]) == (2, 2)
        assert (np.diff(row["training_loss"], axis=1) < 0).all()
        assert min(row["milliseconds_per_epoch"]) > 0
    labelled = [row["training_accuracy"] for row in rows if None not in row["training_accuracy"]]
    assert len(labelled) == 4  # among them the student whose labels are packed with the teacher's probabilities
    assert (np.array(labelled) > 15).all() and (np.array(labelled) <= 100).all()


def test_the_built_in_loss_trains_the_same_student(quick):
    _, ours, built_in = results_in(quick[1])["rows"][:3]
    terms = 10 * 40  # classes, and steps taken, each of which rounds
    for key in ("training_loss", "test_loss"):
        assert error_in_bounds(ours[key], built_in[key], "float32", terms=terms) <= 1
    assert ours["test_accuracy"] == built_in["test_accuracy"]


def test_a_seed_gives_the_same_numbers_again(runs):
    once, again = (results_in(directory) for _, directory in runs)
    assert again["settings"]["backend"] == BACKEND
    for row, same_row in zip(once["rows"], again["rows"], strict=True):
        for key in ("training_loss", "training_accuracy", "test_accuracy", "test_loss"):
            assert row[key][:1] == same_row[key]


def test_claims_nothing_from_one_seed(runs):
    printed, _ = runs[1]
    assert printed.count("cannot be told from one seed") == 8
    assert "better (" not in printed and "worse (" not in printed


def test_a_network_starts_anew_with_each_seed(example):
    """What it learned before leaves no trace, in its weights or its optimizer."""
    teacher = example["all_lessons"](SimpleNamespace(labels=128, temperature=4.0, label_weight=0.5))[0]
    network, digits = example["Network"](teacher), example["Digits"](0, few=128)
    curves = []
    for seed in (0, 1, 0):
        network.restart(seed)
        curves.append(network.learn(digits, epochs=2, epoch_is_over=lambda: None)["training_loss"])
    assert curves[0] == curves[2] != curves[1]


def test_saves_a_plot(quick):
    pixels = matplotlib.image.imread(quick[1] / "digits.png")
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50  # colours


def test_what_it_says_follows_from_its_numbers(quick):
    printed, directory = quick
    results = results_in(directory)
    pairs = [(4, 1), (6, 1), (4, 3), (6, 5)]
    lines = printed.splitlines()
    for (question, answer), (row, baseline) in zip(results["answers"].items(), pairs, strict=True):
        shown = lines[lines.index(question) + 1 :]
        for (key, words), line, better in zip(answer.items(), shown, (1, -1), strict=False):
            assert line == f"  {key.replace('_', ' ')}: {words}"
            first, second = np.subtract(results["rows"][row][key], results["rows"][baseline][key])
            mean, margin = (first + second) / 2, T_QUANTILE * abs(first - second) / 2
            expected = "no difference" if abs(mean) <= margin else "better" if better * mean > 0 else "worse"
            assert words.startswith(expected)
            assert f"({mean:+z.{2 if better > 0 else 3}f} ± " in words


def test_help_names_the_defaults():
    finished = run_example(EXAMPLE, "--help", KERAS_BACKEND=None)
    assert finished.returncode == 0
    printed = " ".join(finished.stdout.split())
    for text in ("tensorflow, jax, torch (default: tensorflow)", "--seeds", "(default: 5)", "(default: 4.0)"):
        assert text in printed

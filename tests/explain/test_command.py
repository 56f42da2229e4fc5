"""`keras-xent explain`."""

import json

import numpy as np
import pytest

from keras_xent import cli

NUMBERS = ["--y-true", "[1, 2]", "--y-pred", "[[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]]"]


def run(capsys, *arguments):
    """The exit status, and what it printed."""
    try:
        status = cli.main(["explain", *arguments])
    except SystemExit as error:
        status = error.code
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize("form", ["text", "table", "markdown", "json", "html"])
def test_formats(capsys, form):
    status, out, err = run(capsys, "SparseCategoricalCrossentropy", *NUMBERS, "--format", form)
    assert status == 0 and not err
    assert "q_k = p_k / Σ_j p_j" in out and ("1.17694" in out) != (form == "json")
    if form == "json":
        assert json.loads(out)["value"] == pytest.approx(1.17694, abs=1e-5)


def test_arguments_weights_files_and_pictures(capsys, tmp_path):
    np.save(tmp_path / "labels.npy", np.array([1, 2]))
    np.save(tmp_path / "weights.npy", np.array([1.0, 0.0]))
    options = ["--y-true", str(tmp_path / "labels.npy"), *NUMBERS[2:], "--sample-weight", str(tmp_path / "weights.npy")]
    options += ["--arg", "from_logits=True", "--arg", "reduction=sum", "--plot", str(tmp_path / "loss.png"), "--format", "json"]
    status, out, _ = run(capsys, "SparseCategoricalCrossentropy", *options)
    assert status == 0 and json.loads(out)["loss"] == "SparseCategoricalCrossentropy(from_logits=True, reduction='sum')"
    assert (tmp_path / "loss.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "name", ["sparse_categorical_crossentropy", "keras:SparseCategoricalCrossentropy", "keras:sparse_categorical_crossentropy"]
)
def test_losses_of_keras(capsys, name):
    status, out, _ = run(capsys, name, *NUMBERS)
    assert status == 0 and "Keras's own loss" in out
    status, out, _ = run(capsys, name, *NUMBERS, "--arg", "from_logits=True")
    assert status == 0 and out.startswith("keras.losses.SparseCategoricalCrossentropy(from_logits=True)")


def test_numbers_that_are_not_finite(capsys):
    options = ["--y-true", "[[1, 0]]", "--y-pred", "[[0, -Infinity]]", "--arg", "from_logits=True"]
    status, out, _ = run(capsys, "CategoricalCrossentropy", *options)
    assert status == 0 and out.endswith("loss = 0 / 1 = 0\n")


def test_temperatures(capsys, tmp_path):
    status, out, _ = run(capsys, "--temperatures", "1,2,4,8", "--plot", str(tmp_path / "temperatures.png"))
    assert status == 0 and all(f"T = {temperature}\n" in out for temperature in (1, 2, 4, 8))
    assert (tmp_path / "temperatures.png").exists()
    logits = ["--y-true", "[3, 1]", "--y-pred", "[1, 1]", "--format", "json"]
    status, out, _ = run(capsys, "--temperatures", "2", *logits)
    assert status == 0 and json.loads(out)["teacher"] == [[3.0, 1.0]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "a loss is missing"),
        (["Nothing", *NUMBERS], "There is no loss 'Nothing'"),
        (["Nothing", *NUMBERS, "--arg", "a=1"], "there is no loss Nothing"),
        (["KLDivergence", "--y-true", "[1]"], "--y-pred is missing"),
        (["KLDivergence", "--y-true", "[1", "--y-pred", "[1]"], "--y-true [1: expected numbers"),
        (["KLDivergence", "--y-true", '["a"]', "--y-pred", "[1]"], "expected numbers"),
        (["KLDivergence", "--y-true", "nowhere.npy", "--y-pred", "[1]"], "nowhere.npy cannot be read"),
        (["KLDivergence", *NUMBERS], "must have the same shape"),
        (["KLDivergence", *NUMBERS, "--arg", "nothing=1"], "KLDivergence cannot be made"),
        (["KLDivergence", *NUMBERS, "--arg", "axis"], "expected KEY=VALUE"),
        (["KLDivergence", *NUMBERS, "--format", "pdf"], "invalid choice"),
        (["SparseCategoricalCrossentropy", *NUMBERS, "--plot", "picture.nothing"], "not supported"),
        (["SparseCategoricalCrossentropy", *NUMBERS, "--plot", "/nowhere/a.png"], "No such file"),
        (["DistillationLoss", *NUMBERS], "DistillationLoss cannot be made"),
        (["KLDivergence", "--temperatures", "1"], "--temperatures takes logits alone"),
        (["--temperatures", "1,b"], "expected numbers such as 1,2,4,8"),
        (["--temperatures", "-1"], "above 0"),
        (["--temperatures", "1", "--y-pred", "[1, 2]"], "--y-true is missing"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(capsys, arguments, words):
    status, out, err = run(capsys, *arguments)
    assert status == 2 and not out and words in err and err.count("\n") == 1


def test_help(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0 and "--temperatures" in out and "exit status" in out and "examples:" in out
    cli.main(["--help"])
    assert "explain" in capsys.readouterr().out

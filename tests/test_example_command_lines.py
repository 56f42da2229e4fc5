"""What the examples say to wrong arguments, and the words that they share."""

import pytest

from .backends import BACKEND
from .examples import EXAMPLES, names_in, run_example

OF_ALL = [
    (["--backend", "numpy"], "backend 'numpy' is none of tensorflow, jax, torch"),
    (["--colour", "red"], "unrecognized arguments: --colour red"),
]
OF_STUDENTS = [
    (["--seeds", "0"], "argument --seeds: 0 is not between 1 and 1000"),
    (["--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
    (["--temperature", "nan"], "argument --temperature: nan is not between 0.01 and 1000"),
    (["--label-weight", "1.5"], "argument --label-weight: 1.5 is not between 0 and 1"),
]
WRONG = {
    "distill_digits.py": [
        *OF_STUDENTS,
        (["--temperature", "-3"], "argument --temperature: -3 is not between 0.01 and 1000"),
        (["--labels", "5"], "argument --labels: 5 is not between 10 and 1000"),
    ],
    "distill_live.py": OF_STUDENTS,
    "distill_language_model.py": [
        *OF_STUDENTS,
        (["--words", "64"], "argument --words: 64 is not between 128 and 3000"),
        (["--part", "nan"], "argument --part: nan is not between 0.05 and 1"),
    ],
    "large_vocab.py": [
        (["--words", "64"], "argument --words: 64 is not between 8000 and 1000000"),
        (["--epochs", "0"], "argument --epochs: 0 is not between 1 and 10000"),
    ],
    "compare_tails.py": [
        (["--classes", "1"], "argument --classes: 1 is not between 2 and 200000"),
        (["--classes", "many"], "argument --classes: invalid int value: 'many'"),
        (["--seed", "-1"], "argument --seed: -1 is not between 0 and 4294967295"),
        (["--examples", "0"], "argument --examples: 0 is not between 1 and 10000"),
    ],
}
EVERY_EXAMPLE = pytest.mark.parametrize("name", WRONG)


@pytest.mark.parametrize(
    ("name", "arguments", "message"), [(name, *each) for name, wrong in WRONG.items() for each in (*wrong, *OF_ALL)]
)
def test_bad_arguments_end_in_one_line(name, arguments, message):
    finished = run_example(name, *arguments)
    assert finished.returncode == 2
    assert finished.stderr == f"{name}: error: {message}\n"
    assert finished.stdout == ""


@EVERY_EXAMPLE
def test_an_output_that_is_a_file_ends_in_one_line(tmp_path, name):
    file = tmp_path / "file"
    file.touch()
    finished = run_example(name, "--backend", BACKEND, "--output", file)
    assert finished.returncode == 2
    assert finished.stderr == f"{name}: error: --output {file} cannot be a directory: File exists\n"


@EVERY_EXAMPLE
def test_a_backend_that_is_not_installed_ends_in_one_line(tmp_path, name):
    launcher = tmp_path / name
    launcher.write_text(
        f"import runpy, sys\nsys.path[0] = {str(EXAMPLES)!r}\nsys.modules[{BACKEND!r}] = None\n"
        f"runpy.run_path({str(EXAMPLES / name)!r}, run_name='__main__')\n"
    )
    finished = run_example(name, "--backend", BACKEND, launcher=[launcher])
    assert finished.returncode == 2
    assert finished.stderr == f"{name}: error: not installed: {BACKEND}. Run: pip install '.[examples,{BACKEND}]'\n"


@pytest.mark.parametrize(
    ("key", "differences", "words"),
    [
        ("test_accuracy", [2.0, 3.0, 2.5], "better (+2.50 ± 1.24 points)"),
        ("test_accuracy", [-2.0, -3.0, -2.5], "worse (-2.50 ± 1.24 points)"),
        ("test_accuracy", [2.0, -3.0, 2.5], "no difference beyond the seeds' spread (+0.50 ± 7.56 points)"),
        ("test_accuracy", [0.0, 0.0, 0.0], "no difference beyond the seeds' spread (+0.00 ± 0.00 points)"),
        ("test_accuracy", [2.5], "cannot be told from one seed (+2.50 points)"),
        ("test_loss", [-0.2, -0.3, -0.25], "better (-0.250 ± 0.124 nats)"),
        ("test_loss", [0.2, 0.3, 0.25], "worse (+0.250 ± 0.124 nats)"),
        ("test_loss", [-1e-9, 0.0, -1e-9], "no difference beyond the seeds' spread (+0.000 ± 0.000 nats)"),
    ],
)
def test_verdict_in_words(key, differences, words):
    shared = names_in("_shared.py")
    assert shared["verdict"](differences, shared["QUANTITIES"][key]) == words

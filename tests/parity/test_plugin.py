"""The pytest plugin, as a user has it: pytest run on small projects that use it."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from keras_xent.parity.running import BACKEND

USER_LOSSES = os.path.join(os.path.dirname(__file__), "user_losses.py")
OTHER = "torch" if BACKEND == "jax" else "jax"
DENSE = '"CategoricalCrossentropy"'

RIGHT_AND_WRONG = f"""
import keras
import pytest
import my_losses
from keras_xent.parity import assert_parity

OPTIONS = {{"cases": 25}}


def test_right(parity):
    assert parity(my_losses.right, corpus={DENSE}, **OPTIONS) >= 25


def test_right_by_name(parity):
    parity("my_losses:Right", "Keras", corpus={DENSE}, groups=["ordinary"], cases=4)


@pytest.mark.parametrize("loss", ["scaled", "along_the_batch", "not_renormalized", "with_a_dead_gradient", "averaged"])
def test_wrong(parity, loss):
    parity(getattr(my_losses, loss), corpus={DENSE}, **OPTIONS)


def test_wrong_ids(parity):
    parity(my_losses.of_ids_cast_to_float, corpus="SparseCategoricalCrossentropy", arguments={{"from_logits": True}}, **OPTIONS)


@pytest.mark.parametrize("loss", [my_losses.SummedForAMean, my_losses.WeightsDropped])
def test_wrong_class(loss):
    assert_parity(loss, corpus={DENSE}, **OPTIONS)
"""

ELSEWHERE = f"""
import keras
import pytest
import my_losses

pytestmark = pytest.mark.parity_backends("{BACKEND}", "{OTHER}")


def test_right(parity):
    assert parity(my_losses.right, corpus={DENSE}, cases=3) >= 3


def test_wrong(parity):
    parity(my_losses.scaled, corpus={DENSE}, cases=3)


def test_given(parity):
    parity(my_losses.right, y_true=[[1.0, 0.0]], y_pred=[[0.25, 0.75]], corpus={DENSE})


@pytest.mark.parity_devices("gpu")
def test_on_a_gpu(parity):
    parity(my_losses.scaled, corpus={DENSE}, cases=3)


@pytest.mark.parity_backends("{OTHER}")
def test_local(parity):
    parity(lambda y_true, y_pred: y_pred, corpus={DENSE})
"""

WRONG_MARKER = """
import pytest


@pytest.mark.parity_backends("tensorflow", "mxnet")
def test_it(parity):
    parity("KLDivergence")
"""


@pytest.fixture
def project(tmp_path):
    """Runs pytest on a test file, beside a user's losses; returns its exit code and what it wrote."""

    def run(text, *options):
        shutil.copy(USER_LOSSES, tmp_path / "my_losses.py")
        (tmp_path / "test_losses.py").write_text(text)
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings =\n    error\n    ignore::DeprecationWarning\n")
        environment = {**os.environ, "KERAS_BACKEND": BACKEND, "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.pop("PYTEST_ADDOPTS", None)
        command = [sys.executable, "-m", "pytest", "-p", "keras_xent.pytest_plugin", "--strict-markers", "-rA", *options]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        return ran.returncode, ran.stdout + ran.stderr

    return run


def outcomes(text):
    """Passed, failed and skipped tests, by name."""
    found = re.findall(r"^(PASSED|FAILED|ERROR) test_losses\.py::(\S+)", text, re.M)
    return {name: outcome for outcome, name in found}


def test_right_and_wrong_ones(project):
    code, text = project(RIGHT_AND_WRONG)
    assert code == 1
    found = outcomes(text)
    assert len(found) == 10, text
    assert {name for name, outcome in found.items() if outcome == "PASSED"} == {
        f"test_right[{BACKEND}]",
        f"test_right_by_name[{BACKEND}]",
    }
    for phrase in ("my_losses:scaled is not definition", "value, expected", "gradient, given", "(BROKEN)", "assert_parity("):
        assert phrase in text


def test_other_backends_under_xdist(project):
    """Each backend is a test of its own; what is not run is said."""
    code, text = project(ELSEWHERE, "-n", "2")
    assert code == 1
    found = outcomes(text)
    assert found.pop(f"test_local[{OTHER}]") == "FAILED" and "define it at the top of a module" in text
    passed = {f"{name}[{backend}]" for name in ("test_right", "test_given") for backend in (BACKEND, OTHER)}
    assert {name for name, outcome in found.items() if outcome == "PASSED"} == passed, text
    assert {name for name, outcome in found.items() if outcome == "FAILED"} >= {f"test_wrong[{BACKEND}]", f"test_wrong[{OTHER}]"}
    assert f"my_losses:scaled is not definition on {OTHER}" in text
    on_gpu = [name for name in found if "gpu" in name]
    if on_gpu:  # there is one, on which the wrong loss is caught
        assert {found[name] for name in on_gpu} == {"FAILED"}
    else:
        assert re.search(r"parity: not run on a GPU: .*\(\d tests?\)", text)


def test_wrong_markers(project):
    code, text = project(WRONG_MARKER)
    assert code != 0
    assert "parity_backends takes one or more of tensorflow, jax, torch, not ['mxnet']" in text


def test_without_the_plugin(project, tmp_path):
    """It is opt-in: nothing but asking for it loads it."""
    (tmp_path / "test_it.py").write_text(
        "def test_it(pytestconfig):\n    assert not pytestconfig.pluginmanager.hasplugin('keras_xent.pytest_plugin')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--markers", "test_it.py"], capture_output=True, text=True, cwd=tmp_path
    )
    assert "parity_backends" not in ran.stdout
    assert subprocess.run([sys.executable, "-m", "pytest", "-q", "test_it.py"], cwd=tmp_path, capture_output=True).returncode == 0

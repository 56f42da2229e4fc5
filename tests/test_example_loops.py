"""The three loops, run as a user runs them: each in a process and on a backend of its own, all reach the same student."""

import importlib.util
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from keras_xent.parity.bounds import error_in_bounds

from .examples import EXAMPLES, run_example

LOOPS = EXAMPLES / "custom_loops"
SCRIPTS = {"tensorflow": "with_gradient_tape.py", "jax": "with_value_and_grad.py", "torch": "with_backward.py"}
STEPS = 50
# Found, not imported: three backends in this process would take longer than the test.
MISSING = [backend for backend in SCRIPTS if importlib.util.find_spec(backend) is None]


def run_loop(script, *arguments, backend=None):
    """Runs a loop in a process of its own, with `backend` in its environment, or none."""
    return run_example(script, *arguments, strict=True, KERAS_BACKEND=backend)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What each loop printed and the weights it saved; the last one takes one step more."""
    if MISSING:
        pytest.skip(f"the loops are compared on three backends; not installed: {', '.join(MISSING)}")
    directory = tmp_path_factory.mktemp("loops")

    def run(number, backend, steps):
        file = directory / f"{number}.npz"
        finished = run_loop(LOOPS / SCRIPTS[backend], "--steps", str(steps), "--weights", file, backend=backend)
        assert finished.returncode == 0, finished.stderr
        with np.load(file) as weights:
            return finished.stdout, list(weights.values())

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, range(4), [*SCRIPTS, "torch"], [STEPS] * 3 + [STEPS + 1]))


def difference(weights, others):
    """The largest one, as a multiple of what rounding allows.

    A weight is a sum of one term per step; where it has come out small, the terms have not.
    """
    return max(
        error_in_bounds(weight, other, "float32", terms=STEPS, floor=np.abs(other).max())
        for weight, other in zip(weights, others, strict=True)
    )


def test_the_students_agree_within_rounding(runs):
    by_tape, by_value_and_grad, by_backward, _ = (weights for _, weights in runs)
    assert [weight.shape for weight in by_tape] == [(64, 32), (32,), (32, 10), (10,)]
    assert difference(by_tape, by_value_and_grad) <= 1
    assert difference(by_backward, by_value_and_grad) <= 1


def test_one_step_more_would_be_seen(runs):
    """The bound is far below what a step does."""
    assert difference(runs[3][1], runs[2][1]) > 100


def test_each_prints_its_backend_and_the_same_numbers(runs):
    losses = []
    for backend, (printed, _) in zip(SCRIPTS, runs, strict=False):
        shown = re.fullmatch(rf"{backend}: loss (\d\.\d{{4}}) nats, test accuracy (\d+\.\d\d)%\n", printed)
        assert shown, printed
        losses.append(float(shown[1]))
        assert float(shown[2]) > 80  # chance is 10
    assert np.ptp(losses) < 1.5e-4  # the last digit shown


@pytest.mark.parametrize(("backend", "other"), [("tensorflow", "jax"), ("jax", "torch"), ("torch", "tensorflow")])
def test_another_backend_ends_in_one_line(backend, other):
    finished = run_loop(LOOPS / SCRIPTS[backend], backend=other)
    assert finished.returncode == 2
    expected = f"{SCRIPTS[backend]}: error: this loop is for KERAS_BACKEND={backend}, but it is set to {other}\n"
    assert finished.stderr == expected
    assert finished.stdout == ""


@pytest.mark.parametrize(
    ("steps", "message"), [("0", "argument --steps: 0 is less than 1"), ("many", "argument --steps: invalid int value: 'many'")]
)
def test_bad_steps_end_in_one_line(steps, message):
    finished = run_loop(LOOPS / SCRIPTS["jax"], "--steps", steps)
    assert finished.returncode == 2
    assert finished.stderr == f"with_value_and_grad.py: error: {message}\n"


def test_a_backend_that_is_not_installed_ends_in_one_line(tmp_path):
    launcher = tmp_path / "with_backward.py"
    loop = str(LOOPS / "with_backward.py")
    launcher.write_text(
        f"import runpy, sys\nsys.path[0] = {str(LOOPS)!r}\nsys.modules['torch'] = None\n"
        f"runpy.run_path({loop!r}, run_name='__main__')\n"
    )
    finished = run_loop(launcher)
    assert finished.returncode == 2
    assert finished.stderr == "with_backward.py: error: not installed: torch. Run: pip install '.[examples,torch]'\n"

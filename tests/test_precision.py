"""How exact losses and gradients are, element by element, against float64 and 60 digits; and the table of it."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent.parity import precision, precision_measure, precision_truth
from keras_xent.parity.bounds import LIMIT
from keras_xent.parity.precision_measure import CASES, SMALLEST, Plan, draw, errors, measurements
from keras_xent.parity.processes import CrashError

from .backends import BACKEND

SCALES = precision.FULL["scales"]
every_plain, every_newer, every_gamma = (
    pytest.mark.parametrize("case", [*filter(chosen, CASES)], ids=lambda case: f"{case.function}, {case.what}")
    for chosen in (lambda case: not case.newer, lambda case: case.newer, lambda case: "gamma" in case.options)
)


def plan(elements, exact=0):
    """Of all scales, as TensorFlow runs them eagerly, JAX compiled."""
    return Plan(scales=SCALES, classes=(), elements=elements, exact=exact, modes=1)


# ------------------------------------------------------------------------------------------------------------ the bounds


@pytest.mark.parametrize("num_classes", [2, 50, 50_000])
@every_plain
def test_within_64_epsilon_and_never_worse_than_keras(case, num_classes):
    """Half of the targets are the largest logit."""
    found = [*measurements(plan(3000), case, num_classes)]
    assert {one["scale"] for one in found} == set(SCALES) and all(one["count"] for one in found)
    assert not [*precision.failed(found)]


@every_newer
def test_the_same_against_60_digits(case):
    """The divergence is the difference of a cross-entropy and an entropy: its error is relative to the cross-entropy."""
    found = [*measurements(plan(3000, exact=200), case, 50)]
    assert {one["scale"] for one in found if one["who"] == "float64"} == set(SCALES)
    assert not [*precision.failed(found)]


@every_newer
def test_many_classes_in_60_digits(case):
    """A row, from what is drawn at 5,000 classes: the definition in float64 is as good as 60 digits."""
    y_true, logits = (part[:1] for part in draw(case.targets, 30.0, 5000, 5000))
    truth = precision_truth.in_float64(case.function, y_true, logits, case.options)
    sizes = precision_truth.sizes(case.function, y_true, logits, case.options, *truth, soft=case.targets == "soft")
    exact = precision_truth.in_many_digits(case.function, y_true, logits, case.options)
    for result, expected, size in zip(truth, exact, sizes, strict=True):
        assert errors(result, expected, size).max(initial=0.0) < 1e-3


@every_newer
def test_the_gradient_in_60_digits_is_that_of_the_loss_in_60_digits(rng, case):
    size, step = (5, 1) if case.targets == "answers" else (1, 5), 1e-5
    logits, labels = rng.normal(size=size), np.array([3])
    y_true = {
        "labels": labels,
        "hard": np.eye(5)[labels],
        "soft": np.array([[0.4, 0.3, 0.2, 0.1, 0.0]]),
        "answers": rng.integers(0, 2, size=size).astype("float64"),
    }[case.targets]
    _, gradient = precision_truth.in_many_digits(case.function, y_true, logits, case.options)
    for k in range(5):
        moved = np.zeros(5)
        moved[k] = step
        above, below = (
            precision_truth.in_many_digits(case.function, y_true, logits + sign * moved.reshape(size), case.options)[0].sum()
            for sign in (1, -1)
        )
        np.testing.assert_allclose((above - below) / (2 * step), gradient.ravel()[k], rtol=1e-6, atol=1e-9)


@every_gamma
def test_nothing_appears_where_there_is_nothing(case):
    """A focal loss or gradient below the smallest normal number, which the bounds leave out, is not above it."""
    y_true, logits = draw(case.targets, 1000.0, 50, 3000)
    results = precision_measure.value_and_gradient(case.ours, precision_measure.MODES[0])(y_true, logits)
    truth = precision_truth.in_float64(case.function, y_true, logits, case.options)
    for result, expected in zip(results, truth, strict=True):
        nothing = np.abs(expected) < SMALLEST
        assert (np.abs(result[nothing]) <= 2 * SMALLEST).all()


def test_a_mean_over_many_outputs(rng):
    """The binary loss of 50,000 outputs, half of them right: a sum of positive terms."""
    logits = np.float32(30 * rng.normal(size=(4, 50_000))).astype("float64")
    y_true = rng.integers(0, 2, logits.shape).astype("float64")
    case = next(case for case in CASES if case.targets == "answers")
    losses, _ = precision_measure.value_and_gradient(case.ours, precision_measure.MODES[0])(y_true, logits)
    expected, _ = precision_truth.in_float64(case.function, y_true, logits, {})
    assert errors(losses, expected, expected).max() <= LIMIT


@pytest.mark.parametrize("mode", precision_measure.MODES)
def test_many_small_shares_beside_a_large_one(mode):
    """The divergence of 250,000 classes from one: XLA adds them up one after the other."""
    case = next(case for case in CASES if case.function == "kl_divergence" and case.targets == "hard")
    y_true, logits = draw("hard", 0.01, 250_000, 1)
    losses, _ = precision_measure.value_and_gradient(case.ours, mode)(y_true, logits)
    expected, _ = precision_truth.in_float64(case.function, y_true, logits, {})
    assert errors(losses, expected, expected).max() <= LIMIT


@pytest.mark.parametrize("q", [0.1, 0.7, 0.9])
def test_exponents_that_are_no_power_of_2(q):
    """exp(-q loss) has as many times the rounding of q loss as that is large."""
    case = next(case for case in CASES if case.options.get("q"))
    case = dataclasses.replace(case, options={"q": q}, theirs=None)
    assert not [*precision.failed(measurements(plan(50_000), case, 50))]


@pytest.mark.parametrize("q", [0.01, 0.5])
def test_a_generalised_loss_next_to_0(q):
    """It is normal where q times it is taken for 0; and a loss of 0 has no sign."""
    case = next(case for case in CASES if case.options.get("q"))
    case = dataclasses.replace(case, options={"q": q})
    y_true, logits = np.zeros(3, "int32"), np.array([[0.0, -87.0], [0.0, -50.0], [0.0, -17.0]])
    results = precision_measure.value_and_gradient(case.ours, precision_measure.MODES[0])(y_true, logits)
    for result, expected in zip(results, precision_truth.in_float64(case.function, y_true, logits, {"q": q}), strict=True):
        assert errors(result, expected, np.abs(expected)).max() <= LIMIT
    certain = keras_xent.categorical_generalized_cross_entropy([0], np.float32([[1.0, 0.0]]), q)
    assert not np.signbit(keras.ops.convert_to_numpy(certain)).any()


# ---------------------------------------------------------------------------------------------------- the check can fail


class Theirs(precision_measure.Case):
    """A case in which Keras's loss stands for ours."""

    def ours(self, y_true, logits):
        return self.theirs(y_true, logits)


@pytest.mark.parametrize("function", ["sparse_categorical_crossentropy", "binary_focal_crossentropy", "kl_divergence"])
def test_keras_does_not_pass(function):
    case = next(case for case in CASES if case.function == function)
    case = Theirs(**{field.name: getattr(case, field.name) for field in dataclasses.fields(case)})
    failures = "".join(precision.failed(measurements(plan(3000), case, 2)))
    assert "value" in failures and "gradient" in failures


def test_a_small_error_is_seen(monkeypatch):
    exact = keras_xent.categorical_crossentropy
    case = next(case for case in CASES if case.name == "categorical, soft targets")
    for error, seen in ((4, 0), (30, len(SCALES)), (100, 2 * len(SCALES))):  # worse than Keras's, and beyond the limit
        factor = 1 + error * 2.0**-23
        monkeypatch.setattr(keras_xent, case.function, lambda *a, factor=factor, **k: exact(*a, **k) * factor)
        found = [one for one in measurements(plan(3000), case, 50) if one["quantity"] == "value"]
        assert len([*precision.failed(found)]) == seen


def test_what_an_error_is():
    nan, infinity = float("nan"), float("inf")
    epsilon = 2.0**-23
    for result, expected, size, error in (
        (1 + epsilon, 1, 1, [1]),
        (1 + epsilon, 1, 2, [0.5]),
        (0, 1e-30, 1e-30, [1 / epsilon]),
        (0, 1e-39, 1e-39, []),
        (nan, 1e-39, 1e-39, [infinity]),
        (infinity, 1, 1, [infinity]),
        (1, nan, 1, [infinity]),
    ):
        assert errors(np.array([result]), np.array([expected]), np.array([size])).tolist() == pytest.approx(error)
    assert errors(np.zeros(1), np.array([2e-38]), np.array([2e-38]), flushed=2.0**-125).tolist() == [0.0]


# ------------------------------------------------------------------------------------------------- the table, the command


def canned(ours=3.0, keras=2.0**23, float64=1e-8):
    """What a run on one backend finds: one loss at one scale."""
    common = {"case": "sparse", "what": "labels", "classes": 2, "scale": 1.0, "quantity": "value", "count": 200}
    found = [
        common | {"who": who, "mode": mode, "worst": worst, "above": above}
        for who, mode, worst, above in (("float64", "", float64, 0), ("ours", "eager", ours, 0), ("Keras", "eager", keras, 26))
    ]
    versions = {"Keras": "3.15.1", precision.BACKENDS[BACKEND]: "1.0"}
    return {"versions": versions, "device": "CPU"}, found


@pytest.fixture
def measured(monkeypatch):
    """Lets the command find what it is told to, on the active backend."""

    def tell(**worst):
        monkeypatch.setattr(precision, "measure", lambda backend, plan: canned(**worst))
        monkeypatch.setattr(precision, "installed", lambda module: module in (BACKEND, "rich", "mpmath"))

    return tell


def test_exit_codes(measured, monkeypatch, capsys):
    measured()
    assert precision.main([]) == 0
    assert "| sparse: value | 3 | lost, 13 % |" in capsys.readouterr().out
    for told, phrase in (
        ({"ours": 65.0}, "sparse (labels), value, 2 classes, scale 1, eager: 65 ε"),
        ({"ours": float("inf")}, "inf ε"),
        ({"ours": 19.0, "keras": 2.0}, "19 ε, Keras's 2 ε"),
        ({"float64": 0.1}, "the reference is off by 0.1 ε"),
    ):
        measured(**told)
        assert precision.main(["--quick", "--backend", BACKEND]) == 1
        assert phrase in capsys.readouterr().err

    def broken(backend, plan):
        raise CrashError(f"{backend} is broken")

    monkeypatch.setattr(precision, "measure", broken)
    assert precision.main([]) == 1
    assert f"{BACKEND} is broken" in capsys.readouterr().err


def usage_error(arguments, capsys):
    with pytest.raises(SystemExit) as raised:
        precision.main(arguments)
    assert raised.value.code == 2
    return capsys.readouterr().err


def test_usage_errors(measured, monkeypatch, tmp_path, capsys):
    measured()
    assert "invalid choice: 'numpy'" in usage_error(["--backend", "numpy"], capsys)
    other = next(name for name in precision.BACKENDS if name != BACKEND)
    assert f"pip install 'keras_xent[{other}]'" in usage_error(["--backend", other], capsys)
    assert "No such file" in usage_error(["--write", str(tmp_path / "missing.md")], capsys)
    half = tmp_path / "half.md"
    half.write_text(f"text\n{precision.BEGIN}\n")
    assert f"it lacks the line {precision.END}" in usage_error(["--write", str(half)], capsys)
    monkeypatch.setattr(precision, "installed", lambda module: module != "mpmath")
    assert "mpmath is not installed: pip install 'keras_xent[test]'" in usage_error([], capsys)


def test_help_says_what_is_measured(capsys):
    with pytest.raises(SystemExit) as raised:
        precision.main(["--help"])
    text = capsys.readouterr().out
    assert raised.value.code == 0
    for phrase in ("Exit code", precision.BEGIN, precision.END, "float64", "64 epsilons", "0.01, 1, 30 and 1000", "50,000"):
        assert phrase in text


def test_the_table_replaces_the_old_one(measured, tmp_path, capsys):
    path = tmp_path / "notes.md"
    path.write_text(f"# Title\n\n{precision.BEGIN}\nold\n{precision.END}\n\nafter ε\n", "utf-8")
    for keras_error, shown in ((2.0**24, "lost, 13 %"), (float("inf"), "NaN, 13 %"), (70.0, "70, 13 %")):
        measured(keras=keras_error)
        assert precision.main(["--write", str(path)]) == 0
        text = path.read_text("utf-8")
        assert text.startswith(f"# Title\n\n{precision.BEGIN}\n`python -m keras_xent.parity.precision --write notes.md` measured")
        assert text.endswith(f"| sparse: value | 3 | {shown} |\n{precision.END}\n\nafter ε\n") and "old" not in text
        assert capsys.readouterr().out.strip() in text


def test_what_the_process_of_a_backend_finds(monkeypatch):
    monkeypatch.setattr(precision_measure, "CASES", CASES[:1])
    total, found = precision_measure.measured(**precision.QUICK | {"scales": [1.0], "classes": [2], "elements": 64})
    assert total == {"total": 1} and found["done"] == 1
    assert {(one["who"], one["quantity"]) for one in found["measurements"]} == {
        (who, quantity) for who in ("ours", "Keras") for quantity in ("value", "gradient")
    }


def test_a_process_of_its_own():
    setting, found = precision.measure(BACKEND, {"scales": [], "classes": []})
    assert setting["backend"] == BACKEND and setting["versions"]["Keras"] == keras.__version__ and found == []

"""`assert_parity`: right losses pass, each wrong one is caught, and what it says can be run."""

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent.parity import ParityError, assert_parity, named
from keras_xent.parity.running import BACKEND, MODES, USUAL

from . import user_losses
from .user_losses import Right

CASES = 20 if BACKEND == "jax" else 40
LOGITS = {"from_logits": True}


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (user_losses.right, {"corpus": "CategoricalCrossentropy"}),
        (user_losses.right_of_ids, {"corpus": "SparseCategoricalCrossentropy", "arguments": LOGITS}),
        (keras_xent.KLDivergence, {"strict": True}),
        (keras_xent.BinaryCrossentropy(from_logits=True, label_smoothing=0.1, reduction="sum"), {"strict": True}),
        (keras_xent.categorical_focal_crossentropy, {"strict": True}),
        ("DistillationLoss", {"strict": True}),
        ("keras_xent.reference:categorical_crossentropy", {}),
    ],
)
def test_right_ones(loss, options):
    assert assert_parity(loss, cases=CASES, mode=USUAL, **options) >= min(CASES, 8)


def test_weights_that_are_left_to_keras_are_known_to_differ():
    """Aligned with the last axis, NaN under weight 0: no fault of the loss."""
    weights = {"groups": ["weights"], "cases": None, "mode": USUAL, "corpus": "CategoricalCrossentropy"}
    assert assert_parity(Right, **weights) == 30
    assert assert_parity(Right(from_logits=True), **weights) > 2


def test_an_argument_of_ones_own():
    """What only one side takes is given to that side."""
    arguments = {"factor": 1.0, "from_logits": True}
    for reference in ("definition", "Keras"):
        assert assert_parity(user_losses.times, reference, corpus="CategoricalCrossentropy", arguments=arguments, mode=USUAL) > 20
    with pytest.raises(ParityError, match=r"factor=1\.5"):
        assert_parity(user_losses.times, corpus="CategoricalCrossentropy", arguments={**arguments, "factor": 1.5})


def test_each_mode():
    """Some cases are run in all modes, without being asked."""
    assert (
        assert_parity(user_losses.right, corpus="CategoricalCrossentropy", cases=11, groups=["ordinary"]) == 11 + len(MODES) - 1
    )


@pytest.mark.parametrize("reference", ["Keras", keras.losses.CategoricalCrossentropy, keras_xent.CategoricalCrossentropy])
def test_a_right_class_against_others(reference):
    """On what a class that leaves weights and reduction to Keras has in common with each."""
    groups = ["ordinary", "degenerate"] if reference == "Keras" else ["ordinary"]
    assert assert_parity(Right, reference, corpus="CategoricalCrossentropy", groups=groups, cases=CASES // 2, mode=USUAL) > 5


class Needing(keras.losses.Loss):
    """It cannot be made without an argument of its own."""

    def __init__(self, needed):
        super().__init__()


WRONG = [
    (user_losses.scaled, "CategoricalCrossentropy", {}),
    (user_losses.along_the_batch, "CategoricalCrossentropy", {}),
    (user_losses.not_renormalized, "CategoricalCrossentropy", {}),
    (user_losses.with_a_dead_gradient, "CategoricalCrossentropy", {}),
    (user_losses.averaged, "CategoricalCrossentropy", {}),
    (user_losses.overflowing, "CategoricalCrossentropy", {"arguments": LOGITS}),
    (user_losses.divided_by_nothing, "CategoricalCrossentropy", {"arguments": {"from_logits": False}}),
    (user_losses.FirstIgnored, "SparseCategoricalCrossentropy", {}),
    (user_losses.of_ids_cast_to_float, "SparseCategoricalCrossentropy", {"arguments": LOGITS}),
    (user_losses.SummedForAMean, "CategoricalCrossentropy", {}),
    (user_losses.WeightsDropped, "CategoricalCrossentropy", {}),
    (user_losses.broken, "CategoricalCrossentropy", {}),
]


@pytest.mark.parametrize(("loss", "corpus", "options"), WRONG, ids=[loss.__name__ for loss, _, _ in WRONG])
def test_wrong_ones(loss, corpus, options):
    with pytest.raises(ParityError, match=loss.__name__):
        assert_parity(loss, corpus=corpus, mode=USUAL, **options)


def test_what_it_says():
    with pytest.raises(ParityError) as raised:
        assert_parity(
            user_losses.with_a_dead_gradient,
            corpus="CategoricalCrossentropy",
            y_true=[[1.0, 0.0]],
            y_pred=[[1e-9, 1.0]],
            mode="eager",
        )
    said = str(raised.value)
    for line in (
        f"user_losses:with_a_dead_gradient is not definition on {BACKEND} (eager, float32); found on: the given input.",
        "  arguments           from_logits=False, axis=-1, reduction='none'",
        "  y_true              [[1.0, 0.0]]",
        "  y_pred              [[1e-09, 1.0]]",
        "  value, expected     [16.118095639272223]",
        " (kept)",
        "  gradient, expected  [[-1000000027",
        " (BROKEN)",
    ):
        assert line in said, said
    assert re.search(r"value, given +\[16\.118", said) and re.search(r"gradient, given +\[\[-?0\.0, -?0\.0\]\]", said)
    assert re.search(r"off by 8\.389e\+06 ε; bound: 16\d", said)


def test_the_smallest_input():
    """Of a mistake that shows on any input two classes and one example are left, in few digits."""
    with pytest.raises(ParityError) as raised:
        assert_parity(user_losses.scaled, corpus="CategoricalCrossentropy", groups=["ordinary"], arguments=LOGITS)
    y_pred = np.array(eval(re.search(r"y_pred=np\.array\((.*)\),\n", str(raised.value))[1], {"np": np}))
    assert y_pred.size == 2 and np.array_equal(y_pred, y_pred.round())


def test_the_snippet_shows_it_again(tmp_path):
    with pytest.raises(ParityError) as raised:
        assert_parity("user_losses:of_ids_cast_to_float", corpus="SparseCategoricalCrossentropy", arguments=LOGITS)
    code = str(raised.value).partition("\n\n")[2]
    assert f'os.environ["KERAS_BACKEND"] = "{BACKEND}"' in code and re.search(r"dtype='b?float16'", code)
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__), "TF_CPP_MIN_LOG_LEVEL": "3"}
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert again.returncode == 1
    assert "ParityError: user_losses:of_ids_cast_to_float is not definition" in again.stderr


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """By name, as a user's module is."""
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    yield
    sys.modules.pop("user_losses", None)


@pytest.mark.parametrize(
    ("things", "options", "message"),
    [
        (("nothing:Here",), {}, "'nothing:Here' cannot be imported: ModuleNotFoundError: No module named 'nothing'"),
        (("user_losses:Nothing",), {}, "Module 'user_losses' has no 'Nothing'"),
        (("CategoricalCrossEntropy",), {}, "is no loss of keras_xent and none of definition, Keras, keras_xent"),
        ((user_losses.right,), {}, "name the keras_xent loss that takes the same"),
        ((user_losses.right,), {"corpus": "Hinge"}, "There is no corpus for 'Hinge'"),
        ((7,), {"corpus": "KLDivergence"}, "is a int: expected a loss class"),
        ((Right,), {"corpus": "CategoricalCrossentropy", "groups": ["odd"]}, "There is no group odd; choose from ordinary"),
        ((Right,), {"corpus": "CategoricalCrossentropy", "mode": "fast"}, "`mode` must be one of"),
        ((keras_xent.KLDivergence(axis=7),), {}, "No case fits both"),
        ((":right",), {}, "':right' names nothing: expected module:Name"),
        ((".user_losses:right",), {}, "names nothing"),
        ((max,), {"corpus": "KLDivergence"}, "does not say which arguments it takes"),
        ((Needing,), {"corpus": "KLDivergence"}, "Needing cannot be made: TypeError"),
        (("KLDivergence",), {"arguments": {"epsilon": 7.0}}, "cannot be made: ValueError: `epsilon`"),
        (("KLDivergence",), {"arguments": {"reduction": "sum"}}, "'reduction' cannot be settled"),
        (("KLDivergence",), {"seed": -1}, "`seed` must be a whole number from 0, not -1"),
        (("KLDivergence",), {"reduction": "sum", "dtype": "float16"}, "`reduction` and `dtype` belong to the one case"),
        (("KLDivergence",), {"y_pred": [[0.5, 0.5]]}, "`y_pred` is given without `y_true`"),
        (("KLDivergence",), {"y_true": [[1, 0]], "y_pred": [[0.5, 0.5]], "dtype": "int8"}, "`dtype` must be one of float16"),
        (("KLDivergence",), {"cases": 0}, "`cases` must be a whole number from 1"),
        (
            ("SparseCategoricalCrossentropy",),
            {"y_true": [5], "y_pred": [[0.2, 0.8]], "mode": "eager"},
            "holds class 5 at position 0",
        ),
        (
            ("BinaryCrossentropy", "Keras"),
            {"y_true": [[1]], "y_pred": [[0.2]], "arguments": {"axis": ()}},
            "Keras's loss has one axis",
        ),
        (
            ("user_losses:right", "Keras"),
            {"corpus": "KLDivergence", "arguments": {"x": 1}},
            "Neither of the two takes an argument 'x'",
        ),
        (
            (keras_xent.KLDivergence(from_logits=True),),
            {"y_true": [0.5, 0.5], "y_pred": [0.5, 0.5], "arguments": {"from_logits": False}},
            "made with another",
        ),
    ],
)
def test_bad_usage(things, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        assert_parity(*things, **options)


def test_a_definition_in_numpy_needs_its_gradient():
    assert assert_parity(keras_xent.kl_divergence, "keras_xent.reference:kl_divergence", cases=5, strict=True, mode=USUAL) == 5


def test_arguments_may_be_arrays():
    assert assert_parity("CategoricalFocalCrossentropy", arguments={"alpha": np.array(0.5)}, groups="ordinary", cases=3) == 3


def test_the_epsilon_of_keras(monkeypatch):
    """The definition is asked with the ε that Keras is set to."""
    monkeypatch.setattr(keras.config, "epsilon", lambda: 1e-3)
    assert assert_parity("KLDivergence", groups=["extreme"], mode=USUAL) > 5


def test_a_snippet_of_a_script_names_nothing_that_it_has_not():
    class Local:
        """Neither has a module that others can import."""

    Local.__module__ = "__main__"
    assert named.importable(Local) is None

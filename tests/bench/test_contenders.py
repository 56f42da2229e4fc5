"""Whoever is timed computes what the definition says; who does not is found out."""

import dataclasses

import numpy as np
import pytest
from keras import ops

import keras_xent
from keras_xent.bench import linear, tasks
from keras_xent.bench.contenders import BASELINE, Contender
from keras_xent.bench.inputs import BOUNDS, draw, truth
from keras_xent.bench.plan import USUAL
from keras_xent.bench.sizes import parse
from keras_xent.bench.subjects import SUBJECTS

from ..backends import BACKEND, array, tensor

MODE = USUAL[BACKEND][0]


def measured(subject, among, size=None, call="function", dtype="float32", mode=MODE):
    """What is found of some contenders, in one round."""
    size = parse(size or ("6x4x9" if subject.space == "linear" else "6x9"))
    inputs = draw(subject, size, dtype)
    common = {"loss": subject.name, "size": str(size), "call": call, "backend": BACKEND, "mode": mode, "dtype": dtype}
    return tasks.compared(among, inputs, truth(subject, inputs), size, mode, common, repeats=1)


@pytest.mark.parametrize("call", ["function", "object"])
@pytest.mark.parametrize("name", SUBJECTS)
def test_every_contender_computes_the_definition(name, call):
    subject = SUBJECTS[name]
    found = measured(subject, subject.among(BACKEND, "cpu", call), call=call)
    assert {"jax": {"optax"}, "torch": {"torch"}, "tensorflow": set()}[BACKEND] <= {one.contender for one in found} or name in (
        *("focal", "sparse-focal", "binary-focal", "sparse-probs", "dense-probs", "binary-probs", "generalized"),
        *("focal-probs", "binary-focal-probs", "kl-probs"),
        *("linear", "linear-distillation"),
    )
    assert len(found) >= 2 and BASELINE in {one.contender for one in found}
    for one in found:
        assert one.problem is None, one
        assert one.value_error < 1e-5 and one.gradient_error < 1e-5
        assert one.ratio["median"] > 0 and one.seconds["median"] > 0 and one.first_seconds > 0 and one.rounds == 1
        assert one.copies is None  # so few logits say nothing of a copy


@pytest.mark.parametrize("name", ["sparse", "distillation", "linear", "linear-distillation"])
def test_half_precision(name):
    subject = SUBJECTS[name]
    for one in measured(subject, subject.among(BACKEND, "cpu", "function"), dtype="bfloat16"):
        assert one.problem is None, one


def test_larger_sizes_are_told_in_copies():
    subject = SUBJECTS["sparse"]
    for one in measured(subject, subject.among(BACKEND, "cpu", "function"), "300x400"):
        assert one.problem is None and one.copies["low"] <= one.copies["median"] <= one.copies["high"]


def crossentropy(targets, logits):
    """The mean loss."""
    return ops.mean(keras_xent.sparse_categorical_crossentropy(targets, logits, from_logits=True))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda targets, logits: 1.01 * crossentropy(targets, logits), "value off by 1.0%, gradient by 1.0%"),
        (lambda targets, logits: crossentropy(targets, 1.05 * logits), "computes something else"),
        (lambda targets, logits: ops.stop_gradient(crossentropy(targets, logits)) + 0.0 * ops.mean(logits), "gradient by 100.0%"),
        (lambda targets, logits: crossentropy(targets, logits) * np.nan, "value off by nan%"),
        (lambda targets, logits: crossentropy(targets, no_such_logits), "no_such_logits"),  # noqa: F821
    ],
    ids=["1 %", "a temperature", "no gradient", "NaN", "an error"],
)
def test_what_computes_something_else_is_not_timed(wrong, said):
    subject = dataclasses.replace(SUBJECTS["sparse"], contenders=())
    baseline = next(who for who in SUBJECTS["sparse"].contenders if who.name == BASELINE)
    right, bad = measured(subject, [baseline, Contender("wrong", lambda: wrong)])
    assert said in bad.problem and bad.seconds is None and bad.ratio is None
    assert right.problem is None and right.ratio["median"] == 1.0


def test_a_kernel_with_its_classes_first():
    """Who takes it so is handed it so, and its gradient is turned back."""

    def transposed():
        loss = linear.unfused()
        return lambda targets, features, kernel: loss(targets, features, ops.transpose(kernel))

    (one,) = measured(SUBJECTS["linear"], [Contender("transposed", transposed, classes_first=True)])
    assert one.problem is None


@pytest.mark.skipif(BACKEND != "torch", reason="elsewhere tensors cannot be overwritten")
def test_who_overwrites_its_inputs_gets_new_ones():
    def spoiling(targets, logits):
        value = crossentropy(targets, logits.clone())
        logits.data.zero_()
        return value

    (one,) = measured(SUBJECTS["sparse"], [Contender("spoiling", lambda: spoiling, spoils=True)])
    assert one.problem is None
    inputs = draw(SUBJECTS["sparse"], parse("6x9"), "float32")
    run = tasks.Run(Contender("spoiling", lambda: spoiling, spoils=True), "eager", inputs)
    assert float(run()[0]) == float(run()[0])


def test_a_peer_that_is_not_installed_is_left_out():
    subject = dataclasses.replace(SUBJECTS["sparse"], contenders=(Contender("nobody", None, module="no_such_module"),))
    assert subject.among(BACKEND, "cpu", "function") == []
    assert [who.name for who in subject.among(BACKEND, "cpu", "function", anywhere=True)] == ["nobody"]


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_truth_is_the_definition(name):
    """Of all rows, whatever the block; and a gradient is compared at the first and last places."""
    subject = SUBJECTS[name]
    size = parse("300x4x9" if subject.space == "linear" else "300x9")
    inputs = draw(subject, size, "float32")
    expected = truth(subject, inputs)
    by_blocks = pytest.MonkeyPatch()
    with by_blocks.context() as patch:
        patch.setattr("keras_xent.bench.inputs.BLOCK", 9 * 7)
        again = truth(subject, inputs)
    np.testing.assert_allclose(again.value, expected.value, rtol=1e-12)
    for (axis, places, part), (_, _, other) in zip(expected.parts, again.parts, strict=True):
        assert part.shape[axis] == len(places) and places[0] == 0
        np.testing.assert_allclose(other, part, rtol=1e-9, atol=1e-15)


def test_inputs_are_seeded():
    subject = SUBJECTS["dense"]
    first, again = (draw(subject, parse("5x7"), "float32") for _ in range(2))
    np.testing.assert_array_equal(array(first.targets), array(again.targets))
    np.testing.assert_array_equal(array(first.predictions[0]), array(again.predictions[0]))
    np.testing.assert_allclose(array(first.targets).sum(-1), 1.0, rtol=1e-6)
    answers = draw(SUBJECTS["binary-probs"], parse("5x7"), "float32")
    assert set(np.unique(array(answers.targets))) == {0.0, 1.0}
    assert 0 < array(answers.predictions[0]).min() < array(answers.predictions[0]).max() < 1


def test_errors_weigh_the_whole_gradient():
    """A wrong share of the classes beside the target is seen, though each of them is small."""
    subject, size = SUBJECTS["sparse"], parse("4x5000")
    inputs = draw(subject, size, "float32")
    expected = truth(subject, inputs)
    ((axis, places, slopes),) = expected.parts
    wrong = np.where(slopes > 0, 1.01 * slopes, slopes)
    error = expected.errors(tensor(expected.value, "float32"), [tensor(wrong, "float32")])[1]
    assert len(places) == 4 and axis == 0 and 0.004 < error < 0.006 and error > BOUNDS["float32"][1]

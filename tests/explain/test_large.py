"""Large inputs: blocks of rows, summaries instead of arrays, no copies."""

import tracemalloc

import numpy as np
import pytest

import keras_xent
from keras_xent.parity.running import array
from keras_xent.tracing import inputs, numbers
from keras_xent.tracing.numbers import Collected, Summary


@pytest.fixture
def small_blocks(monkeypatch):
    """What is large elsewhere is small here."""
    monkeypatch.setattr(inputs, "BLOCK", 40)
    monkeypatch.setattr(numbers, "KEPT", 30)


LOSSES = [
    keras_xent.SparseCategoricalCrossentropy(from_logits=True),
    keras_xent.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2, label_smoothing=0.1, class_weight={1: 2.0}),
    keras_xent.SparseCategoricalFocalCrossentropy(from_logits=True, reduction="sum"),
    keras_xent.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight"),
    keras_xent.SparseCategoricalCrossentropy(from_logits=True, reduction="none"),
]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighed", [False, True])
def test_blocks_change_nothing(loss, weighed, rng, monkeypatch):
    """The number of blocks is none of the loss's business."""
    y_pred, y_true = rng.normal(size=(23, 10)).astype("float32"), rng.integers(0, 10, 23)
    weights = rng.uniform(0.0, 2.0, 23).astype("float32") if weighed else None
    whole = keras_xent.explain(loss, y_true, y_pred, weights)
    monkeypatch.setattr(inputs, "BLOCK", 40)
    blocks = keras_xent.explain(loss, y_true, y_pred, weights)
    assert [step.name for step in blocks.steps] == [step.name for step in whole.steps]
    for one, other in zip(blocks.steps, whole.steps, strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-5, atol=1e-6)
        assert one.notes == other.notes
    np.testing.assert_allclose(blocks.gradient, whole.gradient, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(blocks.value, array(loss(y_true, y_pred, weights)), rtol=1e-5)
    assert blocks.definition.agrees and blocks.definition.rows == 4 and "of the first 4 rows" in str(blocks)


def test_weights_of_other_axes(rng, monkeypatch):
    """One weight per step, not per row, is not cut."""
    loss = keras_xent.CategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    y_pred, y_true = rng.normal(size=(9, 3, 4)), rng.dirichlet(np.ones(4), (9, 3))
    for weights in (np.array([[1.0, 2.0, 0.0]]), np.float32(2.0), rng.uniform(size=(9, 1))):
        whole = keras_xent.explain(loss, y_true, y_pred, weights)
        with monkeypatch.context() as patch:
            patch.setattr(inputs, "BLOCK", 30)
            blocks = keras_xent.explain(loss, y_true, y_pred, weights)
        assert blocks.value == pytest.approx(whole.value, rel=1e-5)


def test_large_arrays_are_summarised(rng, small_blocks):
    y_pred = rng.normal(size=(50, 10)).astype("float32")
    trace = keras_xent.explain("categorical_crossentropy", np.eye(10)[rng.integers(0, 10, 50)], np.exp(y_pred))
    probs = trace["probs"]
    assert isinstance(probs, Summary) and probs.shape == (50, 10) and probs.size == 500 and probs.finite == 500
    expected = np.exp(y_pred) / np.exp(y_pred).sum(-1, keepdims=True)
    assert (probs.minimum, probs.maximum) == pytest.approx((expected.min(), expected.max()), rel=1e-5)
    assert probs.mean == pytest.approx(expected.mean(), rel=1e-5)
    assert isinstance(trace.gradient, Summary) and isinstance(trace.losses, Summary)
    assert "500 numbers: " in str(trace) and trace.to_dict()["steps"][0]["value"]["summary"]["shape"] == [50, 10]
    assert any("the row does not sum to 1: 50 of 50" in note for note in trace.steps[0].notes)
    trace.plot()


def test_a_summary_of_blocks_is_that_of_all(rng):
    values = rng.normal(size=(20, 5))
    values[3, 2], values[15, 0], values[8, 1] = np.nan, np.inf, 0.0
    parts = Summary.of(values[:7]).followed_by(Summary.of(values[7:]))
    whole = Summary.of(values)
    assert {**vars(parts), "mean": None} == {**vars(whole), "mean": None} and parts.mean == pytest.approx(whole.mean)
    scaled = whole.times(0.5)
    assert scaled.maximum == 0.5 * whole.maximum and scaled.first[0] == 0.5 * whole.first[0]
    nothing = Summary.of(np.full((2, 2), np.nan))
    assert nothing.finite == 0 and nothing.followed_by(whole).mean == pytest.approx(whole.mean)


def test_what_has_no_rows_is_kept_once():
    collected = Collected()
    collected.add(np.ones((1, 4)), 3)
    collected.add(np.ones((1, 4)), 3)
    assert collected.result().shape == (1, 4)


def test_memory(rng, monkeypatch):
    """Arrays of NumPy beside the input: less than half of it, where all steps would be many times as much."""
    monkeypatch.setattr(inputs, "BLOCK", 2**14)
    y_pred = rng.normal(size=(512, 1000)).astype("float32")
    y_true = rng.integers(0, 1000, 512)
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True)
    keras_xent.explain(loss, y_true, y_pred)  # what JAX compiles takes memory, once
    tracemalloc.start()
    trace = keras_xent.explain(loss, y_true, y_pred)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(trace["is_target"], Summary) and peak < 1.5 * y_pred.nbytes, peak / y_pred.nbytes

"""Value and gradient of every loss equal the definition: ranks, axes, options, dtypes, eager and compiled."""

import numpy as np
import pytest

from keras_xent.parity.bounds import error_in_bounds

from .backends import BACKEND, DTYPES, MODES, tensor, value_and_gradient
from .cases import SHAPES, every_case, predictions


def assert_equals_definition(case, dtype, mode="eager"):
    """Compares losses and gradient, in multiples of what rounding allows."""
    loss = case.loss(reduction="none", dtype=dtype)
    y_true = case.y_true if case.y_true.dtype.kind in "iu" else tensor(case.y_true, dtype)
    losses, gradient = value_and_gradient(lambda y_pred: loss(y_true, y_pred), tensor(case.y_pred, dtype), mode)
    expected_losses, expected_gradient = case.expected(dtype)
    terms, span = case.y_pred.size, np.ptp(case.y_pred) if case.options["from_logits"] else 0.0
    context = f"{case.name} {case.options} in {dtype}, {mode}"
    # From logits a loss is a sum of positive terms, or the difference between a cross-entropy and an entropy; a probability
    # near 1 holds its distance from 1 only to ε. A gradient is a difference of terms as large as the largest there.
    floor = 0.0 if case.options["from_logits"] and case.name != "kl_divergence" else 1.0
    assert error_in_bounds(losses, expected_losses, dtype, terms, span, floor) <= 1, context
    floor = np.abs(expected_gradient).max(initial=0.0)
    assert error_in_bounds(gradient, expected_gradient, dtype, terms, span, floor) <= 1, context


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_rank_axis_and_option(rng, shape, from_logits):
    for case in every_case(rng, shape, from_logits):
        assert_equals_definition(case, "float32")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("from_logits", [True, False])
def test_every_dtype(rng, from_logits, dtype):
    for case in every_case(rng, (4, 5), from_logits, dtype):
        assert_equals_definition(case, dtype)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "eager"])
@pytest.mark.parametrize("from_logits", [True, False])
def test_compiled(rng, from_logits, mode):
    cases = list(every_case(rng, (2, 3, 4), from_logits))
    for case in cases[:: 9 if BACKEND == "torch" else 3]:  # torch.compile takes seconds for each
        assert_equals_definition(case, "float32", mode)


def test_the_comparison_can_fail(rng):
    """A loss that is wrong by one part in ten thousand, or in one option, is found."""
    y_pred = predictions(rng, (4, 5), -1, from_logits=True)
    case = next(iter(every_case(rng, (4, 5), from_logits=True)))
    assert_equals_definition(case, "float32")
    for option in ({"label_smoothing": 1e-4}, {"axis": -2 - case.options["axis"] - 1}):
        wrong = type(case)(case.name, case.y_true, y_pred, **{**case.options, **option})
        wrong.expected = case.expected
        with pytest.raises((AssertionError, ValueError)):
            assert_equals_definition(wrong, "float32")

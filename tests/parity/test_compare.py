"""Errors, bounds and verdicts: what is too far is seen, what rounding explains is not."""

import numpy as np
import pytest

from keras_xent.parity.bounds import EPSILON
from keras_xent.parity.cases import KINDS
from keras_xent.parity.compare import bound_of, errors
from keras_xent.parity.corpus import corpus
from keras_xent.parity.examine import DIFFERENT, EQUAL, FAILED, KNOWN, examine
from keras_xent.parity.implementations import DEFINITION, Implementation, IncomparableError
from keras_xent.parity.running import USUAL

every_loss = pytest.mark.parametrize("loss", KINDS)


def case_of(loss, group="ordinary", **wanted):
    """A case with losses that are not 0."""
    for case in corpus(loss, groups=[group]):
        if all(case.arguments.get(name) == value for name, value in wanted.items()) and np.abs(case.definition()[0]).min() > 0.1:
            return case
    raise LookupError(loss)


@every_loss
@pytest.mark.parametrize("other_rounds", [False, True])
def test_a_small_error_is_seen(loss, other_rounds):
    """One part in ten thousand, of the value and of the gradient each."""
    case = case_of(loss, from_logits=True)
    value, gradient = case.definition()
    assert all(error.within and error.error == 0 for error in errors(case, (value, gradient), (value, gradient), other_rounds))
    size = 1.0 + 1e-4 * (10.0 if other_rounds or KINDS[loss] == "teacher" else 1.0)
    of_value, of_gradient = errors(case, (size * value, gradient), (value, gradient), other_rounds)
    assert not of_value.within and of_gradient.within
    of_value, of_gradient = errors(case, (value, size * gradient), (value, gradient), other_rounds)
    assert of_value.within and not of_gradient.within


def test_rounding_is_not():
    case = case_of("CategoricalCrossentropy", from_logits=True)
    value, gradient = case.definition()
    of_value, _ = errors(case, (value * (1 + 60 * EPSILON["float32"]), gradient), (value, gradient))
    assert of_value.within and 59 < of_value.error < 61 and 80 < of_value.bound < 90


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_to_agree(wrong):
    case = case_of("CategoricalCrossentropy")
    value, gradient = case.definition()
    broken = gradient.copy()
    broken.flat[0] = wrong
    assert not errors(case, (value, broken), (value, gradient))[1].within
    assert not errors(case, (value, gradient), (value, broken))[1].within
    assert errors(case, (value, broken), (value, broken))[1].within


def test_what_the_dtype_cannot_hold_is_infinite():
    case = case_of("CategoricalCrossentropy").with_(dtype="float16")
    value, gradient = case.definition()
    large, infinite = gradient.copy(), gradient.copy()
    large.flat[0], infinite.flat[0] = -70_000.0, -np.inf
    assert errors(case, (value, infinite), (value, large))[1].within
    assert not errors(case, (value, -infinite), (value, large))[1].within
    large.flat[0] = -60_000.0
    assert not errors(case, (value, infinite), (value, large))[1].within


def test_shapes_have_to_agree():
    case = case_of("CategoricalCrossentropy")
    value, gradient = case.definition()
    assert np.isinf(errors(case, (value[..., None], gradient), (value, gradient))[0].error)


def test_bounds():
    """In ε of the dtype: half precision is computed in float32 and rounded once, unless it may be used throughout."""
    case = case_of("CategoricalCrossentropy")
    count = 80 + np.sqrt(case.y_pred.size)
    assert bound_of(case, False) == pytest.approx(count)
    assert bound_of(case, True) == pytest.approx(2 * count)
    assert bound_of(case.with_(dtype="float64"), False) == pytest.approx(count)
    assert bound_of(case.with_(dtype="bfloat16"), False) == pytest.approx(1 + count * 2.0**-16)
    assert bound_of(case.with_(dtype="bfloat16"), True, in_half=True) == pytest.approx(2 * count)


def test_parts_of_a_gradient_that_cancel():
    """A loss from probabilities pulls each class by 1 / Σ p and lets go of it: what is left has their rounding."""
    case = next(
        case for case in corpus("CategoricalCrossentropy", groups=["degenerate"]) if case.what == "probabilities of shape (5, 2)"
    )
    value, gradient = case.definition()
    error = errors(case, (value, gradient + 50 * EPSILON["float32"]), (value, gradient))[1]
    assert error.within and error.error > 1
    assert not errors(case, (value, gradient + 500 * EPSILON["float32"]), (value, gradient))[1].within


# ----------------------------------------------------------------------------------------------------------- verdicts


def giving(change, name="theirs"):
    """An implementation that is off by a factor, or raises."""

    def answer(case, mode):
        if isinstance(change, Exception):
            raise change
        value, gradient = case.definition()
        return change * value, change * gradient

    return Implementation(name, answer)


def verdicts(given, expected, case=None):
    return [finding.verdict for finding in examine(given, [expected], case or case_of("KLDivergence"), (USUAL,))]


def test_verdicts():
    right, wrong, raising = giving(1.0), giving(1.01), giving(KeyError("key"))
    nothing = giving(IncomparableError("it has nothing like it"))
    assert verdicts(right, right) == verdicts(right, DEFINITION) == [EQUAL]
    assert verdicts(wrong, right) == verdicts(right, wrong) == [DIFFERENT]
    assert verdicts(raising, right) == verdicts(right, raising) == [FAILED]
    assert verdicts(nothing, right) == verdicts(right, nothing) == verdicts(raising, raising) == []


def test_keras_alone_is_known_to_differ():
    half = case_of("KLDivergence", "dtypes").with_(dtype="float16")
    for name, verdict in (("Keras", KNOWN), ("definition", DIFFERENT)):
        assert verdicts(giving(1.0), giving(2.0, name), half) == [verdict]
    assert verdicts(giving(1.0), giving(KeyError("key"), "Keras"), half) == [KNOWN]
    assert verdicts(giving(KeyError("key")), giving(1.0, "Keras"), half) == [FAILED]
    assert verdicts(giving(1.0), giving(2.0, "Keras")) == [DIFFERENT]


def test_what_is_neither_keras_nor_the_definition():
    """Where Keras is known to differ, a loss is to be one of the two, or between them."""
    half = case_of("KLDivergence", "dtypes").with_(dtype="float16")
    keras = giving(2.0, "Keras")
    assert [verdicts(giving(factor), keras, half) for factor in (1.0, 1.5, 2.0, 12.0, np.nan)] == [
        [KNOWN],
        [KNOWN],
        [EQUAL],
        [DIFFERENT],
        [DIFFERENT],
    ]
    assert verdicts(giving(1.0), giving(np.nan, "Keras"), half) == [KNOWN]
    assert verdicts(giving(1.5), giving(np.nan, "Keras"), half) == [DIFFERENT]


def test_kinds_of_disagreements():
    case = case_of("KLDivergence")
    kinds = [
        next(iter(examine(giving(change), [DEFINITION], case, (USUAL,)))).kind
        for change in (2.0, 3.0, np.nan, KeyError("one"), KeyError("other"), TypeError("one"))
    ]
    assert kinds[0] == kinds[1] != kinds[2] and kinds[3] == kinds[4] != kinds[5]


def test_an_error_says_where_it_comes_from():
    (finding,) = examine(giving(KeyError("no such key")), [DEFINITION], case_of("KLDivergence"), (USUAL,))
    assert finding.message.startswith("theirs: KeyError: 'no such key' (answer, line ")

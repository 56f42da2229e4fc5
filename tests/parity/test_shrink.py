"""What is left of a case is the smallest that still fails."""

import numpy as np
import pytest

from keras_xent.parity.cases import KINDS, Case
from keras_xent.parity.corpus import corpus
from keras_xent.parity.shrink import shrunk, simpler


def total(case):
    return sum(np.size(x) for x in (case.y_true, case.y_pred, case.sample_weight) if x is not None) + len(case.arguments)


@pytest.mark.parametrize("loss", KINDS)
def test_what_always_fails_becomes_small(loss):
    for case in (case for case in corpus(loss) if case.what in ("logits of shape (2, 3, 4)", "sum, weights: all")):
        small = shrunk(case, lambda case: True)
        assert small.sample_weight is None and small.reduction == "none"
        assert small.y_pred.size <= 2 and total(small) < total(case)
        assert set(small.arguments) <= {"from_logits", "axis", "targets"}
        small.definition()  # still a case


@pytest.mark.parametrize("loss", KINDS)
def test_every_step_leaves_a_case(loss):
    """Whatever is made smaller, the definition has an answer, of the shape that it should have."""
    for case in corpus(loss):
        for smaller in simpler(case):
            value, gradient = smaller.definition()
            assert gradient.shape == smaller.y_pred.shape
            if smaller.reduction == "none" and KINDS[loss] != "answers":
                assert value.size == np.delete(smaller.y_pred.shape, smaller.axis).prod()


def test_what_matters_stays():
    case = next(case for case in corpus("SparseCategoricalCrossentropy", groups=["weights"]) if "weights: all" in case.what)
    case = case.with_(
        arguments={**case.arguments, "label_smoothing": 0.1, "ignore_class": 0}, y_true=np.full_like(case.y_true, 3)
    )
    small = shrunk(
        case, lambda case: case.sample_weight is not None and (case.y_true == 3).any() and "ignore_class" in case.arguments
    )
    assert small.sample_weight.size == 1 and small.y_true.tolist() == [[3]] and small.y_pred.shape == (1, 1, 4)
    assert set(small.arguments) == {"from_logits", "axis", "ignore_class"}


def test_numbers_become_short():
    case = Case(
        "KLDivergence", "given", "", np.array([[0.5, 0.5]]), np.array([[3.14159, 2.71828]]), {"from_logits": True, "axis": -1}
    )
    assert shrunk(case, lambda case: case.y_pred[0, 0] > 3).y_pred.tolist() == [[pytest.approx(3.1), pytest.approx(2.7)]]
    assert shrunk(case, lambda case: case.y_pred[0, 0] > 2).y_pred.tolist() == [[3.0, 3.0]]


def test_numbers_do_not_become_corners():
    """A 0 or a 1 may be wrong for another reason."""
    case = Case("KLDivergence", "given", "", np.array([[0.5, 0.5]]), np.array([[0.3, 0.97]]), {"from_logits": False, "axis": -1})
    small = shrunk(case, lambda case: True)
    assert not np.isin(small.y_pred, (0.0, 1.0)).any()


def test_what_never_fails_again_is_left_alone():
    case = next(corpus("KLDivergence"))
    assert shrunk(case, lambda other: other is case) is case

    def raises(case):
        raise KeyError

    assert shrunk(case, raises) is case


def test_an_end_in_time():
    case = next(case for case in corpus("CategoricalCrossentropy", groups=["extreme"]) if "5000" in case.what)
    assert shrunk(case, lambda case: True, seconds=0.0) is case

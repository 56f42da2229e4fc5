"""The corpus: seeded, exact in its dtype, and wide enough; what a run takes of it."""

import numpy as np
import pytest

from keras_xent.parity.cases import KINDS
from keras_xent.parity.choose import CASES, OTHER_MODES, modes_of, varied
from keras_xent.parity.corpus import GROUPS, REDUCTIONS, corpus
from keras_xent.parity.regions import REGIONS
from keras_xent.parity.running import MODES, USUAL, having, rounded

every_loss = pytest.mark.parametrize("loss", KINDS)


def same(one, other):
    arrays = ("y_true", "y_pred", "sample_weight", "hard_labels")
    fields = ("loss", "group", "what", "arguments", "dtype", "reduction")
    return all(getattr(one, name) == getattr(other, name) for name in fields) and all(
        np.array_equal(np.asarray(getattr(one, name), "float64"), np.asarray(getattr(other, name), "float64"), equal_nan=True)
        for name in arrays
    )


@every_loss
def test_the_seed_makes_the_cases(loss):
    one, other, third = (list(corpus(loss, seed)) for seed in (7, 7, 8))
    assert len(one) > 100 and all(map(same, one, other))
    assert sum(map(same, one, third)) < len(one) / 4  # those without random numbers


@every_loss
def test_the_seed_of_a_group_is_its_own(loss):
    """Leaving out a group changes no other."""
    extreme = [case for case in corpus(loss) if case.group == "extreme"]
    assert extreme and all(map(same, extreme, corpus(loss, groups=["extreme"])))


@every_loss
def test_arrays_are_what_the_dtype_holds(loss):
    for case in corpus(loss):
        with having(case.dtype):  # JAX's float64
            np.testing.assert_array_equal(rounded(case.y_pred, case.dtype), case.y_pred)
            if case.y_true.dtype.kind == "f" and "top_k" not in case.arguments.values():
                exact = "float32" if KINDS[loss] == "teacher" and case.dtype in ("float16", "bfloat16") else case.dtype
                np.testing.assert_array_equal(rounded(case.y_true, exact), case.y_true)


@every_loss
def test_everything_is_in_what_a_run_takes(loss):
    """By default: every group, dtype, rank, reduction, shape of weights and argument, from logits and from probabilities."""
    every, taken = list(corpus(loss)), varied(corpus(loss))
    assert len(taken) == CASES and {case.group for case in taken} == set(GROUPS)

    def shown(cases):
        yield {case.dtype for case in cases}
        yield {case.reduction for case in cases}
        yield {case.y_pred.ndim for case in cases}
        yield {None if case.sample_weight is None else case.sample_weight.shape for case in cases}
        yield {
            (name, str(value)) for case in cases for name, value in case.arguments.items() if not isinstance(value, (list, dict))
        }
        yield {(name, case.arguments["from_logits"]) for case in cases for name in case.arguments}

    for of_all, of_taken in zip(shown(every), shown(taken), strict=True):
        assert of_all == of_taken
    assert {case.dtype for case in every} == {"float16", "bfloat16", "float32", "float64"}
    assert {case.reduction for case in every} == set(REDUCTIONS)
    assert {case.y_pred.ndim for case in every} == {1, 2, 3, 4, 5}


def test_what_a_run_takes_is_in_order_and_not_twice():
    every = list(corpus("KLDivergence"))
    taken = varied(every, 30)
    places = [next(place for place, case in enumerate(every) if case is one) for one in taken]
    assert places == sorted(set(places)) and len(places) == 30
    assert varied(every, None) == every == varied(every, 10_000)


@every_loss
def test_every_region_has_an_answer(loss):
    """Whatever the loss and its axis: a loss of a user's own is asked, too."""
    for case in corpus(loss):
        assert {bool(region.holds(case)) for region in REGIONS} <= {False, True}


def test_modes():
    places = [modes_of(place) for place in range(CASES)]
    assert set(places) == {MODES, (USUAL,)} and places.count(MODES) == CASES // OTHER_MODES > 0
    assert modes_of(0, ("eager",)) == ("eager",)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", ["SparseCategoricalCrossentropy", "BinaryCrossentropy", "DistillationLoss"])
def test_the_gradient_of_a_case_is_that_of_its_value(loss, reduction):
    """By central differences of the definition; weights, reduction and what is ignored included."""
    case = next(case for case in corpus(loss) if case.what == f"{reduction}, weights: batch")
    if loss == "SparseCategoricalCrossentropy":
        case = case.with_(arguments={**case.arguments, "ignore_class": int(case.y_true.flat[0])})
    _, gradient = case.definition()
    for place in np.ndindex(2, 2, case.y_pred.shape[2]):
        step = 1e-6 * abs(case.y_pred[place])
        moved = [case.y_pred.copy() for _ in range(2)]
        moved[0][place] += step
        moved[1][place] -= step
        above, below = (case.with_(y_pred=y_pred).definition()[0].sum() for y_pred in moved)
        np.testing.assert_allclose((above - below) / (2 * step), gradient[place], rtol=1e-5, atol=1e-6)

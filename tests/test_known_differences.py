"""Every known difference from Keras is still true, ours is the definition's answer, and what the corpus finds is known."""

import dataclasses
import re
import warnings

import keras
import numpy as np
import pytest

from keras_xent.parity.cases import KINDS
from keras_xent.parity.compare import errors
from keras_xent.parity.corpus import corpus, draw, options_of
from keras_xent.parity.difference import BACKENDS, TESTED_VERSIONS
from keras_xent.parity.implementations import KERAS, OURS
from keras_xent.parity.known import KNOWN_DIFFERENCES, listing, markdown, table
from keras_xent.parity.known_check import Outcome, agree, case_of, check, of_definition, of_keras, of_ours
from keras_xent.parity.regions import REGIONS, region_of
from keras_xent.parity.running import MODES, USUAL

from .backends import BACKEND

KNOWN = {known.name: known for known in KNOWN_DIFFERENCES}
REGION = {region.name: region for region in REGIONS}
ONLY_UNDER_XLA = {"squares of sums": {"tensorflow"}}  # differences are put to TensorFlow as it is


def numeric(known):
    return known.compared != "lost arguments" and not isinstance(known.ours, str)


def differs(known, backend, version=None):
    return not agree(known, known.keras_result(backend, version), known.ours)


every_difference = pytest.mark.parametrize("known", KNOWN_DIFFERENCES, ids=lambda known: known.name)
with_numbers = pytest.mark.parametrize("known", [*filter(numeric, KNOWN_DIFFERENCES)], ids=lambda known: known.name)


# ------------------------------------------------------------------------------------------------- each is what it says


@every_difference
def test_keras_still_differs_as_stated(known):
    actual, stated = of_keras(known), known.keras_result(BACKEND)
    assert agree(known, actual, stated), f"Keras {keras.__version__} gives {actual}, not {stated}"


@every_difference
def test_ours_is_as_stated(known):
    actual = of_ours(known)
    assert agree(known, actual, known.ours), f"ours is {actual}, not {known.ours}"


@with_numbers
def test_what_is_stated_is_the_definition(known):
    definition = of_definition(known)
    exact = "float64" if known.dtype == "float64" else "float32"
    exact = dataclasses.replace(known, arguments={**known.arguments, "dtype": exact}, floor=0.0)
    assert agree(exact, definition, known.ours), f"the definition says {definition}, not {known.ours}"


@every_difference
def test_what_is_stated_is_a_difference(known):
    """On one backend at least, in the oldest Keras or the newest: else the entry has outlived its reason."""
    assert any(differs(known, backend, version) for backend in BACKENDS for version in TESTED_VERSIONS)


@with_numbers
def test_the_comparison_can_fail(known):
    """A number that is off by one part in ten thousand of its terms, an error and another shape are found."""
    stated = np.asarray(known.ours, "float64")
    if known.dtype in ("float32", "float64"):
        wrong = np.where(np.isfinite(stated), 1.0001 * stated + max(1e-4 * known.floor, 1e-30), 0.0)
        assert not agree(known, wrong, known.ours)
    assert not agree(known, np.full_like(stated, np.nan), known.ours)
    assert not agree(known, "ValueError: anything", known.ours)
    assert not agree(known, np.stack([stated, stated]), known.ours)


def test_errors_are_compared_by_type_and_phrase():
    known = KNOWN["sparse: fractional label"]
    assert agree(known, "ValueError: `y_true` holds 1.5 at position 0, which is not a class id; expected", known.ours)
    assert not agree(known, "TypeError: `y_true` holds 1.5 at position 0, which is not a class id; expected", known.ours)
    assert not agree(known, "ValueError: `y_true` is wrong", known.ours)
    assert not agree(known, np.zeros(1), known.ours)


def test_results_by_version():
    known = KNOWN["sparse: label -1"]
    assert known.keras_result("jax", "3.13.2") == [0.0]
    assert known.keras_result("torch", "3.13.2") == [0.0]
    assert known.keras_result("torch", "3.14.0.dev1").startswith("IndexError")
    assert known.keras_result("torch", "3.100").startswith("IndexError")


def test_each_has_a_name_of_its_own_and_a_result_for_every_backend():
    assert len(KNOWN) == len(KNOWN_DIFFERENCES)
    assert all(set(known.keras) == set(BACKENDS) for known in KNOWN_DIFFERENCES)


def test_upstream_is_the_address_of_an_issue_or_a_pull_request():
    addresses = [known.upstream for known in KNOWN_DIFFERENCES if known.upstream is not None]
    assert len(addresses) > 20
    assert all(re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+", address) for address in addresses)


# ------------------------------------------------------------------------------------------------ what a check says of it


def test_a_check_says_that_a_difference_holds():
    outcome = check(KNOWN["categorical: confident and right"])
    assert outcome.holds and not outcome.fixed
    assert outcome.as_json() == {"name": "categorical: confident and right", "holds": True, "said": "still true"}


def test_a_check_says_what_has_changed():
    known = KNOWN["categorical: confident and right"]
    gave = [known.keras_result(BACKEND), known.ours]
    fixed = Outcome(known, keras=known.ours, ours=known.ours)
    assert not fixed.holds and fixed.ours_holds
    assert fixed.said == f"Keras {keras.__version__} gives [2.061154e-09], not [0.0]; it no longer differs"
    broken = Outcome(known, keras="ValueError: no", ours=[1.0])
    assert not broken.holds and not broken.fixed
    assert broken.said == f"Keras {keras.__version__} gives ValueError: no, not [0.0]; keras_xent gives [1.0], not [2.061154e-09]"
    assert Outcome(known, *gave).holds


# ------------------------------------------------------------------------------------------------------- where they lie


@every_difference
def test_each_lies_in_its_region(known):
    """And the region is one of every backend that the difference is seen on."""
    region, case = REGION[known.region], case_of(known)
    assert set(region.backends) >= {backend for backend in BACKENDS for each in TESTED_VERSIONS if differs(known, backend, each)}
    if case is not None:
        assert region.holds(case)
        assert all(region_of(case, backend) is not None for backend in region.backends)


def test_every_region_has_a_name_of_its_own_and_a_difference():
    assert len(REGION) == len(REGIONS)
    assert {known.region for known in KNOWN_DIFFERENCES} == set(REGION)


def test_every_region_is_of_backends_that_differ():
    for region in REGIONS:
        inside = [known for known in KNOWN_DIFFERENCES if known.region == region.name]
        seen = {backend for known in inside for backend in BACKENDS for each in TESTED_VERSIONS if differs(known, backend, each)}
        assert set(region.backends) == seen | ONLY_UNDER_XLA.get(region.name, set()), region.name


# Changes that lead out of a region, each the smallest of its kind, and the difference to begin with.
JUST_OUTSIDE = {
    "labels that are no class": ("sparse: label equal to the number of classes", {"y_true": [2]}),
    "one class": ("categorical: one class", {"y_true": [[1.0, 0.0]], "y_pred": [[0.3, 0.7]]}),
    "targets of another shape": ("generalised: labels as a column", {"y_true": [0, 1]}),
    "arguments out of range": ("binary: label smoothing above 1", {"arguments": {"label_smoothing": 1.0}}),
    "class axis in the middle": ("sparse: class axis in the middle", {"arguments": {"axis": 2}}),
    "options of classes along another axis": (
        "categorical: label smoothing along the class axis",
        {"arguments": {"label_smoothing": 0.0}},
    ),
    "images of probabilities": ("sparse: images of probabilities, gradient", {"arguments": {"axis": 1}}),
    "NaN without weight": ("categorical: NaN without weight", {"sample_weight": [1.0, 0.1]}),
    "weights of fewer axes": ("categorical: weights of the batch", {"sample_weight": 2.0}),
    "ignored probabilities": ("sparse: an ignored class, gradient", {"y_true": [0, 1]}),
    "infinite logits": ("binary: logit inf for a no", {"y_pred": [[1e30]]}),
    "infinite logits of class ids": ("sparse: logit -inf", {"y_pred": [[1.0, 2.0, -1e30]]}),
    "class ids that are rounded": ("sparse: class 257 in bfloat16", {"y_true": [256]}),
    "beyond float16": (
        "categorical: mean of many losses in float16",
        {"y_true": [[1.0, 0.0]] * 4000, "y_pred": [[0.0, 1.0]] * 4000},
    ),
    "small probabilities in half precision": (
        "categorical: probability 2^-14 in float16, gradient",
        {"y_pred": [[2.0**-12, 1.0]]},
    ),
    "focal losses in half precision": ("binary focal: logit 8 in bfloat16", {"dtype": "float32"}),
    "class ids with probabilities in half precision": (
        "sparse: likely and right in bfloat16",
        {"arguments": {"from_logits": True}},
    ),
    "means in float64": ("binary: mean in float64", {"dtype": "float32"}),
    "alpha per class in float64": ("categorical focal: alpha in float64", {"arguments": {"alpha": [0.25, 0.5]}}),
    "numbers in float64": ("generalised: q in float64", {"arguments": {"q": 0.75}}),
    "rows of zeros": ("categorical: all-zero row", {"y_pred": [[0.0, 1e-30]]}),
    "squares of sums": ("categorical: probabilities that sum to 4e20, gradient", {"y_pred": [[1e18, 3e18]]}),
    "probabilities that do not sum to 1": ("sparse: probabilities that do not sum to 1", {"y_pred": [[0.2, 0.1, 0.1]]}),
    "targets that do not sum to 1": ("categorical: targets that do not sum to 1, gradient", {"y_true": [[0.75, 0.25]]}),
    "probabilities next to 0 or 1": ("categorical: probability below ε, gradient", {"y_pred": [[1e-6, 1.0 - 1e-6]]}),
    "a likely yes of a focal loss": ("binary focal: likely and wrong", {"y_true": [[1.0]]}),
    "small q": ("generalised: small q", {"arguments": {"q": 0.1}}),
    "nothing but certainty over classes": ("sparse: confident and right", {"y_true": [0]}),
    "nothing but certain answers": ("binary: confident no", {"y_pred": [[-16.0]]}),
    "probabilities passed as logits": ("sparse: a softmax passed as logits", {"y_pred": [[0.3, 0.71]]}),
}


@pytest.mark.parametrize(
    "region",
    [region for region in REGIONS if region.name not in ("lost arguments", "distillation")],
    ids=lambda region: region.name,
)
def test_a_region_is_no_wider_than_its_reason(region):
    name, changes = JUST_OUTSIDE[region.name]
    case = case_of(KNOWN[name])
    assert KNOWN[name].region == region.name
    arguments = {**case.arguments, **changes.get("arguments", {})}
    arrays = {field: np.asarray(change) for field, change in changes.items() if field not in ("arguments", "dtype")}
    assert not region.holds(case.with_(arguments=arguments, dtype=changes.get("dtype", case.dtype), **arrays))


def test_nan_with_weights_that_do_not_fit_lies_in_no_region():
    case = case_of(KNOWN["categorical: NaN without weight"]).with_(sample_weight=np.zeros(3))
    assert region_of(case, BACKEND) is None


@pytest.mark.parametrize("loss", [loss for loss in KINDS if loss != "DistillationLoss"])
def test_ordinary_cases_lie_in_no_region(loss):
    """Classes last, probabilities well inside of 0 to 1, no label that is ignored; whatever the other options."""
    rng = np.random.default_rng(0)
    for shape in ((4, 5), (2, 3, 4)):
        for from_logits in (True, False):
            for options in options_of(loss, rng, shape[-1]):
                options = {name: value for name, value in options.items() if name != "ignore_class"}
                case = draw(loss, rng, "ordinary", shape, -1, from_logits, options, scale=1.0)
                assert region_of(case, BACKEND) is None
                assert region_of(case.with_(sample_weight=np.ones(shape[:-1])), BACKEND) is None


@pytest.fixture(scope="module")
def answered():
    """Cases that Keras has something like, and whether its answer differs from ours."""
    every = [case for loss in KINDS for case in corpus(loss) if KERAS.takes(case)]
    return [(case, apart(case)) for case in (some_of_each_region(every) if BACKEND == "jax" else every)]


def apart(case, mode=USUAL):
    """Whether Keras's answer differs from ours, or Keras refuses the case."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = KERAS.answer(case, mode)
        except Exception:
            return True
        return not all(error.within for error in errors(case, OURS.answer(case, mode), theirs, other_rounds=True))


def some_of_each_region(cases):
    """On JAX, which compiles each: eight of each region, and every eighth of all."""
    for region in open_regions():
        yield from [case for case in cases if region.holds(case)][:8]
    yield from cases[::8]


def open_regions():
    """Those with a difference of the installed Keras, on the active backend."""
    names = {known.region for known in KNOWN_DIFFERENCES if differs(known, BACKEND)}
    return [region for region in REGIONS if region.name in names and BACKEND in region.backends]


def test_what_the_corpus_finds_is_known(answered):
    regions = open_regions()
    for case, is_apart in answered:
        if is_apart:
            assert any(region.holds(case) for region in regions), (case.loss, case.group, case.what, case.dtype, case.arguments)


def test_no_region_excuses_what_agrees(answered):
    """Where the corpus enters a region, something differs in it: in the usual mode or, as JAX does with -inf, in another."""
    entered = {region.name: [(case, is_apart) for case, is_apart in answered if region.holds(case)] for region in open_regions()}
    assert sum(map(bool, entered.values())) > 12
    for name, cases in entered.items():
        in_any_mode = any(is_apart for _, is_apart in cases) or any(apart(case, mode) for case, _ in cases[:2] for mode in MODES)
        assert in_any_mode or not cases, name


# --------------------------------------------------------------------------------------------------------------- tables


def test_the_table_has_a_row_for_each_but_what_is_fixed_or_not_yet_there():
    assert len(table(version="3.12.0").splitlines()) == len(KNOWN_DIFFERENCES) + 2 - 1
    lines = table(version="3.15.1").splitlines()
    assert len(lines) == len(KNOWN_DIFFERENCES) + 2 - 2
    assert not any("with label -1: gradient" in line for line in lines)
    assert {line.count(" | ") for line in lines} == {6}
    assert (
        "| `SparseCategoricalCrossentropy` | probabilities [2, 1, 1], class 0 | 1.0986 | 0.69315 | 0.69315 | 0.69315 | "
        "TensorFlow clips to 1 first, and renormalises what is left |"
    ) in lines


def test_the_listing_says_all_of_each():
    heads, rows = listing(version="3.15.1")
    assert [row[0] for row in rows] == [*KNOWN]
    assert all(len(row) == len(heads) and all(isinstance(cell, str) for cell in row) for row in rows)
    rows = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    assert rows["categorical: all-zero row"] == {
        "name": "categorical: all-zero row",
        "loss": "CategoricalCrossentropy",
        "region": "probabilities of 0 for all classes",
        "seen in Keras": "3.12.0, 3.15.1",
        "Keras on TensorFlow": "NaN",
        "JAX": "NaN",
        "PyTorch": "NaN",
        "ours": "16.118",
        "why": "0 / 0 is NaN; zeros stay zeros, and cost -log ε",
        "upstream": "https://github.com/keras-team/keras/issues/23551",
    }
    assert rows["sparse: an ignored class, gradient"]["seen in Keras"] == "3.12.0"
    assert rows["sparse: images of probabilities, gradient"]["seen in Keras"] == "3.15.1"
    assert rows["binary: mean in float64"]["PyTorch"] == "0.4904146194" != rows["binary: mean in float64"]["ours"]
    lines = markdown(*listing(version="3.15.1")).splitlines()
    assert len(lines) == len(KNOWN_DIFFERENCES) + 2
    assert {line.count(" | ") for line in lines} == {len(heads) - 1}

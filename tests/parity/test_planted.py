"""The comparison can fail: an error planted in any step of any loss is found by the cases that a run takes by default."""

import dataclasses
import functools
import sys

import pytest
from keras import ops

from keras_xent import _kernels, _recipe, _reduction
from keras_xent.parity.cases import KINDS
from keras_xent.parity.choose import varied
from keras_xent.parity.corpus import corpus
from keras_xent.parity.examine import examine
from keras_xent.parity.implementations import DEFINITION, OURS
from keras_xent.parity.running import BACKEND, USUAL

# Steps that choose between two forms of the same number, which differ by rounding alone (what `parity.precision` measures), and a
# center that any number would do for.
EQUIVALENT = {"check_lead", "check_top"}
ANY_CENTER = {("DistillationLoss", "find_top_logit")}
SOME = 10 if BACKEND == "jax" else 1  # every so manieth step: JAX compiles a program for each case

KERNELS = {
    "SparseCategoricalCrossentropy": "SPARSE",
    "SparseCategoricalFocalCrossentropy": "SPARSE",
    "CategoricalCrossentropy": "DENSE",
    "CategoricalFocalCrossentropy": "FOCAL",
    "BinaryCrossentropy": "BINARY",
    "BinaryFocalCrossentropy": "BINARY_FOCAL",
    "DistillationLoss": "KL",
}
every_loss = pytest.mark.parametrize("loss", KINDS)


class Plants:
    """A recipe is run with another result, or another input, of the steps that are chosen."""

    def __init__(self):
        self.taken = {}
        self.results, self.inputs = {}, {}  # by step, by the name of a quantity

    def run(self, recipe, quantities, listener=None):
        value = None
        for step in recipe:
            given = {parameter: self.quantity(name, quantities) for parameter, name in step.takes.items()}
            value = step.function(**given)
            key = step.gives, step.name
            self.taken[key] = None
            for wrong in (self.results.get(key), self.results.get(step.name)):
                value = value if wrong is None else wrong(value, **given)
            quantities[step.gives] = value
        return value

    def quantity(self, name, quantities):
        wrong = self.inputs.get(name)
        return quantities[name] if wrong is None else wrong(quantities[name])


@pytest.fixture
def plants(monkeypatch):
    original, plants = _recipe.run, Plants()
    for name, module in list(sys.modules.items()):
        if name.startswith("keras_xent.") and getattr(module, "run", None) is original:
            monkeypatch.setattr(module, "run", plants.run)
    for kernel in set(KERNELS.values()):  # which take no steps
        monkeypatch.setattr(_kernels, kernel, None)
    return plants


def off(value, **given):
    """One part in a thousand, or one, or the opposite."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value + 1
    if "bool" in str(getattr(value, "dtype", "")):
        return ops.logical_not(value)
    return value * 1.001 + 1e-3


def found(loss, cases):
    """Whether a case is out of its bounds, or is refused."""
    return any(not finding.ok for case in cases for finding in examine(OURS, [DEFINITION], case, (USUAL,), strict=True))


@every_loss
def test_an_error_in_a_step(loss, plants):
    cases = varied(corpus(loss))
    for case in cases[::SOME]:
        OURS.answer(case, USUAL)
    steps = [*plants.taken][::SOME]
    assert steps
    missed = set()
    for step in steps:
        plants.results = {step: off}
        if not found(loss, cases):
            missed.add(step[1])
    assert {name for name in missed if (loss, name) not in ANY_CENTER} <= EQUIVALENT


@pytest.mark.parametrize(("loss", "name"), [(loss, name) for loss, name in KERNELS.items() if getattr(_kernels, name)])
def test_an_error_in_a_kernel(loss, name, monkeypatch):
    """Losses that are off by one part in a thousand: the kernel is what runs, not the steps that it stands for."""
    kernel = getattr(_kernels, name)

    @functools.wraps(kernel.function)
    def wrong(**quantities):
        return 1.001 * kernel.function(**quantities)

    monkeypatch.setattr(_kernels, name, dataclasses.replace(kernel, function=wrong))
    assert found(loss, varied(corpus(loss)))


@every_loss
def test_nothing_is_found_where_nothing_is_planted(loss, plants):
    assert not found(loss, varied(corpus(loss), 12))


def share_of_one_class_less(value, label_smoothing, **given):
    """s / (K - 1) for s / K."""
    scores = given.get("targets", given.get("scores"))
    num_classes = ops.shape(scores)[given["axis"]]
    share = label_smoothing / num_classes
    off_by_one = label_smoothing / (num_classes - 1)
    return value - share + off_by_one


def other_axis(axis):
    return axis - 1 if axis else 1


PLANTED = [
    *(("epsilon", loss, {"inputs": {"epsilon": lambda epsilon: 10.0 * epsilon}}) for loss in KINDS if "Generalized" not in loss),
    *(("axis", loss, {"inputs": {"axis": other_axis}}) for loss in KINDS),
    *(
        ("class weight dropped", loss, {"results": {step: lambda value, **given: given.get("targets", given.get("losses"))}})
        for loss, step in (
            ("CategoricalCrossentropy", "weigh"),
            ("SparseCategoricalCrossentropy", "weigh_loss"),
            ("CategoricalFocalCrossentropy", "weigh"),
        )
    ),
    *(
        ("label smoothing off by one", loss, {"results": {step: share_of_one_class_less}})
        for loss, step in (
            ("CategoricalCrossentropy", "smooth"),
            ("SparseCategoricalCrossentropy", "spread_evenly"),
            ("CategoricalFocalCrossentropy", "smooth"),
        )
    ),
    (
        "T for T squared",
        "DistillationLoss",
        {"results": {"scale_divergence": lambda value, temperature, **given: value / temperature}},
    ),
    ("hard labels not weighed", "DistillationLoss", {"inputs": {"label_weight": lambda weight: 1.0}}),
]


@pytest.mark.parametrize(("what", "loss", "plant"), PLANTED, ids=[f"{what}: {loss}" for what, loss, _ in PLANTED])
def test_a_wrong(what, loss, plant, plants):
    vars(plants).update(plant)
    assert found(loss, varied(corpus(loss)))


@every_loss
def test_a_dropped_sample_weight(loss, monkeypatch):
    reduce = _reduction.reduce
    monkeypatch.setattr(_reduction, "reduce", lambda losses, weights, *others: reduce(losses, None, *others))
    assert found(loss, [case for case in varied(corpus(loss)) if case.sample_weight is not None])  # the others cannot tell


@every_loss
def test_a_sum_for_a_mean(loss, monkeypatch):
    reduce = _reduction.reduce

    def sum_for_mean(losses, weights, counts, reduction, *others):
        return reduce(losses, weights, counts, "sum" if reduction == "sum_over_batch_size" else reduction, *others)

    monkeypatch.setattr(_reduction, "reduce", sum_for_mean)
    assert found(loss, [case for case in varied(corpus(loss)) if case.reduction == "sum_over_batch_size"])

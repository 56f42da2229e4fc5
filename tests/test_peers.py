"""Value and gradient equal those of other libraries: Keras 2 and TensorFlow, PyTorch, optax; each on its own backend.

The peers compute in float64, on inputs that the tested dtype holds exactly, so that the whole error is ours.
"""

import functools
import importlib.util

import numpy as np
import pytest

import keras_xent
from keras_xent.parity.bounds import error_in_bounds
from keras_xent.parity.cases import KINDS, one_hot
from keras_xent.parity.choose import varied
from keras_xent.parity.compare import errors
from keras_xent.parity.corpus import corpus
from keras_xent.parity.implementations import OURS, IncomparableError
from keras_xent.parity.peers import peers
from keras_xent.parity.running import BACKEND, USUAL, having, rounded, tensor, value_and_gradient

(PEER,) = peers()
CASES = 12 if BACKEND == "jax" else 1000  # per loss, at most: JAX takes a third of a second for each
every_loss = pytest.mark.parametrize("loss", KINDS)

# ------------------------------------------------------------------------------------------------ the cases of the corpus


@functools.cache
def taken(loss):
    """The cases that the peer has something like."""
    return [case for case in corpus(loss) if PEER.takes(case)]


@functools.cache
def compared(loss):
    """Those to which it gives a number, each with our answer and the peer's."""
    found = []
    for case in varied(taken(loss), CASES):
        try:
            theirs = PEER.answer(case, USUAL)
        except IncomparableError:
            continue
        found.append((case, OURS.answer(case, USUAL), theirs))
    return found


def times(factor, answer):
    return tuple(factor * np.asarray(part, "float64") for part in answer)


def within(case, ours, theirs):
    """Whether the value and whether the gradient is as near as rounding explains."""
    return tuple(error.within for error in errors(case, ours, theirs, True))


@every_loss
def test_equals_its_peer(loss):
    apart = [(case, errors(case, ours, theirs, True)) for case, ours, theirs in compared(loss)]
    assert not [(case, found) for case, found in apart if not all(error.within for error in found)]


def names(cases):
    return {name for case in cases for name in case.arguments}


@every_loss
def test_most_cases_are_comparable(loss):
    every, some = [*corpus(loss)], taken(loss)
    assert len(some) >= 0.85 * len(every)
    assert {case.group for case in some} == {case.group for case in every}
    assert {case.dtype for case in some} == {case.dtype for case in every}
    assert names(every) - names(some) <= {"tail"}  # of a teacher of few classes, which no peer has
    assert len(compared(loss)) >= min(CASES, len(some)) - 2


@every_loss
def test_the_comparison_can_fail(loss):
    """Answers that are too large by one part in ten thousand are found, except where terms cancel."""
    found = [within(c, times(1.0001, ours), theirs) for c, ours, theirs in compared(loss) if c.dtype == "float32"]
    assert (np.mean(found, axis=0) < 2 / 3).all()


def test_a_temperature_that_is_not_squared_is_found():
    case, _, theirs = next(found for found in compared("DistillationLoss") if found[0].temperature == 4.0)
    unscaled = OURS.answer(case.with_(arguments={**case.arguments, "scale_by_temperature_squared": False}), USUAL)
    assert within(case, times(16.0, unscaled), theirs) == (True, True)
    assert within(case, times(4.0, unscaled), theirs) == (False, False)


# ------------------------------------------------------------------------------------------------- what a peer has not


def refused(loss, y_pred=(0.2, 0.3, 0.5), **arguments):
    case = next(corpus(loss))
    with pytest.raises(IncomparableError) as raised:
        PEER.answer(case.with_(y_pred=np.asarray(y_pred), arguments={**case.arguments, **arguments}), USUAL)
    return str(raised.value).removeprefix(PEER.name)


def test_what_no_peer_has():
    assert refused("DistillationLoss", targets="top_k") == " has no teachers of a few classes"
    assert refused("DistillationLoss", warmth=2.0, layer=3) == " has no layer, warmth"
    assert "where the loss clips it" in refused("KLDivergence", [0.0, 0.4, 0.6], from_logits=False)
    assert refused("CategoricalCrossentropy", [np.nan, 0.0, 0.0]) == " gives NaN"


def test_only_what_is_installed_is_a_peer(monkeypatch):
    assert PEER.name == {"tensorflow": "tf_keras", "torch": "torch.nn.functional", "jax": "optax"}[BACKEND]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert peers() == ()


# ----------------------------------------------------------------- what the corpus does not ask: axes and reductions of theirs

CLASSES, IGNORED, TEMPERATURE = 7, 2, 4.0
RNG = np.random.default_rng(0)
LOGITS, TEACHER = (rounded(3.0 * RNG.normal(size=(6, CLASSES)), "float32") for _ in range(2))
MIDDLE_LOGITS = rounded(3.0 * RNG.normal(size=(2, CLASSES, 3)), "float32")
IDS, MIDDLE_IDS = np.array([2, 0, 6, 1, 5, 3]), RNG.integers(0, CLASSES, size=(2, 3))
ONE_HOT, YES_NO = one_hot(IDS, CLASSES), RNG.integers(0, 2, size=(6, CLASSES)).astype("float64")
SAMPLE_WEIGHT, POS_WEIGHT = rounded(RNG.uniform(0.5, 2.0, 6), "float32"), RNG.uniform(0.5, 2.0, CLASSES)

sparse = functools.partial(keras_xent.sparse_categorical_crossentropy, from_logits=True)
with_pos_weight = functools.partial(
    keras_xent.binary_crossentropy, tensor(YES_NO, "float32"), from_logits=True, axis=(), pos_weight=POS_WEIGHT.tolist()
)


def pairs_of_tensorflow():
    import tensorflow as tf
    from tf_keras import losses

    label_loss = functools.partial(losses.sparse_categorical_crossentropy, IDS, from_logits=True)
    yield "pos_weight", with_pos_weight, lambda y_pred: tf.nn.weighted_cross_entropy_with_logits(YES_NO, y_pred, POS_WEIGHT)
    yield "ignored", functools.partial(sparse, IDS, ignore_class=IGNORED), functools.partial(label_loss, ignore_class=IGNORED)
    theirs = functools.partial(losses.sparse_categorical_crossentropy, MIDDLE_IDS, from_logits=True, axis=1)
    yield "axis", functools.partial(sparse, MIDDLE_IDS, axis=1), theirs
    for reduction in ("sum", "sum_over_batch_size"):
        loss = keras_xent.CategoricalCrossentropy(from_logits=True, reduction=reduction)
        peer = losses.CategoricalCrossentropy(from_logits=True, reduction=reduction)
        ours = functools.partial(loss, tensor(ONE_HOT, "float32"), sample_weight=tensor(SAMPLE_WEIGHT, "float32"))
        yield reduction, ours, functools.partial(peer, ONE_HOT, sample_weight=SAMPLE_WEIGHT)


def pairs_of_torch():
    import torch
    from torch.nn import functional

    label_loss = functools.partial(functional.cross_entropy, target=tensor(IDS, "int64"), reduction="none")
    theirs = functools.partial(functional.binary_cross_entropy_with_logits, target=tensor(YES_NO, "float64"), reduction="none")
    yield "pos_weight", with_pos_weight, functools.partial(theirs, pos_weight=tensor(POS_WEIGHT, "float64"))
    yield "ignored", functools.partial(sparse, IDS, ignore_class=IGNORED), functools.partial(label_loss, ignore_index=IGNORED)
    theirs = functools.partial(functional.cross_entropy, target=tensor(MIDDLE_IDS, "int64"), reduction="none")
    yield "axis", functools.partial(sparse, MIDDLE_IDS, axis=1), theirs
    for reduction in ("sum", "mean"):
        ours = functools.partial(keras_xent.SparseCategoricalCrossentropy(True, IGNORED, reduction), IDS)
        yield reduction, ours, functools.partial(label_loss, ignore_index=IGNORED, reduction=reduction)
    ours = functools.partial(keras_xent.DistillationLoss(TEMPERATURE, targets="logits"), tensor(TEACHER, "float32"))
    teacher = torch.softmax(tensor(TEACHER, "float64") / TEMPERATURE, -1)
    kl = functools.partial(functional.kl_div, target=teacher, reduction="batchmean")
    yield "batchmean", ours, lambda y_pred: TEMPERATURE**2 * kl(torch.log_softmax(y_pred / TEMPERATURE, -1))


def pairs_of_jax():
    import jax
    import optax

    teacher = np.exp(TEACHER) / np.exp(TEACHER).sum(-1, keepdims=True)
    ours = functools.partial(keras_xent.distillation_loss, tensor(TEACHER, "float32"), temperature=1.0, targets="logits")
    yield "kl_divergence", ours, lambda y_pred: optax.losses.kl_divergence(jax.nn.log_softmax(y_pred), teacher)
    for axis in (1, -2):
        theirs = functools.partial(optax.softmax_cross_entropy_with_integer_labels, labels=MIDDLE_IDS, axis=axis)
        yield f"axis {axis}", functools.partial(sparse, MIDDLE_IDS, axis=axis), theirs


PAIRS = {
    name: pair for name, *pair in {"tensorflow": pairs_of_tensorflow, "torch": pairs_of_torch, "jax": pairs_of_jax}[BACKEND]()
}


def pair_errors(name, factor=1.0):
    """The errors of our value and gradient, in multiples of what rounding allows: both at most 1."""
    our_loss, peer = PAIRS[name]
    y_pred = MIDDLE_LOGITS if "axis" in name else LOGITS
    ours = value_and_gradient(lambda y_pred: factor * our_loss(y_pred), tensor(y_pred, "float32"), USUAL)
    with having("float64"):
        theirs = value_and_gradient(peer, tensor(y_pred, "float64"), USUAL)
    # The peers take logits and their log-sum-exp from each other: terms of size 1 and more.
    bounds = {"dtype": "float32", "terms": y_pred.size, "span": np.ptp(y_pred)}
    return tuple(
        error_in_bounds(*both, **bounds, floor=max(1.0, np.abs(both[1]).max())) for both in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("name", PAIRS)
def test_equals_its_function(name):
    assert max(pair_errors(name)) <= 1
    assert min(pair_errors(name, 1.0001)) > 1

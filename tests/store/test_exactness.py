"""How exact the loss of stored targets stays, in float16 and float32."""

import numpy as np
import pytest

import keras_xent
from keras_xent.distill.store import StoredTargets
from keras_xent.distill.store.columns import narrow, widen

from .stores import CLASSES, TEMPERATURE, K, exact, log_softmax

TEACHERS = {"flat": 0.3, "usual": 2.0, "peaked": 6.0, "certain": 15.0}


def reference_losses(log_probs, rest, ids, student, tail):
    """The KL divergence of each example in float64, from the exact numbers."""
    log_q = log_softmax(student)
    listed = np.take_along_axis(log_q, ids, -1)
    unlisted = np.ones_like(log_q, bool)
    np.put_along_axis(unlisted, ids, False, -1)
    others = np.where(unlisted, np.exp(log_q), 0.0).sum(-1)
    if tail == "renormalize":
        log_p, log_q = log_softmax(log_probs), log_softmax(listed)
    elif tail == "bucket":
        log_p = np.concatenate([log_probs, np.log(rest)[:, None]], -1)
        log_q = np.concatenate([listed, np.log(others)[:, None]], -1)
    else:
        log_p = np.repeat(np.log(rest / unlisted.sum(-1))[:, None], log_q.shape[-1], -1)
        np.put_along_axis(log_p, ids, log_probs, -1)
    return (np.exp(log_p) * (log_p - log_q) - np.exp(log_p) + np.exp(log_q)).sum(-1)


def errors_of(dtype, scale, distance, tail, rng):
    """Relative errors of the losses that a store causes: of their mean, and the largest of one example."""
    logits = scale * rng.normal(size=(128, 2000))
    student = scale * rng.normal(size=logits.shape) if distance is None else logits + distance * rng.normal(size=logits.shape)
    ids, log_probs, log_rest = exact(logits, 32, 1.0)
    labelled = {"ids": ids, "log_probs": log_probs.astype("float32"), "log_rest": log_rest.astype("float32")}
    pairs = widen(*narrow(labelled, 2000, dtype).values())
    stored = pairs[..., 1].astype("float64")
    stored_rest = -np.expm1(stored[:, 0]) - np.exp(stored[:, 1:]).sum(-1)  # as the loss finds it
    expected = reference_losses(log_probs, np.exp(log_rest), ids, student, tail)
    losses = reference_losses(stored, np.maximum(stored_rest, 2.0**-40), ids, student, tail)
    return abs(losses.mean() / expected.mean() - 1), np.abs(losses / expected - 1).max()


@pytest.mark.parametrize("tail", ["bucket", "renormalize", "uniform"])
@pytest.mark.parametrize("teacher", TEACHERS)
def test_float16_keeps_the_mean_loss_within_a_thousandth(rng, teacher, tail):
    """For students that know nothing, that have learned something and that are nearly there."""
    for distance in (None, 0.5, 0.1):
        assert errors_of("float16", TEACHERS[teacher], distance, tail, rng)[0] < 1e-3


@pytest.mark.parametrize("tail", ["bucket", "renormalize", "uniform"])
@pytest.mark.parametrize("teacher", ["flat", "usual", "peaked"])
def test_float32_keeps_each_loss_within_a_thousandth(rng, teacher, tail):
    for distance in (None, 0.5, 0.1):
        assert errors_of("float32", TEACHERS[teacher], distance, tail, rng)[1] < 1e-3


def test_the_bound_can_be_missed(rng):
    """Log-probabilities in float16, without the rest, would not keep it."""
    logits = TEACHERS["certain"] * rng.normal(size=(128, 2000))
    ids, log_probs, log_rest = exact(logits, 32, 1.0)
    student = logits + 0.5 * rng.normal(size=logits.shape)
    plain = log_probs.astype("float16").astype("float64")
    rest = np.maximum(1 - np.exp(plain).sum(-1), 2.0**-40)
    expected = reference_losses(log_probs, np.exp(log_rest), ids, student, "bucket")
    assert abs(reference_losses(plain, rest, ids, student, "bucket").mean() / expected.mean() - 1) > 1e-3


@pytest.mark.parametrize("tail", ["bucket", "renormalize", "uniform"])
def test_the_loss_of_the_store_equals_that_of_the_teacher(logits, directory, rng, tail):
    stored = StoredTargets(directory, batch_size=50)
    student = (logits + rng.normal(size=logits.shape)).astype("float32")
    pairs = keras_xent.distill.top_k_targets(logits, K, temperature=TEMPERATURE)
    loss = keras_xent.DistillationLoss(TEMPERATURE, targets="top_k", tail=tail)
    ours = stored.loss(tail=tail)
    assert (ours.temperature, ours.targets, ours.teacher_classes) == (TEMPERATURE, "top_k", CLASSES)
    assert float(ours(stored[0], student)) == pytest.approx(float(loss(pairs, student)), rel=1e-3)

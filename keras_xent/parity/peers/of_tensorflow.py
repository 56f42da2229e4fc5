"""Keras 2's losses, and TensorFlow's own function for a weight of the yes."""

import functools

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import losses

from ..implementations import IncomparableError
from ..running import tensor
from . import by_hand
from .inputs import answers, dense, epsilon_of, ids, plain_ids, weighed, weights

VANISHING = 1e-300  # an ε that is none, and that float64 holds
DEEPEST = 690.0  # nats below the largest: exp(-690) is VANISHING


def with_epsilon(loss, epsilon=VANISHING):
    """Keras 2 clips to its ε, from logits too, and adds it inside of a binary logarithm: without it the loss is the one meant."""

    def losses_of(*inputs):
        usual = tf_keras.backend.epsilon()
        tf_keras.backend.set_epsilon(epsilon)
        try:
            return loss(*inputs)
        finally:
            tf_keras.backend.set_epsilon(usual)

    return losses_of


def crossentropy(case):
    """`categorical_crossentropy`, or of class ids `sparse_categorical_crossentropy`."""
    from_logits = case.arguments["from_logits"]
    if plain_ids(case):
        if not from_logits and (case.y_pred > 1.0).any():
            raise IncomparableError("tf_keras clips probabilities to 1 before it renormalises them")
        return with_epsilon(functools.partial(losses.sparse_categorical_crossentropy, ids(case), from_logits=from_logits))
    targets, options = dense_targets(case)
    # TensorFlow's gradient takes for granted that targets add up to 1: what they add up to is a factor here.
    total = targets.sum(-1)
    targets = targets / np.where(total == 0, 1.0, total)[:, None]
    of_ones = with_epsilon(functools.partial(losses.categorical_crossentropy, tensor(targets, "float64"), **options))
    return lambda rows: total * of_ones(rows)


def dense_targets(case):
    """Targets, and options of the loss; it smooths them itself, unless they are weighed, which comes after that."""
    smoothing, targets = case.arguments.get("label_smoothing", 0.0), dense(case)
    if weights(case) is not None or (targets.sum(-1) != 1.0).any():
        smoothing, targets = 0.0, weighed(case)
    return targets, {"from_logits": case.arguments["from_logits"], "label_smoothing": smoothing}


def focal(case):
    """`categorical_focal_crossentropy`."""
    refuse_deep_logits(case)
    targets, options = dense_targets(case)
    options |= {"alpha": case.arguments.get("alpha", 0.25), "gamma": case.arguments.get("gamma", 2.0)}
    return with_epsilon(functools.partial(losses.categorical_focal_crossentropy, tensor(targets, "float64"), **options))


def refuse_deep_logits(case, temperature=1.0):
    """Where the logarithm of a softmax is taken, which underflows."""
    span = case.y_pred.max(axis=case.axis, initial=-np.inf) - case.y_pred.min(axis=case.axis, initial=np.inf)
    if case.arguments["from_logits"] and (span > DEEPEST * temperature).any():
        raise IncomparableError("tf_keras takes the logarithm of a softmax that underflows")


def generalized(case):
    """What the cross-entropy is turned into by hand; that of probabilities as they are is their divergence from a certainty."""
    if case.arguments["from_logits"]:
        return by_hand.generalized(case, functools.partial(losses.sparse_categorical_crossentropy, ids(case), from_logits=True))
    return by_hand.generalized(case, with_epsilon(functools.partial(losses.kl_divergence, tensor(dense(case), "float64"))))


def binary_crossentropy(case):
    """`binary_crossentropy`; where the yes is weighed, `tf.nn.weighted_cross_entropy_with_logits`, or by hand."""
    pos_weight, from_logits = case.arguments.get("pos_weight"), case.arguments["from_logits"]
    if pos_weight is None:
        return with_epsilon(functools.partial(losses.binary_crossentropy, tensor(case.y_true, "float64"), **of_answers(case)))
    if from_logits:
        targets, pos_weight = tensor(answers(case), "float64"), tensor(pos_weight, "float64")
        return lambda y_pred: tf.nn.weighted_cross_entropy_with_logits(targets, y_pred, pos_weight)
    elements = with_epsilon(functools.partial(losses.binary_crossentropy, axis=()))
    return by_hand.weighed_answers(case, lambda y_pred, targets: elements(targets, y_pred))


def of_answers(case):
    """Options of a binary loss; the mean is taken outside."""
    return {
        "from_logits": case.arguments["from_logits"],
        "label_smoothing": case.arguments.get("label_smoothing", 0.0),
        "axis": (),
    }


def binary_focal(case):
    """`binary_focal_crossentropy`; where the yes is weighed, what the cross-entropy is turned into by hand."""
    if case.arguments.get("pos_weight") is not None:
        return by_hand.binary_focal(case, binary_crossentropy(case))
    names = ("apply_class_balancing", "alpha", "gamma")
    options = of_answers(case) | {name: case.arguments[name] for name in names if name in case.arguments}
    return with_epsilon(functools.partial(losses.binary_focal_crossentropy, tensor(case.y_true, "float64"), **options))


def divergence(case):
    """`kl_divergence`, which clips probabilities as the loss does; of logits, that of their softmax."""
    loss = functools.partial(losses.kl_divergence, tensor(dense(case), "float64"))
    if not case.arguments["from_logits"]:
        return with_epsilon(loss, epsilon_of(case))
    refuse_deep_logits(case)
    return lambda rows: with_epsilon(loss)(tf.nn.softmax(rows))


def distillation(case):
    """`kl_divergence` and `categorical_crossentropy`."""
    refuse_deep_logits(case, case.temperature)

    def kl(log_p, log_q):
        return with_epsilon(losses.kl_divergence)(tf.exp(log_p), tf.exp(log_q))

    return by_hand.distillation(case, kl, functools.partial(losses.categorical_crossentropy, from_logits=True))

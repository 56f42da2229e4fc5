"""Optax's losses."""

import jax.numpy as jnp
import numpy as np
import optax

from ..running import tensor
from . import by_hand
from .inputs import answers, dense, epsilon_of, ids, log_probs, logits, num_classes, plain_ids, weights


def crossentropy(case):
    """`softmax_cross_entropy`, of class ids or distributions, which optax smooths; weights of classes are put into them."""
    if plain_ids(case):
        targets = ids(case)
        return lambda rows: optax.softmax_cross_entropy_with_integer_labels(logits(case, rows), targets)
    targets, smoothing = tensor(dense(case), "float64"), case.arguments.get("label_smoothing", 0.0)
    weight = 1.0 if weights(case) is None else tensor(weights(case), "float64")
    ruled_out = np.isneginf(case.y_pred).any()
    losses = optax.losses.safe_softmax_cross_entropy if ruled_out else optax.softmax_cross_entropy
    return lambda rows: losses(logits(case, rows), weight * optax.smooth_labels(targets, smoothing))


def focal(case):
    """What the cross-entropy of every class is turned into by hand."""
    every = tensor(np.arange(num_classes(case))[None], "int64")
    return by_hand.focal(case, lambda rows: optax.softmax_cross_entropy_with_integer_labels(rows[:, None], every))


def generalized(case):
    """What the cross-entropy is turned into by hand; that of probabilities as they are is their divergence from a certainty."""
    if not case.arguments["from_logits"]:
        certain = tensor(dense(case), "float64")
        return by_hand.generalized(case, lambda rows: optax.losses.kl_divergence(log_probs(case, rows), certain))
    targets = ids(case)
    return by_hand.generalized(case, lambda rows: optax.softmax_cross_entropy_with_integer_labels(rows, targets))


def binary_crossentropy(case):
    """`sigmoid_binary_cross_entropy`; the logit of a probability is made by hand."""
    if case.arguments.get("pos_weight") is not None:
        return by_hand.weighed_answers(case, lambda y_pred, targets: of_answers(case, y_pred, targets))
    targets = tensor(answers(case), "float64")
    return lambda y_pred: of_answers(case, y_pred, targets)


def of_answers(case, y_pred, targets):
    """The cross-entropy of each."""
    return optax.sigmoid_binary_cross_entropy(logits_of_yes(case, y_pred), targets)


def logits_of_yes(case, y_pred):
    """The logit of a probability is log p - log(1 - p)."""
    return y_pred if case.arguments["from_logits"] else jnp.log(y_pred) - jnp.log1p(-y_pred)


def binary_focal(case):
    """`sigmoid_focal_loss`; where the yes is weighed, what the cross-entropy is turned into by hand."""
    if case.arguments.get("pos_weight") is not None:
        return by_hand.binary_focal(case, binary_crossentropy(case))
    targets = tensor(answers(case), "float64")
    alpha = case.arguments.get("alpha", 0.25) if case.arguments.get("apply_class_balancing") else None
    gamma = case.arguments.get("gamma", 2.0)
    return lambda y_pred: optax.sigmoid_focal_loss(logits_of_yes(case, y_pred), targets, alpha=alpha, gamma=gamma)


def divergence(case):
    """`kl_divergence`; of probabilities the targets are clipped, as the loss does."""
    targets = dense(case) if case.arguments["from_logits"] else np.clip(dense(case), epsilon_of(case), 1.0)
    targets = tensor(targets, "float64")
    return lambda rows: optax.losses.kl_divergence(log_probs(case, rows), targets)


def distillation(case):
    """`kl_divergence_with_log_targets` and `softmax_cross_entropy`."""

    def kl(log_p, log_q):
        return optax.losses.kl_divergence_with_log_targets(log_q, log_p)

    def crossentropy(targets, student):
        return optax.softmax_cross_entropy(student, targets)

    return by_hand.distillation(case, kl, crossentropy)

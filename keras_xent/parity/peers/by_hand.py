"""What a library's losses are turned into by hand, where it has no such loss itself: the same few lines for each library."""

import numpy as np
from keras import ops

from ..running import tensor
from .inputs import answers, dense, hard_labels, logits, weighed


def focal(case, costs_of):
    """Σ_k α_k (1 - p_k)^γ w_k t_k e_k, of a library's costs e_k = -log p_k of every class of a row of logits."""
    pull = case.arguments.get("alpha", 0.25) * weighed(case)
    nothing, pull = tensor(pull == 0), tensor(pull, "float64")

    def losses(rows):
        costs = ops.where(nothing, 1.0, costs_of(logits(case, rows)))  # whatever its probability
        return ops.sum(pull * focus(case, -ops.expm1(-costs)) * costs, axis=-1)

    return losses


def focus(case, remainders):
    """c^γ."""
    return remainders ** case.arguments.get("gamma", 2.0)


def generalized(case, costs_of):
    """(1 - p^q) / q, of a library's -log p of the target."""
    q = case.arguments.get("q", 0.5)
    return lambda rows: (1.0 - ops.exp(-q * costs_of(rows))) / q  # not `expm1`, whose gradient on PyTorch and JAX cancels


def weighed_answers(case, crossentropy):
    """w t e_1 + (1 - t) e_0, of a library's cross-entropies of the answers 1 and 0 that knows no weight of the yes."""
    targets, weight = tensor(answers(case), "float64"), case.arguments.get("pos_weight", 1.0)

    def elements(y_pred):
        yes = crossentropy(y_pred, ops.ones_like(y_pred))
        return weight * targets * yes + (1.0 - targets) * crossentropy(y_pred, ops.zeros_like(y_pred))

    return elements


def binary_focal(case, elements):
    """b c^γ e, of a library's binary cross-entropies e."""
    targets, alpha = answers(case), case.arguments.get("alpha", 0.25)
    balance = alpha * targets + (1.0 - alpha) * (1.0 - targets) if case.arguments.get("apply_class_balancing") else 1.0
    targets, balance = tensor(targets, "float64"), tensor(balance, "float64")

    def losses(y_pred):
        if case.arguments["from_logits"]:
            probs, complements = ops.sigmoid(y_pred), ops.sigmoid(-y_pred)
        else:
            probs, complements = y_pred, 1.0 - y_pred
        mistakes = targets * complements + (1.0 - targets) * probs
        return balance * focus(case, mistakes) * elements(y_pred)

    return losses


def distillation(case, kl, crossentropy):
    """(1 - λ) T² D(p, q) + λ e, of a library's divergence of log p and log q, and its cross-entropy of targets and logits."""
    temperature, divergence = case.temperature, case.arguments.get("divergence", "kl")
    scale = temperature**2 if case.arguments.get("scale_by_temperature_squared", True) else 1.0
    beta, label_weight = case.arguments.get("beta", 0.5), case.arguments.get("label_weight", 0.0)
    classes, labels = case.arguments.get("teacher_classes"), hard_labels(case)
    with np.errstate(divide="ignore"):
        teacher = np.log(dense(case)) if case.arguments["targets"] == "probs" else dense(case)
    teacher = tensor(teacher[:, :classes] / temperature, "float64")
    labels = None if labels is None else tensor(labels, "float64")

    def distance(student):
        log_p, log_q = ops.log_softmax(teacher, axis=-1), ops.log_softmax(student, axis=-1)
        if divergence == "crossentropy":
            return crossentropy(ops.exp(log_p), student)
        if divergence == "jsd":
            log_m = ops.log(beta * ops.exp(log_p) + (1.0 - beta) * ops.exp(log_q))
            return beta * kl(log_p, log_m) + (1.0 - beta) * kl(log_q, log_m)
        return kl(log_q, log_p) if divergence == "reverse_kl" else kl(log_p, log_q)

    def losses(rows):
        student = logits(case, rows)
        soft = scale * distance(student[:, :classes] / temperature)
        return soft if labels is None else (1.0 - label_weight) * soft + label_weight * crossentropy(labels, student)

    return losses

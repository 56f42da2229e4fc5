"""PyTorch's functional losses."""

import functools

import numpy as np
from torch.nn import functional

from ..cases import KINDS
from ..running import tensor
from . import by_hand
from .inputs import answers, dense, epsilon_of, ids, log_probs, logits, weights


def crossentropy(case):
    """`cross_entropy`, of class ids or distributions; it smooths and weighs by itself."""
    weight = weights(case)
    losses = functools.partial(
        functional.cross_entropy,
        target=ids(case) if KINDS[case.loss] == "ids" else tensor(dense(case), "float64"),
        weight=None if weight is None else tensor(weight, "float64"),
        label_smoothing=case.arguments.get("label_smoothing", 0.0),
        reduction="none",
    )
    return lambda rows: losses(logits(case, rows))


def focal(case):
    """What `log_softmax` is turned into by hand."""
    return by_hand.focal(case, lambda rows: -functional.log_softmax(rows, -1))


def generalized(case):
    """What `nll_loss` is turned into by hand."""
    targets = ids(case)
    return by_hand.generalized(case, lambda rows: functional.nll_loss(log_probs(case, rows), targets, reduction="none"))


def binary_crossentropy(case):
    """`binary_cross_entropy_with_logits`, or of probabilities `binary_cross_entropy`, which is weighed by hand."""
    if not case.arguments["from_logits"]:
        return by_hand.weighed_answers(case, functools.partial(functional.binary_cross_entropy, reduction="none"))
    pos_weight = case.arguments.get("pos_weight")
    return functools.partial(
        functional.binary_cross_entropy_with_logits,
        target=tensor(answers(case), "float64"),
        pos_weight=None if pos_weight is None else tensor(pos_weight, "float64"),
        reduction="none",
    )


def binary_focal(case):
    """What the binary cross-entropies are turned into by hand."""
    return by_hand.binary_focal(case, binary_crossentropy(case))


def divergence(case):
    """`kl_div`; of probabilities the targets are clipped, as the loss does."""
    targets = dense(case) if case.arguments["from_logits"] else np.clip(dense(case), epsilon_of(case), 1.0)
    targets = tensor(targets, "float64")
    return lambda rows: functional.kl_div(log_probs(case, rows), targets, reduction="none").sum(-1)


def distillation(case):
    """`kl_div` and `cross_entropy`."""

    def kl(log_p, log_q):
        return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)

    def crossentropy(targets, student):
        return functional.cross_entropy(student, targets, reduction="none")

    return by_hand.distillation(case, kl, crossentropy)

"""What the precision of a loss is measured against: the definition in float64, or in 60 digits, and the size of its terms.

float64 is enough for the definitions in `keras_xent.reference`: they add up numbers of one sign, and where 1 - p would cancel
they sum the other classes, so that they keep 12 digits of every number that float32 holds. Two results are differences all
the same: a divergence near 0, and the gradient Σu · p - u of soft targets. Their error is measured by the larger of the two
numbers that are subtracted, which float64 knows to 12 digits, too. The newer definitions (focal, divergence, generalised)
are not taken at their word: a sample of each is computed in 60 digits, straight from the formulas, and replaces them.
"""

from typing import Any

import numpy as np

from .. import reference
from . import terms

DIGITS = 60  # 1 - p takes 38 of them at the smallest p that float32 holds


def in_float64(function, y_true, logits, options):
    """The definition's losses and gradient."""
    losses = getattr(reference, function)(y_true, logits, from_logits=True, **options)
    return losses, getattr(reference, f"{function}_gradient")(y_true, logits, from_logits=True, **options)


def sizes(function, y_true, logits, options, losses, gradient, soft):
    """What the errors of losses and gradient are relative to: the number itself, or the larger term of a difference."""
    if function == "kl_divergence":  # cross-entropy - entropy
        losses = np.maximum(losses, reference.categorical_crossentropy(y_true, logits, from_logits=True))
    if soft:
        focus = {"alpha": options.get("alpha", 0.25), "gamma": options["gamma"]} if "gamma" in options else {}
        gradient = np.maximum(*terms.of_logits(y_true, logits, **focus))
    return np.abs(losses), np.abs(gradient)


def in_many_digits(function, y_true, logits, options):
    """Losses and gradient of a focal, generalised or Kullback-Leibler loss, each number computed in 60 digits.

    The gradient is the chain rule through the softmax: s_k - p_k Σ_j s_j, with s_k = p_k ∂loss/∂p_k.
    """
    import mpmath  # in the extra "test"

    with mpmath.workdps(DIGITS):
        rows = [_row(mpmath.mp, function, t, z.tolist(), options) for t, z in zip(y_true, logits, strict=True)]
        return np.array([float(loss) for loss, _ in rows]), np.array([[float(x) for x in gradient] for _, gradient in rows])


def _row(mp: Any, function, target, logits, options):
    if function == "binary_focal_crossentropy":
        return _answer(mp, target[0], logits[0], options["gamma"])
    probs, remainders, logs = _softmax(mp, logits)
    if function == "categorical_generalized_cross_entropy":
        power = mp.exp(options["q"] * logs[target])
        loss, slopes = (1 - power) / options["q"], [mp.mpf(0)] * len(logits)
        slopes[target] = -power
    elif function == "kl_divergence":
        terms = [t * (mp.log(t) - log) for t, log in zip(target.tolist(), logs, strict=True) if t]
        loss, slopes = mp.fsum(terms), [-mp.mpf(t) for t in target.tolist()]
    else:
        targets = target.tolist() if np.ndim(target) else [float(k == target) for k in range(len(logits))]
        loss, slopes = _focal(mp, targets, probs, remainders, logs, options["gamma"], options.get("alpha", 0.25))
    total = mp.fsum(slopes)
    return loss, [slope - prob * total for slope, prob in zip(slopes, probs, strict=True)]


def _softmax(mp, logits):
    """p, 1 - p and log p; of the top class 1 - p is what the others add up to."""
    top = max(range(len(logits)), key=logits.__getitem__)
    powers = [mp.exp(mp.mpf(z) - logits[top]) for z in logits]
    others = mp.fsum(powers[:top] + powers[top + 1 :])
    total = 1 + others
    remainders = [(total - power) / total for power in powers]
    remainders[top] = others / total
    log_total = mp.log(total)
    return [power / total for power in powers], remainders, [mp.mpf(z) - logits[top] - log_total for z in logits]


def _focal(mp, targets, probs, remainders, logs, gamma, alpha):
    loss, slopes = mp.mpf(0), [mp.mpf(0)] * len(targets)
    for k, target in enumerate(targets):
        if target and remainders[k]:
            factor = alpha * target * remainders[k] ** gamma
            loss -= factor * logs[k]
            slopes[k] = factor * (gamma * probs[k] * logs[k] / remainders[k] - 1)
    return loss, slopes


def _answer(mp, target, logit, gamma):
    sign = 1 if target else -1
    odds = mp.exp(-sign * mp.mpf(logit))  # of the other answer
    wrong, right, cost = odds / (1 + odds), 1 / (1 + odds), mp.log(1 + odds)
    return wrong**gamma * cost, [-sign * wrong**gamma * (gamma * right * cost + wrong)]

"""Cross-entropy of yes/no outputs from a few logits, in NumPy.

With L = log1p(exp(-|z|)), w the weight of a yes, n the outputs of a row:

loss = Σ (w t (max(-z, 0) + L) + (1 - t) (max(z, 0) + L)) / n;  d loss / dz = ((1 - t) σ(z) - w t σ(-z)) / n

Nothing cancels. An answer with target 0 contributes nothing, even at an infinite logit.
"""

import numpy as np

from .numpy_rows import quietly


@quietly
def work(logits, targets, weights):
    """The losses and their slopes."""
    costs, slopes, _, _ = answers(logits, targets, weights)
    return costs.sum(-1) / logits.shape[-1], slopes / logits.shape[-1]


def answers(logits, targets, weights):
    """What each answer costs, the slope of that, the probabilities of a yes and of a no."""
    power = np.exp(-np.abs(logits))
    near_zero, likely = np.log1p(power), 1.0 / (1.0 + power)
    unlikely, says_yes = power * likely, logits > 0.0
    yes, no = np.where(says_yes, likely, unlikely), np.where(says_yes, unlikely, likely)
    of_yes, of_no = targets if (weights == 1.0).all() else weights * targets, 1.0 - targets
    cost_of_yes, cost_of_no = near_zero + np.maximum(-logits, 0.0), near_zero + np.maximum(logits, 0.0)
    costs = of_yes * cost_of_yes + of_no * cost_of_no
    if np.isnan(costs).any():
        costs = np.where(of_yes == 0.0, 0.0, of_yes * cost_of_yes) + np.where(of_no == 0.0, 0.0, of_no * cost_of_no)
    return costs, of_no * yes - of_yes * no, yes, no

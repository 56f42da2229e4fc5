"""Focal cross-entropy of yes/no outputs from a few logits, in NumPy.

With e the cost of an output as in `numpy_binary`, c the probability of a mistake, n the outputs of a row:

loss = Σ c^γ e / n,  c = t σ(-z) + (1 - t) σ(z);  d loss / dz = c^γ (e' + γ c' e / c) / n,  c' = (1 - 2 t) σ(z) σ(-z)
"""

import numpy as np

from .numpy_binary import answers
from .numpy_rows import quietly


@quietly
def work(logits, targets, gamma, weights):
    """The losses and their slopes."""
    costs, slopes, yes, no = answers(logits, targets, weights)
    mistakes = np.maximum(targets * no + (1.0 - targets) * yes, np.finfo(logits.dtype).tiny)
    change = (1.0 - 2.0 * targets) * yes * no / mistakes
    factors = mistakes * mistakes if gamma == 2.0 else mistakes**gamma
    slopes += gamma * np.where(change == 0.0, 0.0, change * costs)  # a cost may be infinite
    return (factors * costs).sum(-1) / logits.shape[-1], factors * slopes / logits.shape[-1]

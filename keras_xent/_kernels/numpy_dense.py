"""Cross-entropy against distributions from a few logits, in NumPy.

With z_j = m a largest logit, r = Σ_{k ≠ j} exp(z_k - m), M = Σ_k t_k:

loss = Σ_k t_k (m - z_k) + M log1p(r);  d loss / d z_k = M exp(z_k - m) / (1 + r) - t_k

Where the top class has most of the target, its slope is what the others' add up to, negated: M p - t would cancel.
"""

import numpy as np

from .numpy_rows import balance, each, quietly


@quietly
def work(logits, targets):
    """The losses and their slopes."""
    rows, top = each(logits), logits.argmax(-1)
    depths = logits[rows, top][:, None] - logits
    slopes = np.exp(-depths)
    of_top = slopes[rows, top]  # 1, or NaN of an infinite logit
    slopes[rows, top] = 0.0
    others, mass = slopes.sum(-1), targets.sum(-1)
    slopes[rows, top] = of_top
    slopes *= (mass / (of_top + others))[:, None]
    slopes -= targets
    balance(slopes, top, (others < 1.0) & (2.0 * targets[rows, top] > mass))
    return expected_depth(targets, depths) + mass * np.log1p(others + (of_top - 1.0)), slopes


def expected_depth(targets, depths):
    """Σ_k t_k (m - z_k), to which a class with target 0 contributes nothing, even at logit -inf."""
    expected = (targets * depths).sum(-1)
    return np.where(targets == 0.0, 0.0, targets * depths).sum(-1) if np.isnan(expected).any() else expected

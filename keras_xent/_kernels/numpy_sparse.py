"""Cross-entropy against class ids from a few logits, in NumPy.

With y the target, m the largest logit, r = Σ_{k ≠ y} exp(z_k - m), e = exp(z_y - m):

loss = m - z_y + log(r + e);  d loss / d z_k = exp(z_k - m) / (r + e), and -r / (r + e) for the target
"""

import numpy as np

from .numpy_rows import each, quietly


@quietly
def work(logits, labels):
    """The losses and their slopes."""
    rows, top_logit = each(logits), logits.max(-1)
    gap = top_logit - logits[rows, labels]
    slopes = np.exp(logits - top_logit[:, None])
    slopes[rows, labels] = 0.0
    others = slopes.sum(-1)
    scale = 1.0 / (others + np.exp(-gap))
    slopes *= scale[:, None]
    slopes[rows, labels] = -others * scale
    return gap + np.log1p(others + np.expm1(-gap)), slopes

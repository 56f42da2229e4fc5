"""Focal cross-entropy against distributions from a few logits, in NumPy.

With p the softmax, l_k = -log p_k, c_k = 1 - p_k and u_k = t_k c_k^γ (1 + γ p_k l_k / c_k):

loss = Σ_k t_k c_k^γ l_k;  d loss / d z_k = (Σ_j u_j) p_k - u_k

The top class is computed apart, as for a likely one 1 - p and the last difference cancel: c is what the others' p add up to, and
the difference p Σ_{j ≠ top} u_j - c u. No other class has more than half.
"""

import numpy as np

from .numpy_rows import each, quietly


@quietly
def work(logits, targets, gamma):
    """The losses and their slopes."""
    rows, top = each(logits), logits.argmax(-1)
    depths = logits[rows, top][:, None] - logits
    probs = np.exp(-depths)
    of_top = probs[rows, top]  # 1, or NaN of an infinite logit
    probs[rows, top] = 0.0
    others = probs.sum(-1)
    top_prob = of_top / (of_top + others)
    top_remainder, top_cost = others * top_prob, np.log1p(others + (of_top - 1.0))
    probs *= top_prob[:, None]
    costs = depths + top_cost[:, None]
    impossible = np.isinf(costs)
    costs[impossible] = np.finfo(costs.dtype).max  # 0 times infinity would be NaN

    remainders = 1.0 - probs
    weights = targets * raised(probs, remainders, gamma)
    weights[rows, top] = 0.0
    pulls = weights * (1.0 + gamma * probs * costs / remainders)
    other_pulls = pulls.sum(-1)
    top_weight = targets[rows, top] * raised_at_top(top_prob, top_remainder, gamma)
    rate = np.where(top_remainder == 0.0, 1.0, top_cost / top_remainder)
    top_pull = top_weight * (1.0 + gamma * top_prob * rate)

    losses = (weights * costs).sum(-1) + top_weight * top_cost
    losses[(impossible & (targets != 0.0)).any(-1)] = np.inf
    slopes = probs * (other_pulls + top_pull)[:, None] - pulls
    slopes[rows, top] = top_prob * other_pulls - top_remainder * top_pull
    return losses, slopes


def raised(probs, remainders, gamma):
    """c^γ by way of p, which has more digits where c is next to 1."""
    return remainders * remainders if gamma == 2.0 else np.exp(gamma * np.log1p(-probs))


def raised_at_top(prob, remainder, gamma):
    """c^γ of the top class, by whichever of p and c is smaller."""
    return np.where(prob < 0.5, np.exp(gamma * np.log1p(-prob)), remainder**gamma)

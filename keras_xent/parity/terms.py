"""The terms that gradients are the difference of: by their size, not by what is left of them, an error is measured."""

import numpy as np

from ..reference import _arithmetic as a
from ..reference import categorical
from .cases import KINDS, one_hot


def of_logits(pulls, logits, axis=-1, alpha=1.0, gamma=0.0):
    """Σu · p and u, whose difference is the gradient by logits: u_k = α_k t_k c_k^γ (1 + γ p_k e_k / c_k), `pulls` being t."""
    log_probs = a.log_softmax(logits, axis)
    if gamma:
        remainders = -np.expm1(log_probs)
        slopes = np.exp(log_probs) * -log_probs / np.where(remainders == 0, np.inf, remainders)
        pulls = pulls * remainders**gamma * (1.0 + gamma * slopes)
    pulls = alpha * pulls
    return pulls.sum(axis=axis, keepdims=True) * np.exp(log_probs), pulls


def of_soft_targets(case):
    """The largest of these terms in each row of a case from logits whose targets are soft; of hard ones nothing cancels: 0."""
    arguments, kind = case.arguments, KINDS[case.loss]
    smoothing = arguments.get("label_smoothing", 0.0)
    if kind == "answers":
        targets = a.smooth(case.y_true[..., None].repeat(2, -1), smoothing, -1)[..., 0]
        number = case.y_pred.size if case.axis is None else 1 if case.axis == () else case.y_pred.shape[case.axis]
        return np.where((targets > 0) & (targets < 1), 1.0 / max(number, 1), 0.0)
    targets = one_hot(case.y_true, case.y_pred.shape[case.axis], case.axis) if kind == "ids" else case.y_true
    targets, logits = categorical.prepare(targets, case.y_pred, smoothing, case.axis, arguments.get("class_weight"))
    focus = {}
    if "Focal" in case.loss:
        alpha = np.asarray(arguments.get("alpha", 0.25))
        focus = {"alpha": a.along(alpha, logits.ndim, case.axis) if alpha.ndim else alpha, "gamma": arguments.get("gamma", 2.0)}
    with np.errstate(all="ignore"):
        terms = np.nan_to_num(of_logits(targets, logits, case.axis, **focus)[0], nan=0.0, posinf=0.0)
    soft = (targets != 0).sum(axis=case.axis, keepdims=True) > 1
    return np.where(soft, terms.max(axis=case.axis, keepdims=True, initial=0.0), 0.0)

"""Yes/no outputs: what each answer costs, and which was right."""

from keras import ops

from .tensors import product


def choose_log(targets, no_targets, pos_weight, log_probs, log_complements):
    """The expected -log p under the target of a yes/no output.

    e = -w t log p - (1 - t) log(1 - p)
    """
    return -(product(targets * pos_weight, log_probs) + product(no_targets, log_complements))


def cost_of_yes(logits):
    """What a yes costs: -log σ(z).

    softplus(-z)
    """
    return softplus(-logits)


def cost_of_no(logits):
    """What a no costs: -log(1 - σ(z)).

    softplus(z)
    """
    return softplus(logits)


def choose_cost(targets, no_targets, pos_weight, costs_of_yes, costs_of_no):
    """The expected cost under the target; an answer with target 0 contributes 0, even at an infinite logit.

    e = w t softplus(-z) + (1 - t) softplus(z)
    """
    return product(targets * pos_weight, costs_of_yes) + product(no_targets, costs_of_no)


def softplus(x):
    """log(1 + exp(x)), exact at both ends and smooth at 0 (a maximum and |x| have no second derivative there).

    max(x, 0) + log1p(exp(-|x|))
    """
    positive = x > 0
    return ops.where(positive, x, 0.0) + ops.log1p(ops.exp(ops.where(positive, -x, x)))

"""Focal cross-entropy against distributions from logits, on TensorFlow.

With p the softmax, c_k = 1 - p_k, e_k = -log p_k:

loss = Σ_k t_k c_k^γ e_k;  d loss / dz_k = s_k - p_k Σ_i s_i,  s_k = p_k d loss / dp_k = -t_k (c_k^γ + γ c_k^(γ - 1) p_k e_k)

Where the softmax denominator S < 2 one class j leads, which has most of the prediction. Its c_j is what the others add up to, and
its gradient s_j c_j - p_j Σ_{i ≠ j} s_i, in which nothing cancels.
"""

import functools

import tensorflow as tf

from . import numpy_focal
from .exponents import serves_exponent
from .shortcuts import Kernel
from .tensorflow_powers import raised, slope_of_power
from .tensorflow_rows import RowLosses, largest, log_denominator, serves, summed

IMPOSSIBLE = 200.0  # nats: the probability is 0, and so is its product with what it costs


def measure(gamma, logits, targets):
    """The losses; m, S, r and log S; what the class that leads pulls, and all others do."""
    top_logit = largest(logits)
    softmax = top_logit, *log_denominator(tf.subtract, logits, top_logit)

    def cost(logits, targets):
        return tf.math.multiply_no_nan(focal_cost(gamma, *parts(logits, *softmax)), targets)

    def pull_of_others(logits, targets):
        return tf.where(leads(logits, *softmax), 0.0, pull(gamma, targets, *parts(logits, *softmax)))

    def pull_of_leader(logits, targets):
        return tf.where(leads(logits, *softmax), pull(gamma, targets, *parts(logits, *softmax)), 0.0)

    losses, *pulls = (summed(each, logits, targets) for each in (cost, pull_of_leader, pull_of_others))
    return losses, *softmax, *pulls


def leads(logits, top_logit, total, others, log_total):
    """Whether a class has most of the prediction."""
    del others, log_total
    return (logits >= top_logit) & (total < 2.0)


def parts(logits, top_logit, total, others, log_total):
    """p, c and e of each class."""
    prob = tf.exp(logits - top_logit) / total
    remainder = tf.where(leads(logits, top_logit, total, others, log_total), others / total, 1.0 - prob)
    return prob, remainder, top_logit - logits + log_total


def focal_cost(gamma, prob, remainder, cost):
    """c^γ e."""
    del prob
    return raised(remainder, gamma) * cost


def pull(gamma, targets, prob, remainder, cost):
    """s."""
    of_factor = slope_of_power(remainder, gamma) * prob * tf.minimum(cost, IMPOSSIBLE)
    return -targets * (raised(remainder, gamma) + of_factor)


def slopes(gamma, upstream, measured, logits, targets):
    """d loss / dz."""
    *softmax, leader_pull, others_pull = measured
    prob, remainder, cost = parts(logits, *softmax)
    own = pull(gamma, targets, prob, remainder, cost)
    of_leader = own * remainder - prob * others_pull
    return upstream * tf.where(leads(logits, *softmax), of_leader, own - prob * (leader_pull + others_pull))


def target_slopes(gamma, upstream, measured, logits, targets):
    """d loss / dt; of an impossible class without target 0."""
    *softmax, _, _ = measured
    costs = focal_cost(gamma, *parts(logits, *softmax))
    return upstream * tf.where((targets == 0) & tf.math.is_inf(costs), 0.0, costs)


@functools.cache
def differentiable(gamma):
    """The function of logits and targets."""
    by_argument = functools.partial(slopes, gamma), functools.partial(target_slopes, gamma)
    return RowLosses(functools.partial(measure, gamma), by_argument, functools.partial(numpy_focal.work, gamma=gamma))


def focal_losses(logits, targets, gamma):
    """The focal cross-entropy under the targets: all steps at once.

    loss = Σ_k t_k c_k^γ (-log p_k)
    """
    return differentiable(gamma)(logits, targets)


FOCAL = Kernel(focal_losses, lambda quantities: serves(quantities) and serves_exponent(quantities), widens=True)

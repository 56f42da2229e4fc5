"""Errors that other kernels for large vocabularies have had, planted one by one: the definition finds each."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from keras_xent.fused import linear, problem

from .problems import CLASSES, ROWS, Problem, far_off

home = linear.engine if hasattr(linear.engine, "sweep") else problem.rows  # where `sweep` is looked up
sweep = home.sweep


def padded_classes(operands, plan, *rest):
    """The last block of the vocabulary is filled up with logits of 0, which enter the sum."""
    wider = ops.pad(operands.kernel, ((0, 0), (0, 1)))
    bias = None if operands.bias is None else ops.pad(operands.bias, ((0, 1),))
    losses, *gradients = sweep(dataclasses.replace(operands, kernel=wider, bias=bias), plan, *rest)
    by_features, by_kernel, by_bias = gradients
    by_kernel = None if by_kernel is None else by_kernel[:, :CLASSES]
    return losses, by_features, by_kernel, None if by_bias is None else by_bias[:CLASSES]


def padded_rows(operands, plan, weights=None, *rest):
    """The last chunk of rows is filled up with the first rows, which enter the gradients."""
    more = 3
    filled = {
        "features": ops.concatenate([operands.features, operands.features[:more]]),
        "targets": tuple(ops.concatenate([each, each[:more]]) for each in operands.targets),
    }
    weights = None if weights is None else ops.concatenate([weights, weights[:more]])
    losses, by_features, *others = sweep(dataclasses.replace(operands, **filled), plan, weights, *rest)
    return losses[:ROWS], None if by_features is None else by_features[:ROWS], *others


def narrow_sums(operands, plan, *rest):
    """Sums in bfloat16."""
    losses, *gradients = sweep(operands, plan, *rest)
    return ops.cast(ops.cast(losses, "bfloat16"), losses.dtype), *gradients


def mean_upstream(operands, plan, weights=None, *rest):
    """The gradient of a mean, whatever each loss is multiplied with."""
    return sweep(operands, plan, None if weights is None else ops.ones_like(weights) * ops.mean(weights), *rest)


def without_bias(operands, plan, *rest):
    """The bias is forgotten."""
    losses, by_features, by_kernel, _ = sweep(dataclasses.replace(operands, bias=None), plan, *rest)
    return losses, by_features, by_kernel, None if not rest else ops.zeros_like(operands.bias)


def stale_slopes(operands, plan, weights=None, *rest):
    """Rows of the last chunk are left out of the gradients."""
    if weights is not None:
        weights = ops.where(ops.arange(ROWS) < ROWS - 1, weights, 0.0)
    return sweep(operands, plan, weights, *rest)


@pytest.mark.parametrize("trap", [padded_classes, padded_rows, narrow_sums, mean_upstream, without_bias, stale_slopes])
def test_traps_are_caught(trap, monkeypatch):
    problem = Problem()
    expected = problem.expected()
    assert not any(far_off(problem.actual(), expected))
    monkeypatch.setattr(home, "sweep", trap)
    clear()
    assert any(far_off(problem.actual(), expected))
    monkeypatch.undo()
    clear()
    assert not any(far_off(problem.actual(), expected))


def clear():
    """What JAX has compiled with another `sweep` is forgotten."""
    if hasattr(linear.engine, "jax"):
        linear.engine.jax.clear_caches()


def test_a_zero_bias_would_hide_a_forgotten_one():
    assert np.abs(Problem().bias).min() > 0

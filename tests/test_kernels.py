"""Kernels: they take the place of steps, and give what the steps and the definition give."""

import numpy as np
import pytest

import keras_xent
from keras_xent import fused, reference, steps
from keras_xent._recipe import Step, run
from keras_xent.fused.shortcuts import Kernel, shortened
from keras_xent.losses import sparse, sparse_focal
from keras_xent.losses._common import TARGET_FROM_LOGITS

from .backends import BACKEND, array, tensor, value_and_gradient

STEPS = (Step("gap", steps.measure_gap), Step("losses", steps.negate, log_prob="gap"))
KERNEL = Kernel(lambda target_logit: 7.0, lambda quantities: quantities["small"])


def shorter(recipe, small=True):
    return shortened(recipe, {"small": small}, STEPS, KERNEL)


def test_a_kernel_takes_the_place_of_its_steps():
    before, after = Step("probs", steps.renormalize), Step("losses", steps.generalize)
    taken = shorter((before, *STEPS, after))
    assert taken[0] is before and taken[2] is after and len(taken) == 3
    assert taken[1].gives == "losses" and run(taken[1:2], {"target_logit": 1.0}) == 7.0


def test_the_steps_are_taken_where_it_cannot():
    needing = Step("losses", steps.log_denominator, non_targets="losses")  # it takes the gap
    for recipe, small in (((*STEPS, needing), True), (STEPS, False), (STEPS[:1], True), ((), True)):
        assert shorter(recipe, small) == recipe
    assert shortened(STEPS, {}, STEPS, None) == STEPS


def test_recipes_that_are_shortened():
    """Those that need the loss alone: smoothed labels, and the focal factor, need what is made on the way."""
    everywhere = Kernel(lambda logits: logits, lambda quantities: True)
    plain = {"from_logits": True, "class_weight": None, "label_smoothing": 0.0, "gamma": 2.0, "alpha": 0.5}
    for recipe, options, count in (
        (sparse.recipe, {}, 1),
        (sparse.recipe, {"class_weight": [1.0, 2.0]}, 2),
        (sparse.recipe, {"label_smoothing": 0.1}, len(sparse.recipe(plain | {"label_smoothing": 0.1}))),
        (sparse_focal.recipe, {}, len(sparse_focal.recipe(plain))),
        (sparse_focal.recipe, {"gamma": 0.0}, 2),
    ):
        assert len(shortened(recipe(plain | options), {}, TARGET_FROM_LOGITS, everywhere)) == count


def inputs(scale, num_classes, rows=9, seed=0):
    """Logits, half of whose targets are the largest."""
    logits = np.float32(scale * np.random.default_rng(seed).normal(size=(rows, num_classes)))
    labels = np.where(np.arange(rows) % 2, logits.argmin(-1), logits.argmax(-1))
    return logits, labels


@pytest.mark.parametrize("num_classes", [2, 7, 3001])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1000.0])
def test_kernel_steps_and_definition(scale, num_classes, monkeypatch):
    """All three within 64 ε, element by element, whatever the gradient of each loss is multiplied with."""
    logits, labels = inputs(scale, num_classes)
    pull = np.linspace(0.5, 2.0, len(labels)).astype("float32")

    def pulled(x):
        return tensor(pull) * keras_xent.sparse_categorical_crossentropy(labels, x, from_logits=True)

    expected = pull * reference.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    slope = pull[:, None] * reference.sparse_categorical_crossentropy_gradient(labels, logits, from_logits=True)
    for kernel in (fused.SPARSE, None):
        monkeypatch.setattr(fused, "SPARSE", kernel)
        losses, gradient = value_and_gradient(pulled, tensor(logits))
        for actual, right in ((losses, expected), (gradient, slope)):
            assert (np.abs(actual - right) <= 64 * 2.0**-23 * np.abs(right) + 2.0**-126).all()


def test_where_kernels_are():
    assert (fused.SPARSE is not None) == (BACKEND == "torch")


if BACKEND == "torch":
    import torch

    from keras_xent.fused import torch_rows
    from keras_xent.fused.torch_sparse import SPARSE

    @pytest.mark.parametrize("rows", [0, 1, 3, 4, 11])
    @pytest.mark.parametrize("with_gradient", [True, False])
    def test_blocks_change_nothing(rows, with_gradient, monkeypatch):
        logits, labels = (torch.tensor(each) for each in inputs(3.0, 5, rows + 1))
        logits, labels = logits[:rows].requires_grad_(with_gradient), labels[:rows]
        results = []
        for block in (2**22, 20):  # all rows, and four of them
            monkeypatch.setattr(torch_rows, "BLOCK", block)
            assert len(torch_rows.blocks(logits)) == (1 if block > 20 and rows else -(-rows // 4))
            losses = SPARSE.function(logits, labels)
            assert losses.requires_grad == with_gradient
            results.append([losses.detach(), *(torch.autograd.grad(losses.sum(), logits) if with_gradient else ())])
        for one, other in zip(*results, strict=True):
            assert torch.equal(one, other)

    def test_a_gradient_that_is_asked_for_twice():
        """The first is scaled in place; those after it are the same, and a gradient that is kept is not written over."""
        logits, labels = (torch.tensor(each) for each in inputs(3.0, 5))
        losses = SPARSE.function(logits.requires_grad_(), labels)
        first, second = (torch.autograd.grad(losses.sum(), logits, retain_graph=True)[0] for _ in range(2))
        kept = first.clone()
        (third,) = torch.autograd.grad(2.0 * losses.sum(), logits)
        assert torch.equal(first, kept)
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(2.0 * first, third, rtol=1e-6, atol=1e-7)

    def test_gradients_add_up():
        """Of two losses of the same logits, and of two backward passes into the same leaf."""
        logits, labels = (torch.tensor(each) for each in inputs(3.0, 5))
        leaf = logits.clone().requires_grad_()
        (SPARSE.function(leaf, labels).sum() + 2.0 * SPARSE.function(leaf, labels).sum()).backward()
        SPARSE.function(leaf, labels).sum().backward()
        once = logits.clone().requires_grad_()
        SPARSE.function(once, labels).sum().backward()
        torch.testing.assert_close(leaf.grad, 4.0 * once.grad, rtol=1e-6, atol=1e-7)

    def test_nothing_else_is_as_large_as_the_gradient():
        """What is allocated, added up: one gradient, and little beside it."""
        logits, labels = inputs(3.0, 4000, 1000)
        logits, labels = torch.tensor(logits, requires_grad=True), torch.tensor(labels)
        loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True)
        loss(labels, logits).backward()
        logits.grad = None
        with torch.profiler.profile(profile_memory=True) as profile:
            loss(labels, logits).backward()
        allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages())
        assert allocated < 0.1 * logits.nbytes  # the gradient is NumPy's, which the profiler does not see

    def test_rows_that_are_no_matrix():
        """Leading axes, none, and memory that is not contiguous."""
        logits, labels = (torch.tensor(each) for each in inputs(3.0, 6, 12))
        expected = SPARSE.function(logits, labels)
        torch.testing.assert_close(SPARSE.function(logits.reshape(2, 2, 3, 6), labels.reshape(2, 2, 3)).flatten(), expected)
        torch.testing.assert_close(SPARSE.function(logits.T.contiguous().T, labels), expected)
        torch.testing.assert_close(SPARSE.function(logits[0], labels[0]), expected[0])


def test_infinite_logits():
    """Impossible classes cost nothing, an impossible target everything."""
    logits = np.float32([[1.0, -np.inf, 2.0], [1.0, -np.inf, 2.0], [-np.inf, -np.inf, 2.0], [0.0, 0.0, 300.0]])
    labels = np.array([0, 1, 2, 0])
    losses = array(keras_xent.sparse_categorical_crossentropy(labels, tensor(logits), from_logits=True))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(losses, reference.sparse_categorical_crossentropy(labels, logits, from_logits=True), rtol=1e-6)

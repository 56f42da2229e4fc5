"""Kernels: they take the place of steps, and give what the steps and the definition give."""

import numpy as np
import pytest

import keras_xent
from keras_xent import _kernels, reference, steps
from keras_xent._kernels.shortcuts import Kernel, shortened
from keras_xent._recipe import Step, run
from keras_xent.losses import sparse, sparse_focal
from keras_xent.losses._common import TARGET_FROM_LOGITS

from .backends import BACKEND, array, tensor, value_and_gradient
from .cases import one_hot

FLUSHED = 2.0**-124  # TensorFlow and JAX take an exponential below 2**-126 for 0
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
    """Those that need the loss alone, as the focal factor of a class id does; smoothed labels need what is made on the way."""
    everywhere = Kernel(lambda logits: logits, lambda quantities: True)
    plain = {"from_logits": True, "class_weight": None, "label_smoothing": 0.0, "gamma": 2.0, "alpha": 0.5}
    for recipe, options, count in (
        (sparse.recipe, {}, 1),
        (sparse.recipe, {"class_weight": [1.0, 2.0]}, 2),
        (sparse.recipe, {"label_smoothing": 0.1}, len(sparse.recipe(plain | {"label_smoothing": 0.1}))),
        (sparse_focal.recipe, {}, 5),
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
    for name, y_true in (("sparse_categorical_crossentropy", labels), ("categorical_crossentropy", one_hot(labels, num_classes))):
        expected = pull * getattr(reference, name)(y_true, logits, from_logits=True)
        slope = pull[:, None] * getattr(reference, f"{name}_gradient")(y_true, logits, from_logits=True)

        def pulled(x, name=name, y_true=y_true):
            return tensor(pull) * getattr(keras_xent, name)(y_true, x, from_logits=True)

        for kernels in (True, False):
            with monkeypatch.context() as patch:
                for kernel in () if kernels else ("DENSE", "SPARSE"):
                    patch.setattr(_kernels, kernel, None)
                losses, gradient = value_and_gradient(pulled, tensor(logits))
            for actual, right in ((losses, expected), (gradient, slope)):
                assert (np.abs(actual - right) <= 64 * 2.0**-23 * np.abs(right) + FLUSHED).all()


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_soft_targets(scale, smoothing, monkeypatch):
    """Of any mass; gradients relative to the larger of the two terms of which they are the difference."""
    logits, labels = inputs(scale, 300)
    rng = np.random.default_rng(1)
    targets = np.float32(rng.uniform(size=logits.shape) * (rng.uniform(size=logits.shape) < 0.1) + one_hot(labels, 300))
    options = {"from_logits": True, "label_smoothing": smoothing, "class_weight": rng.uniform(0.5, 2.0, 300).tolist()}
    expected = reference.categorical_crossentropy(targets, logits, **options)
    slope = reference.categorical_crossentropy_gradient(targets, logits, **options)
    weighed = (targets * (1.0 - smoothing) + smoothing / 300) * options["class_weight"]
    size = np.maximum(weighed, np.abs(slope + weighed))
    losses, gradient = value_and_gradient(
        lambda x: keras_xent.categorical_crossentropy(tensor(targets), x, **options), tensor(logits)
    )
    assert (np.abs(losses - expected) <= 64 * 2.0**-23 * expected).all()
    off = np.abs(gradient - slope) > 64 * 2.0**-23 * size + FLUSHED * weighed.sum(-1, keepdims=True)
    top = np.arange(300) == logits.argmax(-1)[:, None]  # where it leads, its gradient is what those of the others add up to
    assert not off[~top].any() and (np.abs(gradient - slope)[top] <= 64 * 2.0**-23 * weighed.sum(-1)).all()


def test_where_kernels_are():
    everything = {"BINARY", "BINARY_FOCAL", "DENSE", "FOCAL", "KL", "SPARSE"}
    kernels = {name for name in everything if getattr(_kernels, name)}
    assert kernels == {"torch": {"DENSE", "SPARSE"}, "jax": everything}.get(BACKEND, set())


if BACKEND == "torch":
    import torch

    from keras_xent._kernels import torch_rows
    from keras_xent._kernels.torch_dense import DENSE
    from keras_xent._kernels.torch_sparse import SPARSE

    def sparse_losses(logits, labels):
        return SPARSE.function(logits=logits, labels=labels)

    def dense_losses(logits, labels):
        targets = torch.nn.functional.one_hot(labels, logits.shape[-1]).to(logits.dtype)
        return DENSE.function(logits=logits, targets=0.5 * targets + 0.1)

    every_kernel = pytest.mark.parametrize("kernel", [sparse_losses, dense_losses])

    @pytest.mark.parametrize("rows", [0, 1, 3, 4, 11])
    @pytest.mark.parametrize("with_gradient", [True, False])
    @every_kernel
    def test_blocks_change_nothing(kernel, rows, with_gradient, monkeypatch):
        logits, labels = (torch.tensor(each) for each in inputs(3.0, 5, rows + 1))
        logits, labels = logits[:rows].requires_grad_(with_gradient), labels[:rows]
        results = []
        for block in (2**22, 20):  # all rows, and four of them
            monkeypatch.setattr(torch_rows, "BLOCK", block)
            assert len(torch_rows.blocks(logits)) == (1 if block > 20 and rows else -(-rows // 4))
            losses = kernel(logits, labels)
            assert losses.requires_grad == with_gradient
            results.append([losses.detach(), *(torch.autograd.grad(losses.sum(), logits) if with_gradient else ())])
        for one, other in zip(*results, strict=True):
            assert torch.equal(one, other)

    @every_kernel
    def test_a_gradient_that_is_asked_for_twice(kernel):
        """The first is scaled in place; those after it are the same, and a gradient that is kept is not written over."""
        logits, labels = (torch.tensor(each) for each in inputs(3.0, 5))
        losses = kernel(logits.requires_grad_(), labels)
        first, second = (torch.autograd.grad(losses.sum(), logits, retain_graph=True)[0] for _ in range(2))
        kept = first.clone()
        (third,) = torch.autograd.grad(2.0 * losses.sum(), logits)
        assert torch.equal(first, kept)
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(2.0 * first, third, rtol=1e-6, atol=1e-6)

    @every_kernel
    def test_gradients_add_up(kernel):
        """Of two losses of the same logits, and of two backward passes into the same leaf."""
        logits, labels = (torch.tensor(each) for each in inputs(3.0, 5))
        leaf = logits.clone().requires_grad_()
        (kernel(leaf, labels).sum() + 2.0 * kernel(leaf, labels).sum()).backward()
        kernel(leaf, labels).sum().backward()
        once = logits.clone().requires_grad_()
        kernel(once, labels).sum().backward()
        torch.testing.assert_close(leaf.grad, 4.0 * once.grad, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("dense", [False, True])
    def test_nothing_else_is_as_large_as_the_gradient(dense, monkeypatch):
        """What is allocated, added up: one gradient, and little beside it."""
        monkeypatch.setattr(torch_rows, "BLOCK", 2**16)
        logits, labels = inputs(3.0, 4000, 1000)
        y_true = torch.tensor(np.float32(one_hot(labels, 4000)) if dense else labels)
        logits = torch.tensor(logits, requires_grad=True)
        loss = (keras_xent.CategoricalCrossentropy if dense else keras_xent.SparseCategoricalCrossentropy)(from_logits=True)
        loss(y_true, logits).backward()
        logits.grad = None
        with torch.profiler.profile(profile_memory=True) as profile:
            loss(y_true, logits).backward()
        allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages())
        assert allocated < 0.1 * logits.nbytes  # the gradient is NumPy's, which the profiler does not see

    def test_tensors_of_other_kinds_take_the_steps():
        """Subclasses hold their numbers elsewhere, if they hold any."""
        logits = torch.zeros(2, 3)
        assert torch_rows.can_be_worked_through(logits, 1)
        assert torch_rows.can_be_worked_through(torch.nn.Parameter(logits), 1)
        with torch._subclasses.FakeTensorMode() as mode:
            faked = mode.from_tensor(logits)
        for other, axis in ((logits, 0), (logits.to("meta"), 1), (faked, 1), (logits.as_subclass(Other), 1)):
            assert not torch_rows.can_be_worked_through(other, axis)

    class Other(torch.Tensor):
        """A tensor by another name."""

    @every_kernel
    def test_rows_that_are_no_matrix(kernel):
        """Leading axes, none, and memory that is not contiguous."""
        logits, labels = (torch.tensor(each) for each in inputs(3.0, 6, 12))
        expected = kernel(logits, labels)
        torch.testing.assert_close(kernel(logits.reshape(2, 2, 3, 6), labels.reshape(2, 2, 3)).flatten(), expected)
        torch.testing.assert_close(kernel(logits.T.contiguous().T, labels), expected)
        torch.testing.assert_close(kernel(logits[0], labels[0]), expected[0])


def test_infinite_logits():
    """Impossible classes cost nothing, an impossible target everything."""
    logits = np.float32([[1.0, -np.inf, 2.0], [1.0, -np.inf, 2.0], [-np.inf, -np.inf, 2.0], [0.0, 0.0, 300.0]])
    labels = np.array([0, 1, 2, 0])
    for name, y_true in (("sparse_categorical_crossentropy", labels), ("categorical_crossentropy", one_hot(labels, 3))):
        losses = array(getattr(keras_xent, name)(y_true, tensor(logits), from_logits=True))
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(losses, getattr(reference, name)(y_true, logits, from_logits=True), rtol=1e-6)

"""The kernels on PyTorch's CPU: as exact as the steps, under every transform, in little memory."""

import numpy as np
import pytest

import keras_xent
from keras_xent import _kernels, reference
from keras_xent.reference._arithmetic import log_softmax

from .backends import BACKEND, tensor, value_and_gradient
from .cases import one_hot
from .test_kernels import FLUSHED, inputs

NAMES = "BINARY", "BINARY_FOCAL", "DENSE", "FOCAL", "KL", "SPARSE"
SPARSE, DENSE, FOCAL = ("sparse_categorical_crossentropy", "categorical_crossentropy", "categorical_focal_crossentropy")
BINARY, BINARY_FOCAL, KL = "binary_crossentropy", "binary_focal_crossentropy", "distillation_loss"
LOSSES = {
    "class ids": (SPARSE, {"from_logits": True}),
    "distributions": (DENSE, {"from_logits": True}),
    "focal": (FOCAL, {"from_logits": True}),
    "focal, gamma 0.5": (FOCAL, {"from_logits": True, "gamma": 0.5}),
    "focal, gamma 8": (FOCAL, {"from_logits": True, "gamma": 8.0}),
    "binary": (BINARY, {"from_logits": True}),
    "binary, weighed": (BINARY, {"from_logits": True, "pos_weight": 2.5}),
    "binary focal": (BINARY_FOCAL, {"from_logits": True}),
    "binary focal, gamma 0.5": (BINARY_FOCAL, {"from_logits": True, "gamma": 0.5, "pos_weight": 2.5}),
    "binary focal, gamma 1": (BINARY_FOCAL, {"from_logits": True, "gamma": 1.0}),
    "distillation": (KL, {"targets": "logits", "temperature": 3.0}),
    "distillation, T = 1": (KL, {"targets": "logits", "temperature": 1.0}),
}


def example(name, scale, num_classes, rows=8, seed=0):
    """The loss and its targets, right in every other row; logits."""
    function, options = LOSSES[name]
    logits, labels = inputs(scale, num_classes, rows, seed)
    rng = np.random.default_rng(seed + 1)
    if function == SPARSE:
        y_true = labels
    elif function in (BINARY, BINARY_FOCAL):
        y_true = rng.integers(0, 2, logits.shape).astype("float32")
    elif function == KL:
        y_true = np.float32(scale * rng.normal(size=logits.shape))
        for row, top in zip(y_true[::2], logits.argmax(-1)[::2], strict=True):
            other = row.argmax()
            row[[top, other]] = row[[other, top]]
    else:
        y_true = np.float32(one_hot(labels, num_classes))
    return function, options, y_true, logits


def without_kernels(monkeypatch):
    for name in NAMES:
        monkeypatch.setattr(_kernels, name, None)


def differing_probs(teacher, student, temperature):
    """What d loss / d s, which is T (q - p), is the difference of."""
    return temperature * sum(np.exp(log_softmax(np.float64(logits) / temperature, -1)) for logits in (teacher, student))


def assert_within_64_epsilon(losses_of, function, options, y_true, logits):
    """Of the definition, element by element, whatever the gradient of each loss is multiplied with."""
    pull = np.linspace(0.5, 2.0, len(logits)).astype("float32")
    losses, gradient = value_and_gradient(lambda x: tensor(pull) * losses_of(x), tensor(logits))
    with np.errstate(all="ignore"):
        expected = pull * getattr(reference, function)(y_true, logits, **options)
        slope = pull[:, None] * getattr(reference, f"{function}_gradient")(y_true, logits, **options)
    # where a student's probability is next to its teacher's, the slope is the difference of two, as it is in the steps
    parts = np.abs(slope) if function != KL else pull[:, None] * differing_probs(y_true, logits, options["temperature"])
    for actual, right, size in ((losses, expected, expected), (gradient, slope, parts)):
        assert (np.abs(actual - right) <= 64 * 2.0**-23 * np.abs(size) + FLUSHED).all()


every_loss = pytest.mark.parametrize("name", LOSSES)

if BACKEND == "torch":
    import torch
    from torch.autograd import forward_ad

    from keras_xent._kernels import numpy_rows, torch_blocks, torch_kl, torch_rows
    from keras_xent._kernels.torch_binary import averages_rows

    @pytest.fixture(autouse=True)
    def few_are_enough(monkeypatch):
        """Few logits are computed as many are, also those of students apart from their teachers."""
        monkeypatch.setattr(torch_kl, "A_FEW", 1)
        monkeypatch.setattr(numpy_rows, "A_FEW", 0)

    @pytest.fixture(params=["many", "few"])
    def both_ways(request, monkeypatch, few_are_enough):
        """Also as few are: by NumPy."""
        if request.param == "few":
            monkeypatch.setattr(numpy_rows, "A_FEW", 2**60)

    def compute(name, scale=3.0, num_classes=5, rows=8):
        """The losses as a function of logits, and these."""
        function, options, y_true, logits = example(name, scale, num_classes, rows)
        return lambda x: getattr(keras_xent, function)(tensor(y_true), x, **options), torch.tensor(logits)

    # ------------------------------------------------------------------------------------------------------- precision

    @pytest.mark.usefixtures("both_ways")
    @pytest.mark.parametrize("num_classes", [2, 7, 3001])
    @pytest.mark.parametrize("scale", [0.01, 1.0, 10.0, 30.0, 1000.0])
    @every_loss
    def test_within_64_epsilon(name, scale, num_classes):
        function, options, y_true, logits = example(name, scale, num_classes)
        losses_of = lambda x: getattr(keras_xent, function)(tensor(y_true), x, **options)  # noqa: E731
        assert_within_64_epsilon(losses_of, function, options, y_true, logits)

    @pytest.mark.usefixtures("both_ways")
    @pytest.mark.parametrize("distance", [0.0, 1e-6, 1e-4, 1e-2])
    def test_a_student_next_to_its_teacher(distance):
        logits, _ = inputs(3.0, 50)
        teacher = np.float32(logits + distance * np.random.default_rng(1).normal(size=logits.shape))
        options = {"targets": "logits", "temperature": 3.0}
        losses, gradient = value_and_gradient(lambda x: keras_xent.distillation_loss(teacher, x, **options), tensor(logits))
        right = reference.distillation_loss(teacher, logits, **options)
        slope = reference.distillation_loss_gradient(teacher, logits, **options)
        assert (losses == 0.0).all() if distance == 0.0 else (np.abs(losses - right) <= 1e-6 * right).all()
        assert (np.abs(gradient - slope) <= 1e-6 * np.abs(slope).max(-1, keepdims=True) + 1e-15).all()

    def test_students_near_and_far_in_one_batch():
        """Each is computed as it would be alone, but for how the last digit of a probability is rounded: rows do not mix."""
        logits, _ = inputs(3.0, 50)
        noise = np.random.default_rng(1).normal(size=logits.shape)
        teacher = np.float32(logits + np.geomspace(1e-6, 3.0, len(logits))[:, None] * noise)
        loss = lambda x, teacher=teacher: keras_xent.distillation_loss(teacher, x, targets="logits", temperature=3.0)  # noqa: E731
        losses, gradient = value_and_gradient(loss, tensor(logits))
        for row in range(len(logits)):
            one = value_and_gradient(lambda x, row=row: loss(x, teacher[row : row + 1]), tensor(logits[row : row + 1]))
            np.testing.assert_allclose(losses[row], one[0][0], rtol=1e-6)
            np.testing.assert_allclose(gradient[row], one[1][0], rtol=1e-6, atol=2.0**-24 / 3.0)
        right = reference.distillation_loss(teacher, logits, targets="logits", temperature=3.0)
        np.testing.assert_allclose(losses, right, rtol=64 * 2.0**-23)
        assert (right < torch_kl.CLOSE).any() and (right > 9.0 * torch_kl.CLOSE).any()

    INFINITE = np.float32([[1.0, -np.inf, 2.0], [-np.inf, -np.inf, 2.0], [0.0, 1.0, 300.0], [0.0, -1e9, 3.0], [1.0, 2.0, 3.0]])

    @pytest.mark.usefixtures("both_ways")
    @pytest.mark.parametrize("name", ["distributions", "focal", "binary", "binary, weighed", "binary focal", "distillation"])
    def test_infinite_logits_and_numbers_next_to_them(name, monkeypatch):
        """What the steps give, and what the definition gives, beside a row of NaN."""
        function, options = LOSSES[name]
        logits = np.concatenate([INFINITE, np.full((1, 3), np.nan, "float32")])
        for y_true in (
            np.eye(3, dtype="float32")[[0, 2, 1, 0, 1, 1]],
            np.float32([[1.0, 0.0, 2.0]] * 6),
            logits[[4, 3, 1, 0, 2, 0]],
        ):
            if function != KL and not ((y_true >= 0.0) & (y_true <= 1.0)).all():
                continue

            def losses(x, y_true=y_true):
                return getattr(keras_xent, function)(tensor(y_true), x, **options)

            with np.errstate(all="ignore"):
                right = getattr(reference, function)(y_true, logits, **options)
            by_kernel, gradient = value_and_gradient(losses, tensor(logits))
            np.testing.assert_allclose(by_kernel, right, rtol=1e-5, atol=FLUSHED)
            with monkeypatch.context() as patch:
                without_kernels(patch)
                by_steps, slope = value_and_gradient(losses, tensor(logits))
            np.testing.assert_allclose(by_kernel, by_steps, rtol=1e-5, atol=FLUSHED)
            usable = np.isfinite(slope).all(-1)
            np.testing.assert_allclose(gradient[usable], slope[usable], rtol=1e-4, atol=1e-6)

    @pytest.mark.usefixtures("both_ways")
    def test_an_unlikely_target_next_to_a_row_of_nan():
        logits = torch.tensor([[np.nan, 0.0, 0.0], [200.0, 0.0, 0.0]])
        losses = keras_xent.sparse_categorical_crossentropy(torch.tensor([0, 1]), logits, from_logits=True)
        assert losses[0].isnan() and losses[1] == 200.0

    @pytest.mark.usefixtures("both_ways")
    @pytest.mark.parametrize("name", ["class ids", "distributions", "focal", "distillation"])
    @pytest.mark.parametrize("place", [0, 1])
    def test_an_infinite_logit_is_no_number(name, place):
        """Of softmax(∞) there is none, whether the class is the target or not."""
        function, options, y_true, logits = example(name, 3.0, 3)
        logits[0, place] = np.inf
        losses, gradient = value_and_gradient(
            lambda x: getattr(keras_xent, function)(tensor(y_true), x, **options), tensor(logits)
        )
        for values in (losses, gradient):
            assert np.isnan(values[0]).all() and np.isfinite(values[1:]).all()

    # ------------------------------------------------------------------------------------------------------ transforms

    def directional(function, x, times):
        """Derivatives of derivatives, forward mode in forward mode."""
        for _ in range(times):
            function = (lambda inner: lambda x: torch.func.jvp(inner, (x,), (torch.cos(x.detach()),))[1])(function)
        return function(x)

    TRANSFORMS = {
        "hessian": torch.func.hessian,
        "forward, forward": lambda f: torch.func.jacfwd(torch.func.jacfwd(f)),
        "backward, backward": lambda f: torch.func.jacrev(torch.func.jacrev(f)),
        "forward, forward, forward": lambda f: lambda x: directional(f, x, 3),
        "forward, forward over a map": lambda f: lambda x: directional(lambda x: torch.func.vmap(f)(x[None]).sum(), x, 2),
        "map of gradients": lambda f: lambda x: torch.func.vmap(torch.func.grad(f))(torch.stack([x, 2.0 * x])),
    }

    @pytest.mark.usefixtures("both_ways")
    @pytest.mark.parametrize("transform", TRANSFORMS)
    @every_loss
    def test_derivatives_are_those_of_the_steps(name, transform, monkeypatch):
        losses, logits = compute(name, 1.0, 3, 4)
        derivative = TRANSFORMS[transform](lambda x: (losses(x) ** 2).sum())
        by_kernel = derivative(logits)
        without_kernels(monkeypatch)
        torch.testing.assert_close(by_kernel, derivative(logits), rtol=1e-4, atol=1e-4)

    @pytest.mark.usefixtures("both_ways")
    @every_loss
    def test_many_gradients_at_once(name):
        losses, logits = compute(name)
        leaf = logits.requires_grad_()
        (rows,) = torch.autograd.grad(losses(leaf), leaf, torch.eye(8), is_grads_batched=True)
        (gradient,) = torch.autograd.grad(losses(leaf).sum(), leaf)
        torch.testing.assert_close(rows.sum(0), gradient, rtol=1e-5, atol=1e-6)

    @pytest.mark.usefixtures("both_ways")
    @every_loss
    def test_a_gradient_that_is_asked_for_twice(name):
        """The first is scaled in place; those after it are the same, and a gradient that is kept is not written over."""
        function, logits = compute(name)
        losses = function(logits.requires_grad_())
        first, second = (torch.autograd.grad(losses.sum(), logits, retain_graph=True)[0] for _ in range(2))
        kept = first.clone()
        (third,) = torch.autograd.grad(2.0 * losses.sum(), logits)
        assert torch.equal(first, kept) and torch.equal(first, second)
        torch.testing.assert_close(2.0 * first, third, rtol=1e-6, atol=1e-6)

    @pytest.mark.usefixtures("both_ways")
    @every_loss
    def test_gradients_add_up(name):
        """Of two losses of the same logits, and of two backward passes into the same leaf."""
        function, logits = compute(name)
        leaf, once = (logits.clone().requires_grad_() for _ in range(2))
        (function(leaf).sum() + 2.0 * function(leaf).sum()).backward()
        function(leaf).sum().backward()
        function(once).sum().backward()
        torch.testing.assert_close(leaf.grad, 4.0 * once.grad, rtol=1e-6, atol=1e-6)

    @pytest.mark.usefixtures("both_ways")
    @pytest.mark.parametrize("name", ["distributions", "focal", "binary", "binary focal"])
    def test_gradients_by_targets(name, monkeypatch):
        function, options, y_true, logits = example(name, 3.0, 5)

        def gradient():
            leaf = torch.tensor(y_true, requires_grad=True)
            return torch.autograd.grad(getattr(keras_xent, function)(leaf, tensor(logits), **options).sum(), leaf)[0]

        by_kernel = gradient()
        without_kernels(monkeypatch)
        torch.testing.assert_close(by_kernel, gradient(), rtol=1e-5, atol=1e-6)

    # ------------------------------------------------------------------------------------------------- rows and memory

    @pytest.mark.parametrize("rows", [0, 1, 3, 4, 11])
    @pytest.mark.parametrize("with_gradient", [True, False])
    @every_loss
    def test_blocks_change_nothing(name, rows, with_gradient, monkeypatch):
        function, logits = compute(name, rows=rows + 1)
        logits = logits.requires_grad_(with_gradient)
        results = []
        for block in (2**22, 20):  # all rows, and four of them
            monkeypatch.setattr(torch_blocks, "BLOCK", block)
            losses = function(logits)
            assert losses.requires_grad == with_gradient
            results.append([losses.detach(), *(torch.autograd.grad(losses.sum(), logits) if with_gradient else ())])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=0.0)

    def test_what_a_block_is():
        assert torch_blocks.blocks(torch.zeros(6, 5), 20) == [slice(0, 4), slice(4, 6)]
        assert torch_blocks.blocks(torch.zeros(0, 5), 20) == []

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    @pytest.mark.parametrize("name", ["class ids", "distributions", "focal", "binary", "binary focal", "distillation"])
    def test_nothing_else_is_as_large_as_the_gradient(name, dtype, monkeypatch):
        """What is allocated, added up: the gradient, and little beside it."""
        monkeypatch.setattr(torch_blocks, "BLOCK", 2**14)
        function, options, y_true, logits = example(name, 3.0, 1000, 1000)
        floats = getattr(torch, dtype)
        logits = torch.tensor(logits).to(floats).requires_grad_()
        y_true = torch.tensor(y_true)
        y_true = y_true.to(floats) if function == KL else y_true
        losses = lambda: getattr(keras_xent, function)(y_true, logits, **options)  # noqa: E731
        losses().sum().backward()
        logits.grad = None
        with torch.profiler.profile(profile_memory=True) as profile:
            losses().sum().backward()
        assert logits.grad.dtype == floats
        allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages())
        weighed_targets = 4 * logits.numel() * (name == "focal")  # by alpha, in a step of its own
        assert allocated - weighed_targets - logits.nbytes < 2 * logits.numel()

    @pytest.mark.usefixtures("both_ways")
    def test_what_is_kept_for_a_gradient():
        """Nothing in a cycle, which would live on until it is collected."""
        import gc
        import weakref

        function, logits = compute("binary focal, gamma 0.5")
        gc.collect()
        gc.disable()
        try:
            logits = logits.clone().requires_grad_()
            seen = weakref.ref(logits)
            function(logits).sum().backward()
            del logits
            assert seen() is None
        finally:
            gc.enable()

    @pytest.mark.usefixtures("both_ways")
    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    @every_loss
    def test_half_precision_is_rounded_once(name, dtype, monkeypatch):
        """Loss and gradient as by the steps, which compute in float32."""
        function, options, y_true, logits = example(name, 3.0, 7)

        def losses(x):
            return getattr(keras_xent, function)(tensor(y_true), x, **options)

        x = torch.tensor(logits).to(getattr(torch, dtype))
        by_kernel = value_and_gradient(losses, x)
        without_kernels(monkeypatch)
        step = 2.0**-7 if dtype == "bfloat16" else 2.0**-10
        for one, other in zip(by_kernel, value_and_gradient(losses, x), strict=True):
            np.testing.assert_allclose(one, other, rtol=1.01 * step, atol=1e-7)

    # ------------------------------------------------------------------------------------------------ what is served

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

    @every_loss
    def test_a_program_that_is_traced(name):
        """It computes the losses of other logits, not those of the ones that it was traced with."""
        losses, logits = compute(name)
        traced = torch.fx.experimental.proxy_tensor.make_fx(losses)(logits)
        torch.testing.assert_close(traced(0.5 * logits), losses(0.5 * logits), rtol=1e-5, atol=1e-6)

    def test_temperatures_that_are_known():
        known = torch.tensor(3.0)
        assert torch_kl.is_known(3.0) and torch_kl.is_known(known) and not torch_kl.is_known(known.clone().requires_grad_())
        with forward_ad.dual_level():
            assert not torch_kl.is_known(forward_ad.make_dual(known, torch.ones(())))
        seen = []
        torch.func.vmap(lambda temperature: seen.append(torch_kl.is_known(temperature)) or temperature)(torch.ones(3))
        assert seen == [False]

    @pytest.mark.usefixtures("both_ways")
    @pytest.mark.parametrize(
        ("axis", "served"), [(2, True), (None, True), ((0, 2), True), (1, False), ((), False), ((0, 1), False)]
    )
    def test_axes_of_a_mean(axis, served, monkeypatch):
        logits, _ = inputs(3.0, 6, 8)
        logits = logits.reshape(2, 4, 6)
        y_true = np.float32(logits > 1.0)
        assert averages_rows({"axis": axis, "logits": torch.tensor(logits)}) == served
        options = {"from_logits": True, "axis": axis}
        for function in (BINARY, BINARY_FOCAL):
            for weights in ({}, {"pos_weight": [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]}):

                def losses(x, function=function, weights=weights):
                    return getattr(keras_xent, function)(tensor(y_true), x, **options, **weights)

                by_kernel = value_and_gradient(losses, tensor(logits))
                with monkeypatch.context() as patch:
                    without_kernels(patch)
                    by_steps = value_and_gradient(losses, tensor(logits))
                for one, other in zip(by_kernel, by_steps, strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)

    @pytest.mark.usefixtures("both_ways")
    def test_memory_that_is_not_contiguous():
        """And leading axes, and none."""
        for name in LOSSES:
            function, options, y_true, logits = example(name, 3.0, 6, 12)
            call = getattr(keras_xent, function)
            logits, y_true = torch.tensor(logits), torch.tensor(y_true)
            expected = call(y_true, logits, **options)
            tail = (6,) if y_true.ndim == 2 else ()
            reshaped = call(y_true.reshape(2, 2, 3, *tail), logits.reshape(2, 2, 3, 6), **options)
            torch.testing.assert_close(reshaped.flatten(), expected)
            torch.testing.assert_close(call(y_true, logits.T.contiguous().T, **options), expected)
            torch.testing.assert_close(call(y_true[0], logits[0], **options), expected[0])

    @every_loss
    def test_few_numbers_are_left_to_numpy(name, monkeypatch):
        """In eager code, also where they have the sign bit that PyTorch keeps apart; a compiled program has its own way."""
        seen = []
        monkeypatch.setattr(numpy_rows, "A_FEW", 2**13)
        monkeypatch.setattr(torch_rows.RowLosses, "by_numpy", spied(torch_rows.RowLosses.by_numpy, seen))
        function, options, y_true, logits = example(name, 3.0, 7)
        losses = getattr(keras_xent, function)(torch.tensor(y_true), torch.tensor(logits), **options)
        assert len(seen) == 1
        negated = torch.complex(torch.zeros(logits.shape), -torch.tensor(logits)).conj().imag
        assert negated.is_neg()
        torch.testing.assert_close(getattr(keras_xent, function)(torch.tensor(y_true), negated, **options), losses)
        rows = 2**13 // 7 + 1
        function, options, y_true, logits = example(name, 3.0, 7, rows)
        seen.clear()
        getattr(keras_xent, function)(torch.tensor(y_true), torch.tensor(logits), **options)
        assert not seen

    def spied(function, seen):
        def spy(*arguments):
            seen.append(arguments)
            return function(*arguments)

        return spy

"""The kernels inside `torch.compile`: they are part of compiled programs, which compute what is computed without."""

import dataclasses
import pathlib
import shutil

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import reference

from .backends import BACKEND, tensor
from .cases import LOSS_CLASSES
from .test_kernels import check_leaders, leaders
from .test_kernels_torch import assert_within_64_epsilon, every_loss, example, inputs, without_kernels

if BACKEND == "torch":
    import torch
    from torch._dynamo.backends.common import aot_autograd
    from torch._dynamo.utils import counters
    from torch._functorch.aot_autograd import make_boxed_func
    from torch.autograd import forward_ad

    from keras_xent._kernels import (
        torch_binary,
        torch_binary_focal,
        torch_compiled,
        torch_dense,
        torch_focal,
        torch_kl,
        torch_sparse,
        torch_traced,
    )

    MODULES = torch_binary, torch_binary_focal, torch_dense, torch_focal, torch_kl, torch_sparse

    @pytest.fixture(params=["called", "formula"])
    def way(request, monkeypatch):
        """Compiled programs call a kernel, as they do that of distillation where there are many logits, or have its formula."""
        monkeypatch.setattr(torch_kl, "A_FEW", 1)  # work that is called does what it does with many
        if request.param == "called":
            for module in MODULES:
                monkeypatch.setattr(module, "FORMULA", dataclasses.replace(module.FORMULA, called_from=0))
        return request.param

    def compiled(function, dynamic=None):
        """As one program, and the list of what a compiler has made of it: forward, and backward when that is asked for."""
        programs = []

        def keep(program, inputs):
            programs.append(str(program.graph))
            return make_boxed_func(program.forward)

        torch._dynamo.reset()
        return torch.compile(function, backend=aot_autograd(fw_compiler=keep), fullgraph=True, dynamic=dynamic), programs

    def loss_of(function, options):
        """Not reduced."""
        return LOSS_CLASSES[function](**options, reduction="none")

    def losses_and_gradient(function, y_true, logits):
        leaf = logits.clone().requires_grad_()
        losses = function(y_true, leaf)
        (gradient,) = torch.autograd.grad(losses, leaf, torch.linspace(0.5, 2.0, losses.numel()).reshape(losses.shape))
        return losses.detach(), gradient

    NAMES = ["class ids", "distributions", "focal", "binary", "binary, weighed", "binary focal, gamma 0.5", "distillation"]

    @pytest.mark.parametrize("name", NAMES)
    def test_compiled_programs_have_kernels(name, way):
        """Also for batches of another size, and for rows with two leading axes."""
        function, options, y_true, logits = example(name, 3.0, 5, rows=8)
        loss = loss_of(function, options)
        program, graphs = compiled(loss, dynamic=True)
        for rows in (8, 6):
            given = tensor(y_true[:rows]), tensor(logits[:rows])
            for one, other in zip(losses_and_gradient(program, *given), losses_and_gradient(loss, *given), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
        calls = [graph.count("keras_xent.row") for graph in graphs]
        assert calls == [int(way == "called"), 0] * (len(calls) // 2)  # forward, backward; both again if compiled anew
        shaped = tensor(y_true).reshape(2, 4, *y_true.shape[1:]), tensor(logits).reshape(2, 4, 5)
        torch.testing.assert_close(program(*shaped), loss(*shaped), rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize("scale", [0.01, 3.0, 30.0, 1000.0])
    @every_loss
    def test_programs_are_within_64_epsilon(name, scale, way):
        function, options, y_true, logits = example(name, scale, 7)
        targets = tensor(y_true)
        program, _ = compiled(lambda x: getattr(keras_xent, function)(targets, x, **options))
        assert_within_64_epsilon(program, function, options, y_true, logits)

    @pytest.mark.parametrize("name", ["distributions", "focal", "binary", "binary, weighed", "binary focal", "distillation"])
    def test_formulas_at_infinite_logits(name):
        """What is computed without a compiler, and NaN for rows of NaN alone."""
        function, options, _, _ = example(name, 3.0, 3)
        program, _ = compiled(lambda y_true, x: getattr(keras_xent, function)(y_true, x, **options))
        logits = torch.tensor([[1.0, -np.inf, 2.0], [-np.inf, -np.inf, 2.0], [0.0, -1e9, 3.0], [1.0, np.nan, 0.0]])
        y_true = torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
        if function == "distillation_loss":
            y_true = y_true.log()
        for both in ((y_true, logits), (y_true.flip(0), logits)):
            expected = getattr(keras_xent, function)(*both, **options)
            torch.testing.assert_close(program(*both), expected, rtol=1e-6, atol=1e-30, equal_nan=True)

    @pytest.mark.parametrize("depth", [1e2, 1e4, 1e9, 1e30])
    def test_a_student_that_all_but_rules_a_class_out(depth):
        """What that costs is no part of the other classes' gradients."""
        teacher, student = np.float32([[0.0, 0.2, 0.1, -0.3]]), np.float32([[0.1, 0.0, -depth, 0.2]])
        program, _ = compiled(loss_of("distillation_loss", {"targets": "logits", "temperature": 1.0}))
        _, gradient = losses_and_gradient(program, tensor(teacher), tensor(student))
        slope = reference.distillation_loss_gradient(teacher, student, targets="logits", temperature=1.0)
        assert (np.abs(gradient.numpy() / 0.5 - slope) <= 4.0 * 2.0**-23).all()

    @pytest.mark.parametrize("name", NAMES)
    def test_functions_whose_arguments_are_symbols(name):
        """As numbers are in a program that is compiled for any: their ranges are checked in it."""
        function, options, y_true, logits = example(name, 3.0, 5)
        loss = lambda y_true, logits: getattr(keras_xent, function)(y_true, logits, **options)  # noqa: E731
        program, _ = compiled(loss, dynamic=True)
        for one, other in zip(*(losses_and_gradient(f, tensor(y_true), tensor(logits)) for f in (program, loss)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)

    def test_programs_on_disk_are_of_these_formulas(tmp_path):
        """PyTorch's key to them is the graph, which names the version of the kernels' sources."""
        graphs = []

        def keep(graph, inputs):
            graphs.append(str(graph.graph))
            return graph

        torch._dynamo.reset()
        _, _, y_true, logits = example("distributions", 3.0, 5)
        torch.compile(keras_xent.CategoricalCrossentropy(True), backend=keep, fullgraph=True)(tensor(y_true), tensor(logits))
        assert torch_traced.SOURCES in graphs[0]
        folder = pathlib.Path(torch_traced.__file__).parent
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        assert torch_traced.fingerprint(tmp_path) == torch_traced.SOURCES
        for name in ("torch_dense.py", "probs_answers.py"):
            before = torch_traced.fingerprint(tmp_path)
            (tmp_path / name).write_text("# another version\n")
            assert torch_traced.fingerprint(tmp_path) != before

    def test_many_logits_are_worth_a_call(monkeypatch):
        """Its gradient is made beside the losses."""
        monkeypatch.setattr(torch_kl, "FORMULA", dataclasses.replace(torch_kl.FORMULA, called_from=45))
        function, options, y_true, logits = example("distillation", 3.0, 5, rows=9)
        loss = loss_of(function, options)
        for rows, called in ((8, 0), (9, 1)):
            program, graphs = compiled(loss)
            given = tensor(y_true[:rows]), tensor(logits[:rows])
            for one, other in zip(losses_and_gradient(program, *given), losses_and_gradient(loss, *given), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
            assert [graph.count("keras_xent.row_losses_and_gradient") for graph in graphs] == [called, 0]

    @pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
    def test_temperatures_that_change_are_compiled_once(backend, way):
        """The first is a constant of its program; the next program is for any."""
        _, _, y_true, logits = example("distillation", 3.0, 5)
        torch._dynamo.reset()
        counters.clear()
        program = torch.compile(keras_xent.distillation_loss, backend=backend, fullgraph=True)
        for temperature in (2.0, 3.0, 4.0, 1.5, 1.0, 10.0):
            given = {"targets": "logits", "temperature": temperature}
            loss, right = (lambda t, x, f=f, given=given: f(t, x, **given) for f in (program, keras_xent.distillation_loss))
            for one, other in zip(*(losses_and_gradient(f, tensor(y_true), tensor(logits)) for f in (loss, right)), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        assert counters["stats"]["unique_graphs"] == 2

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("distance", [0.0, 1e-5, 1e-3, 0.1, 1.0])
    def test_a_student_next_to_its_teacher_by_formula(distance, dtype):
        """An error is that of a probability, not of the loss, which is about its square: both are far below those."""
        logits, _ = inputs(3.0, 50)
        teacher = np.float32(logits + distance * np.random.default_rng(1).normal(size=logits.shape))
        options = {"targets": "logits", "temperature": 3.0}
        program, _ = compiled(loss_of("distillation_loss", options | {"dtype": dtype}))
        leaf = tensor(logits).to(getattr(torch, dtype)).requires_grad_()
        losses = program(tensor(teacher).to(leaf.dtype), leaf)
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        right = reference.distillation_loss(teacher, logits, **options)
        slope = reference.distillation_loss_gradient(teacher, logits, **options)
        epsilon = torch.finfo(leaf.dtype).eps
        assert (np.abs(losses.detach().numpy() - right) <= 8.0 * epsilon * (np.sqrt(right) + right)).all()
        assert (np.abs(gradient.numpy() - slope) <= epsilon).all()

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
    def test_dtypes(dtype, name, way):
        function, options, y_true, logits = example(name, 3.0, 5)
        given = tensor(y_true), tensor(logits).to(getattr(torch, dtype)).T.contiguous().T
        loss = loss_of(function, options | {"dtype": dtype})
        program, graphs = compiled(loss)
        for one, other in zip(losses_and_gradient(program, *given), losses_and_gradient(loss, *given), strict=True):
            assert one.dtype == other.dtype == getattr(torch, dtype)
            torch.testing.assert_close(one, other)
        assert ("keras_xent.row_losses" in graphs[0]) == (way == "called")

    def test_what_pytorch_asks_of_operators():
        """That they do what their signatures say, their shapes and gradients included."""
        _, _, y_true, logits = example("distributions", 3.0, 5)
        given = "", tensor(logits).requires_grad_(), tensor(y_true)
        dense = "keras_xent._kernels.torch_dense:FORMULA", *given, [], None
        kl = "keras_xent._kernels.torch_kl:FORMULA", *given, [], torch.tensor(3.0, dtype=torch.float64)
        focal = "keras_xent._kernels.torch_focal:FORMULA", *given, [1.5], None
        for losses in (dense, focal):
            torch.library.opcheck(torch_compiled.row_losses, losses)
        torch.library.opcheck(torch_compiled.row_gradients, (*dense, torch.ones(8).requires_grad_()))
        torch.library.opcheck(torch_compiled.row_losses_and_gradient, kl)

    @pytest.mark.parametrize("name", NAMES)
    def test_further_derivatives_where_they_are_not_compiled(name, way):
        """What runs PyTorch's graph as it is has second and third derivatives, and forward mode."""
        function, options, y_true, logits = example(name, 1.0, 5)
        y_true, logits, loss = tensor(y_true), tensor(logits), loss_of(function, options)
        other = torch.linspace(-1.0, 1.0, logits.numel()).reshape(logits.shape)
        torch._dynamo.reset()
        program = torch.compile(loss, backend="eager", fullgraph=True)

        def derivatives(loss):
            leaf = logits.clone().requires_grad_()
            value = loss(y_true, leaf).square().sum()  # the second derivative has more parts than the losses' own
            for _ in range(3):
                (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
                yield gradient.detach()
                value = (gradient * other).sum()
            with forward_ad.dual_level():
                yield forward_ad.unpack_dual(loss(y_true, forward_ad.make_dual(logits, other))).tangent

        for one, right in zip([*derivatives(program)], [*derivatives(loss)], strict=True):
            torch.testing.assert_close(one, right, rtol=1e-5, atol=1e-4 * right.abs().max().item())

    @leaders
    def test_a_compiled_leader_of_soft_targets(share, num_classes):
        program, _ = compiled(loss_of("categorical_crossentropy", {"from_logits": True}))

        def gradient(targets, logits):
            leaf = tensor(logits).requires_grad_()
            return torch.autograd.grad(program(tensor(targets), leaf).sum(), leaf)[0].numpy()

        check_leaders(share, num_classes, gradient)

    @pytest.mark.parametrize("name", ["focal", "distillation"])
    def test_a_number_of_a_loss_that_is_used_twice(name):
        """In a program for any numbers."""
        function, options, y_true, logits = example(name, 1.0, 5)
        targets, logits, loss = tensor(y_true), tensor(logits), loss_of(function, options)

        def both(x):
            return loss(targets, x).sum() + loss(targets, 2.0 * x).sum()

        program, _ = compiled(both, dynamic=True)
        torch.testing.assert_close(program(logits), both(logits))

    def test_a_temperature_that_changes():
        """Two programs at most: one for the first temperature, one for any."""
        _, _, y_true, logits = example("distillation", 1.0, 5)
        teacher, logits = tensor(y_true), tensor(logits)
        loss = lambda x, by: keras_xent.distillation_loss(teacher, x, temperature=by, targets="logits")  # noqa: E731
        program, graphs = compiled(loss)
        for temperature in np.linspace(1.5, 4.0, 9).tolist():
            torch.testing.assert_close(program(logits, temperature), loss(logits, temperature))
        assert len(graphs) <= 2

    def test_second_derivatives_at_zero_and_infinity():
        """Where what is smooth has corners in floating point."""
        targets = torch.tensor([[1.0, 0.3, 0.0, 1.0]])
        loss = lambda x: keras_xent.binary_focal_crossentropy(targets, x, from_logits=True)  # noqa: E731

        def second(loss):
            leaf = torch.tensor([[0.0, -np.inf, 0.0, -np.inf]], requires_grad=True)
            (gradient,) = torch.autograd.grad(loss(leaf).sum(), leaf, create_graph=True)
            return torch.autograd.grad(gradient.sum(), leaf)[0]

        torch._dynamo.reset()
        torch.testing.assert_close(second(torch.compile(loss, backend="eager", fullgraph=True)), second(loss))

    @pytest.mark.parametrize("name", ["distributions", "binary focal"])
    def test_gradients_by_targets_are_those_of_the_steps(name, monkeypatch):
        function, options, y_true, logits = example(name, 3.0, 5)
        loss = loss_of(function, options)

        def gradients(loss):
            both = tensor(y_true).requires_grad_(), tensor(logits).requires_grad_()
            return torch.autograd.grad(loss(*both).sum(), both)

        program, _ = compiled(loss)
        by_program = gradients(program)
        without_kernels(monkeypatch)
        torch.testing.assert_close(by_program, gradients(loss), rtol=1e-5, atol=1e-6)

    def test_a_teacher_that_is_trained_beside_its_student():
        """It learns from its own loss, and nothing from the student's."""
        labels, teacher, student = torch.tensor([0, 2]), torch.randn(2, 3), torch.randn(2, 3)

        def loss(teacher, student):
            soft = keras_xent.DistillationLoss(targets="logits")(2.0 * teacher, student)
            return soft + keras_xent.SparseCategoricalCrossentropy(True)(labels, teacher)

        program, graphs = compiled(loss)
        results = []
        for function in (program, loss):
            both = teacher.clone().requires_grad_(), student.clone().requires_grad_()
            results.append(torch.autograd.grad(function(*both), both))
        torch.testing.assert_close(*results)
        assert "keras_xent" not in graphs[0] + graphs[1]

    TRANSFORMS = {
        "gradient": torch.func.grad,
        "forward": lambda f: lambda x: torch.func.jvp(f, (x,), (torch.cos(x),))[1],
        "map": lambda f: lambda x: torch.func.vmap(f)(torch.stack([x, 2.0 * x])),
        "hessian": torch.func.hessian,
    }

    @pytest.mark.parametrize("transform", TRANSFORMS)
    def test_transforms_inside_a_program_take_the_steps(transform):
        function, options, y_true, logits = example("distributions", 1.0, 3, 4)
        y_true, logits, loss = tensor(y_true), tensor(logits), loss_of(function, options)
        derivative = TRANSFORMS[transform](lambda x: loss(y_true, x).sum())
        program, _ = compiled(derivative)
        torch.testing.assert_close(program(logits), derivative(logits), rtol=1e-4, atol=1e-5)

    def test_a_program_for_others_is_made_of_their_own_operators():
        class Loss(torch.nn.Module):
            def forward(self, y_true, x):
                return keras_xent.sparse_categorical_crossentropy(y_true, x, from_logits=True)

        exported = torch.export.export(Loss(), (torch.tensor([0, 2]), torch.randn(2, 3)))
        assert "keras_xent" not in str(exported.graph)

    def test_fit_with_a_compiled_step():
        """Keras's own way: `jit_compile=True` trains the same weights."""
        rng = np.random.default_rng(0)
        x, labels = rng.normal(size=(16, 4)).astype("float32"), rng.integers(0, 3, 16)
        trained = []
        for jit_compile in (False, True):
            torch._dynamo.reset()
            keras.utils.set_random_seed(0)
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
            model.compile("sgd", keras_xent.SparseCategoricalCrossentropy(from_logits=True), jit_compile=jit_compile)
            history = model.fit(x, labels, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]
            trained.append([np.asarray(history), *model.get_weights()])
        for one, other in zip(*trained, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

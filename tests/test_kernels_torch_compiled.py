"""The kernels inside `torch.compile`: compiled programs call them, and compute what is computed without."""

import keras
import numpy as np
import pytest

import keras_xent

from .backends import BACKEND, tensor
from .cases import LOSS_CLASSES
from .test_kernels_torch import example, without_kernels

if BACKEND == "torch":
    import torch

    from keras_xent._kernels import torch_rows
    from keras_xent._kernels.torch_compiled import row_losses, row_losses_and_gradient

    @pytest.fixture(autouse=True)
    def few_are_enough(monkeypatch):
        """As kernels are called from where there are many logits."""
        monkeypatch.setattr(torch_rows, "A_FEW", 1)

    def compiled(function, dynamic=None):
        """As one program, and the list of the programs that it has become."""
        programs = []

        def backend(program, inputs):
            programs.append(str(program.graph))
            return torch._dynamo.lookup_backend("aot_eager")(program, inputs)

        torch._dynamo.reset()
        return torch.compile(function, backend=backend, fullgraph=True, dynamic=dynamic), programs

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
    def test_compiled_programs_call_kernels(name):
        """Also for batches of another size, and for rows with two leading axes."""
        function, options, y_true, logits = example(name, 3.0, 5, rows=8)
        loss = loss_of(function, options)
        program, graphs = compiled(loss, dynamic=True)
        for rows in (8, 6):
            given = tensor(y_true[:rows]), tensor(logits[:rows])
            for one, other in zip(losses_and_gradient(program, *given), losses_and_gradient(loss, *given), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
        shaped = tensor(y_true).reshape(2, 4, *y_true.shape[1:]), tensor(logits).reshape(2, 4, 5)
        torch.testing.assert_close(program(*shaped), loss(*shaped), rtol=1e-6, atol=1e-7)
        assert all(graph.count("keras_xent.row_losses") == 1 for graph in graphs)

    @pytest.mark.parametrize("name", NAMES)
    def test_functions_whose_arguments_are_symbols(name):
        """As numbers are in a program that is compiled for any: their ranges are checked in it."""
        function, options, y_true, logits = example(name, 3.0, 5)
        loss = lambda y_true, logits: getattr(keras_xent, function)(y_true, logits, **options)  # noqa: E731
        program, _ = compiled(loss, dynamic=True)
        for one, other in zip(*(losses_and_gradient(f, tensor(y_true), tensor(logits)) for f in (program, loss)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)

    def test_a_few_logits_are_not_worth_a_call(monkeypatch):
        monkeypatch.setattr(torch_rows, "A_FEW", 41)
        function, options, y_true, logits = example("class ids", 3.0, 5, rows=9)
        loss = loss_of(function, options)
        for rows, called in ((8, 0), (9, 1)):
            program, graphs = compiled(loss)
            given = tensor(y_true[:rows]), tensor(logits[:rows])
            for one, other in zip(losses_and_gradient(program, *given), losses_and_gradient(loss, *given), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
            assert [graph.count("keras_xent.row_losses") for graph in graphs] == [called]

    @pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
    def test_dtypes(dtype):
        function, options, y_true, logits = example("class ids", 3.0, 5)
        given = tensor(y_true), tensor(logits).to(getattr(torch, dtype)).T.contiguous().T
        loss = loss_of(function, options | {"dtype": dtype})
        program, graphs = compiled(loss)
        for one, other in zip(losses_and_gradient(program, *given), losses_and_gradient(loss, *given), strict=True):
            assert one.dtype == other.dtype == getattr(torch, dtype)
            torch.testing.assert_close(one, other)
        assert "row_losses" in graphs[0]

    def test_what_pytorch_asks_of_an_operator():
        """That it does what its signature says, its shapes and gradients included."""
        _, _, y_true, logits = example("distributions", 3.0, 5)
        given = tensor(logits).requires_grad_(), tensor(y_true)
        torch.library.opcheck(row_losses, ("keras_xent._kernels.torch_dense", *given, [], None))
        torch.library.opcheck(row_losses_and_gradient, ("keras_xent._kernels.torch_kl", *given, [3.0], None))

    @pytest.mark.parametrize("name", ["distributions", "binary focal"])
    def test_gradients_by_targets_are_those_of_the_steps(name, monkeypatch):
        function, options, y_true, logits = example(name, 3.0, 5)
        loss = loss_of(function, options)

        def gradients(loss):
            both = tensor(y_true).requires_grad_(), tensor(logits).requires_grad_()
            return torch.autograd.grad(loss(*both).sum(), both)

        program, graphs = compiled(loss)
        by_program = gradients(program)
        assert "row_losses" not in graphs[0]
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
        assert graphs[0].count("keras_xent.row_losses") == 2

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

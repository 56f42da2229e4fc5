"""Kernels on JAX: all derivatives are those of the steps, nothing large is made on the way, no sharded logits are gathered."""

import subprocess
import sys

import numpy as np
import pytest

import keras_xent
from keras_xent import _kernels, reference

from .backends import BACKEND
from .cases import one_hot
from .kernels import taken

KERNELS = ("BINARY", "BINARY_FOCAL", "DENSE", "FOCAL", "KL", "SPARSE")

if BACKEND == "jax":
    import jax
    from jax import numpy as jnp

    from keras_xent._kernels import jax_rows

    RNG = np.random.default_rng(0)
    LOGITS = np.float32(2.0 * RNG.normal(size=(6, 5)))
    LOGITS[5] = 0.0
    LABELS = np.where(np.arange(6) % 2, LOGITS.argmax(-1), LOGITS.argmin(-1))
    SOFT = np.float32(RNG.uniform(size=LOGITS.shape) * (RNG.uniform(size=LOGITS.shape) < 0.5))
    OTHER = np.float32(RNG.normal(size=LOGITS.shape))
    LOSSES = {
        "sparse": ("SPARSE", keras_xent.SparseCategoricalCrossentropy(True), LABELS),
        "sparse, focal": ("SPARSE", keras_xent.SparseCategoricalFocalCrossentropy(gamma=1.5, from_logits=True), LABELS),
        "dense": ("DENSE", keras_xent.CategoricalCrossentropy(True), SOFT),
        "dense, hard": ("DENSE", keras_xent.CategoricalCrossentropy(True), np.float32(one_hot(LABELS, 5))),
        "focal": ("FOCAL", keras_xent.CategoricalFocalCrossentropy(gamma=1.5, from_logits=True), SOFT),
        "focal, squared": ("FOCAL", keras_xent.CategoricalFocalCrossentropy(from_logits=True), np.float32(one_hot(LABELS, 5))),
        "binary": ("BINARY", keras_xent.BinaryCrossentropy(True, pos_weight=[1.0, 2.0, 0.5, 1.0, 3.0]), SOFT),
        "divergence": ("KL", keras_xent.DistillationLoss(3.0, targets="logits"), OTHER),
        "divergence, close": ("KL", keras_xent.DistillationLoss(3.0, targets="logits"), LOGITS + np.float32(0.1) * OTHER),
        "divergence, both sure": ("KL", keras_xent.DistillationLoss(0.1, targets="logits"), LOGITS + np.float32(0.1) * OTHER),
        "binary, focal": ("BINARY_FOCAL", keras_xent.BinaryFocalCrossentropy(gamma=0.5, from_logits=True), SOFT),
    }
    every_loss = pytest.mark.parametrize("name", LOSSES)

    def derivatives(loss, y_true):
        """What is differentiated by the logits, the targets and the temperature, forward and backward, once and again."""

        def f(z, t=y_true):
            return loss(t, z)

        z, along = jnp.asarray(LOGITS), jnp.asarray(OTHER)
        yield "value and gradient", jax.value_and_grad(f)(z)
        yield "forward", jax.jvp(f, (z,), (along,))
        yield "hessian", jax.hessian(f)(z)
        yield "gradient of a gradient", jax.grad(lambda z: jnp.sum(jax.grad(f)(z) * along))(z)
        yield "forward over value and gradient", jax.jvp(jax.value_and_grad(f), (z,), (along,))
        yield "mapped", jax.vmap(jax.grad(f))(jnp.stack([z, along]))
        if "temperature" in loss.get_config():
            yield "temperature", jax.value_and_grad(lambda temperature: loss._with(temperature=temperature)(y_true, z))(2.0)
        if jnp.issubdtype(y_true.dtype, jnp.floating):
            yield "targets", jax.value_and_grad(f, argnums=1)(z, y_true)
            yield "targets, then logits", jax.jacfwd(jax.grad(f, argnums=1))(z, y_true)
            yield "logits, then targets", jax.jacfwd(jax.grad(f), argnums=1)(z, y_true)
            yield "mapped over targets", jax.vmap(f, (None, 0))(z, jnp.stack([y_true, 0.5 * y_true]))

    @every_loss
    def test_every_derivative_is_that_of_the_steps(name, monkeypatch):
        kernel, loss, y_true = LOSSES[name]
        assert taken(kernel, lambda: loss(y_true, jnp.asarray(LOGITS)), monkeypatch) == 1
        results = [*derivatives(loss, y_true)]
        monkeypatch.setattr(_kernels, kernel, None)
        for (what, actual), (_, expected) in zip(results, derivatives(loss, y_true), strict=True):
            for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
                assert np.abs(one - other).max() <= 1e-5 * max(np.abs(other).max(), 1e-3), what

    def test_a_temperature_whose_teacher_rules_a_class_out():
        """The student's part of that class counts, in the slope by the temperature, too."""
        student, loss = np.float32([[0.0, 1.0, 0.5]]), keras_xent.DistillationLoss(2.0, targets="logits")

        def slope(teacher):
            return jax.grad(lambda temperature: loss._with(temperature=temperature)(np.float32(teacher), student))(2.0)

        f = lambda t: reference.distillation_loss([[1.0, 0.0, -np.inf]], student, targets="logits", temperature=t).mean()  # noqa: E731
        np.testing.assert_allclose(slope([[1.0, 0.0, -np.inf]]), (f(2.0 + 1e-4) - f(2.0 - 1e-4)) / 2e-4, rtol=1e-5)
        np.testing.assert_allclose(slope([[1.0, 0.0, -1e30]]), slope([[1.0, 0.0, -np.inf]]), rtol=1e-6)

    # ---------------------------------------------------------------------------------------------------------- memory

    ROWS, CLASSES = 48, 3000

    def large(name, dtype):
        """A kernel's loss of logits, as large as they are here, and what else it is of."""
        rng = np.random.default_rng(0)
        logits = jnp.asarray(rng.normal(size=(ROWS, CLASSES)), dtype)
        shares = jnp.asarray(rng.uniform(size=(ROWS, CLASSES)), "float32")
        others = {
            "SPARSE": {"labels": jnp.zeros(ROWS, "int32")},
            "FOCAL": {"targets": shares, "gamma": 2.0},
            "BINARY": {"targets": shares, "pos_weight": jnp.float32(1.0)},
            "BINARY_FOCAL": {"targets": shares, "pos_weight": jnp.float32(1.0), "gamma": 1.5},
            "DENSE": {"targets": shares},
            "KL": {"soft_targets": shares, "temperature": jnp.float32(2.0)},
        }[name]
        static = {"gamma": others.pop("gamma")} if "gamma" in others else {}

        by_logits = "soft_logits" if name == "KL" else "logits"

        def mean(logits, others):
            return jnp.mean(getattr(_kernels, name).function(**{by_logits: logits}, **others, **static))

        return mean, logits, others

    def temporaries(function, *arguments):
        return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize("name", KERNELS)
    def test_nothing_else_is_as_large_as_the_gradient(name, dtype):
        """Nothing of the logits' shape is written but their gradient, bfloat16 not widened in memory (float16 is: XLA's CPU)."""
        mean, logits, others = large(name, dtype)
        for function in (mean, jax.grad(mean), jax.value_and_grad(mean)):
            assert temporaries(function, logits, others) < 0.05 * 4 * logits.size

    def test_that_would_be_seen():
        """What a reduction compares is written."""
        _, logits, _ = large("SPARSE", "float32")
        assert temporaries(lambda z: jnp.sum(jnp.where(z > 0.5, z, 0.0), -1), logits) > 0.05 * logits.nbytes

    @pytest.mark.parametrize("name", KERNELS)
    def test_nothing_large_is_kept_for_the_backward_pass(name):
        """Where nothing around it is compiled: the arguments are, and numbers of the rows."""
        mean, logits, others = large(name, "float32")
        _, pull = jax.vjp(lambda logits: mean(logits, others), logits)
        arguments = [each.unsafe_buffer_pointer() for each in (logits, *others.values()) if isinstance(each, jax.Array)]
        kept = [each for each in jax.tree.leaves(pull) if isinstance(each, jax.Array)]
        assert kept and all(each.size < logits.size / 2 or each.unsafe_buffer_pointer() in arguments for each in kept)

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    @every_loss
    def test_half_precision_is_widened_on_the_way(name, dtype, monkeypatch):
        """To the same float32 as in the steps."""
        kernel, loss, y_true = LOSSES[name]
        z = jnp.asarray(LOGITS, dtype)
        actual = jax.value_and_grad(lambda z: loss(y_true, z))(z)
        monkeypatch.setattr(_kernels, kernel, None)
        expected = jax.value_and_grad(lambda z: loss(y_true, z))(z)
        assert actual[1].dtype == dtype
        for one, other in zip(actual, expected, strict=True):
            epsilon = float(jnp.finfo(one.dtype).eps)
            one, other = np.asarray(one, "float32"), np.asarray(other, "float32")
            assert np.abs(one - other).max() <= max(epsilon, 1e-5) * np.abs(other).max()

    # --------------------------------------------------------------------------------------------------------- corners

    def test_where_the_steps_are_taken(monkeypatch):
        """Other axes, more classes than float32 counts, powers that enlarge a rounding."""
        focal = keras_xent.CategoricalFocalCrossentropy(gamma=5.0, from_logits=True)
        for name, call in (
            ("DENSE", lambda: keras_xent.categorical_crossentropy(SOFT, jnp.asarray(LOGITS), from_logits=True, axis=0)),
            ("BINARY", lambda: keras_xent.binary_crossentropy(SOFT, jnp.asarray(LOGITS), from_logits=True, axis=())),
            ("BINARY", lambda: keras_xent.binary_crossentropy(SOFT, jnp.asarray(LOGITS), from_logits=True, axis=None)),
            ("FOCAL", lambda: focal(SOFT, jnp.asarray(LOGITS))),
        ):
            assert taken(name, call, monkeypatch) == 0
        served = []
        for num_classes in (2**24, 2**24 + 1):
            logits = jax.ShapeDtypeStruct((1, num_classes), "float32")
            jax.eval_shape(lambda z: served.append(jax_rows.serves({"z": z, "axis": 1}, "z", "z")), logits)
        assert served == [True, False]

    def test_the_last_of_several_tops_is_found():
        """However close another class is, and whatever is infinite."""
        tiny = np.float32(1e-37)
        values = np.float32([[1, 3, 3, 2], [0, -tiny, -np.inf, -tiny], [7, 7, 7, 7], [np.inf, 0, np.inf, -np.inf]])
        places = jax_rows.place_of(jnp.asarray(values), jnp.asarray(values.max(-1, keepdims=True)))
        assert places[:3, 0].tolist() == [2, 0, 3]

    @every_loss
    def test_infinite_logits(name, monkeypatch):
        """Impossible classes, of which the targets have something or nothing."""
        kernel, loss, y_true = LOSSES[name]
        loss = loss._with(reduction="none")
        z = np.copy(LOGITS)
        z[:, 1] = -np.inf
        y_true = np.copy(y_true)
        if kernel == "SPARSE":
            y_true[::2] = 0
        else:
            y_true[::2, 1] = -np.inf if kernel == "KL" else 0.0
        actual = loss(y_true, jnp.asarray(z)), jax.grad(lambda z: jnp.sum(loss(y_true, z)[::2]))(jnp.asarray(z))
        monkeypatch.setattr(_kernels, kernel, None)
        expected = loss(y_true, jnp.asarray(z)), jax.grad(lambda z: jnp.sum(loss(y_true, z)[::2]))(jnp.asarray(z))
        for one, other in zip(actual, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert np.isfinite(actual[0][::2]).all()

    # --------------------------------------------------------------------------------------------------------- sharding

    SHARDED = """
import re
import jax, keras, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import keras_xent

logits, teacher = np.random.default_rng(0).normal(size=(2, 16, 512)).astype("float32")
probs, shares = (np.exp(each) / np.exp(each).sum(-1, keepdims=True) for each in (logits, teacher))
labels = logits.argmax(-1)
mesh = Mesh(np.array(jax.devices()).reshape(2, 4), ("rows", "classes"))
for loss, y_true, y_pred in (
    (keras_xent.SparseCategoricalCrossentropy(True), labels, logits),
    (keras_xent.CategoricalCrossentropy(True), shares, logits),
    (keras_xent.BinaryCrossentropy(True), shares, logits),
    (keras_xent.CategoricalFocalCrossentropy(from_logits=True), shares, logits),
    (keras_xent.BinaryFocalCrossentropy(from_logits=True), shares, logits),
    (keras_xent.DistillationLoss(2.0, targets="logits"), teacher, logits),
    (keras_xent.SparseCategoricalCrossentropy(), labels, probs),
    (keras_xent.CategoricalCrossentropy(), shares, probs),
    (keras_xent.BinaryCrossentropy(), shares, probs),
    (keras_xent.CategoricalFocalCrossentropy(), shares, probs),
    (keras_xent.BinaryFocalCrossentropy(), shares, probs),
    (keras_xent.KLDivergence(), shares, probs),
):
    step = jax.jit(jax.value_and_grad(lambda z, y: loss(y, z)))
    value, gradient = step(y_pred, y_true)
    for axes in ((None, "classes"), ("rows", "classes"), ("rows", None)):
        placed = [
            jax.device_put(x, NamedSharding(mesh, PartitionSpec(*axes[: x.ndim]))) for x in (y_pred, y_true)
        ]
        program = step.lower(*placed).compile()
        assert not re.findall("(all-gather|all-to-all|collective-permute)", program.as_text()), (loss, axes)
        sharded_value, sharded_gradient = program(*placed)
        assert sharded_gradient.sharding.spec == PartitionSpec(*axes), (loss, axes)
        np.testing.assert_allclose(sharded_value, value, rtol=1e-6)
        np.testing.assert_allclose(sharded_gradient, gradient, rtol=1e-5, atol=1e-6 * np.abs(gradient).max())
print("as one device")
"""

    def test_sharded_logits_are_not_gathered(monkeypatch):
        """Over the rows, over the classes, over both: 8 devices, a program of its own."""
        monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8", prepend=" ")
        done = subprocess.run([sys.executable, "-c", SHARDED], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "as one device", done.stderr[-2000:]

"""Kernels on TensorFlow: all derivatives are those of the steps, compiled or not; programs write little and are not too many."""

import functools
import re

import keras
import ml_dtypes
import numpy as np
import pytest

import keras_xent
from keras_xent import _kernels, reference

from .backends import BACKEND
from .cases import one_hot
from .kernels import taken
from .test_kernels import FLUSHED, check_leaders, inputs, leaders

if BACKEND == "tensorflow":
    import tensorflow as tf

    from keras_xent._kernels import numpy_rows, numpy_sparse, tensorflow_rows, tensorflow_sparse

    RNG = np.random.default_rng(0)
    LOGITS = np.float32(2.0 * RNG.normal(size=(6, 5)))
    LOGITS[5] = 0.0
    LABELS = np.where(np.arange(6) % 2, LOGITS.argmax(-1), LOGITS.argmin(-1)).astype("int32")
    SOFT = np.float32(RNG.uniform(size=LOGITS.shape) * (RNG.uniform(size=LOGITS.shape) < 0.5))
    OTHER = tf.constant(np.float32(RNG.normal(size=LOGITS.shape)))
    LOSSES = {
        "sparse": ("SPARSE", keras_xent.SparseCategoricalCrossentropy(True), LABELS),
        "sparse, focal": ("SPARSE", keras_xent.SparseCategoricalFocalCrossentropy(gamma=1.5, from_logits=True), LABELS),
        "dense": ("DENSE", keras_xent.CategoricalCrossentropy(True), SOFT),
        "binary": ("BINARY", keras_xent.BinaryCrossentropy(True, pos_weight=[1.0, 2.0, 0.5, 1.0, 3.0]), SOFT),
        "focal": ("FOCAL", keras_xent.CategoricalFocalCrossentropy(gamma=1.5, from_logits=True), SOFT),
        "focal, squared": ("FOCAL", keras_xent.CategoricalFocalCrossentropy(from_logits=True), np.float32(one_hot(LABELS, 5))),
        "binary, focal": ("BINARY_FOCAL", keras_xent.BinaryFocalCrossentropy(gamma=0.5, from_logits=True), SOFT),
        "distillation": ("KL", keras_xent.DistillationLoss(2.0, targets="logits"), LOGITS[::-1].copy()),
        "dense, hard": ("DENSE", keras_xent.CategoricalCrossentropy(True), np.float32(one_hot(LABELS, 5))),
    }
    KERNELS = sorted({kernel for kernel, _, _ in LOSSES.values()})
    HARD = [("sparse_categorical_crossentropy", lambda labels, _: labels), ("categorical_crossentropy", one_hot)]
    every_loss = pytest.mark.parametrize("name", LOSSES)

    @pytest.fixture(params=["compiled", "not compiled", "NumPy"])
    def compiling(request, monkeypatch):
        """Whether few numbers are compiled, too, and summed in parts; and whether they are left to NumPy in eager code."""
        monkeypatch.setattr(numpy_rows, "A_FEW", 2**60 if request.param == "NumPy" else 0)
        monkeypatch.setattr(tensorflow_rows, "LARGE", 1 if request.param == "compiled" else 2**60)
        monkeypatch.setattr(tensorflow_rows, "WIDE", 1)
        monkeypatch.setattr(tensorflow_rows, "PARTS", 2)

    def gradient(f, persistent=False):
        def of(x):
            with tf.GradientTape(persistent=persistent) as tape:
                tape.watch(x)
                value = f(x)
            return tape.gradient(value, x)

        return of

    def forward(f):
        def of(x):
            with tf.autodiff.ForwardAccumulator(x, OTHER) as accumulator:
                value = f(x)
            return accumulator.jvp(value)

        return of

    def along_other(f):
        return lambda x: tf.reduce_sum(f(x) * OTHER)

    def mapped(f):
        return lambda x: tf.vectorized_map(f, tf.stack([x, OTHER]))

    def derivatives(loss, y_true, kinds):
        """What is differentiated by the logits and the targets, forward and backward, once, again, and once more."""
        z, t = tf.constant(LOGITS), tf.constant(y_true)

        def f(z, t=t):
            return loss(t, z)

        by_targets = t.dtype.is_floating and not isinstance(loss, keras_xent.DistillationLoss)
        for derivatives_of in kinds:
            yield from derivatives_of(f, z, t, by_targets)

    def in_eager_code(f, z, t, by_targets):
        yield "value", f(z)
        yield "gradient", gradient(f)(z)
        yield "persistent tape", gradient(f, persistent=True)(z)
        yield "forward", forward(f)(z)
        yield "gradient of a gradient", gradient(along_other(gradient(f)))(z)
        yield "and of that", gradient(along_other(gradient(along_other(gradient(f)))))(z)
        yield "forward over gradient", forward(gradient(f))(z)
        yield "gradient over forward", gradient(forward(f))(z)
        if by_targets:
            yield "targets", gradient(lambda t: f(z, t))(t)
            yield "forward over targets", forward(lambda t: f(z, t))(t)
            yield "targets, then logits", gradient(along_other(lambda z: gradient(lambda t: f(z, t))(t)))(z)
            yield "logits, then targets", gradient(along_other(lambda t: gradient(lambda z: f(z, t))(z)))(t)

    def in_programs(f, z, t, by_targets):
        yield "mapped gradient", mapped(gradient(f))(z)
        yield "gradient of mapped", gradient(lambda z: tf.reduce_sum(mapped(f)(z) * [1.0, 2.0]))(z)
        yield "forward over mapped", forward(mapped(f))(z)
        yield "in a graph", tf.function(lambda z: tf.gradients(f(z), z)[0])(z)
        yield "twice in a graph", tf.function(lambda z: tf.gradients(along_other(gradient(f))(z), z)[0])(z)
        yield "in XLA", tf.function(gradient(f), jit_compile=True)(z)
        yield "twice in XLA", tf.function(gradient(along_other(gradient(f))), jit_compile=True)(z)
        if by_targets:
            yield "targets in a graph", tf.function(gradient(lambda t: f(z, t)))(t)
            yield "gradient by targets of mapped", gradient(lambda t: mapped(lambda z: f(z, t))(z)[0])(t)

    @functools.cache
    def derivatives_of_the_steps(name):
        kernel, loss, y_true = LOSSES[name]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(_kernels, kernel, None)
            return dict(derivatives(loss, y_true, (in_eager_code, in_programs)))

    ONE_OF_EACH = {kernel: name for name, (kernel, _, _) in reversed(LOSSES.items())}.values()
    DIFFERENTIATED = [
        *(("not compiled", name, (in_eager_code, in_programs)) for name in LOSSES),
        *(("compiled", name, (in_eager_code, in_programs)) for name in ONE_OF_EACH),
        *(("NumPy", name, (in_eager_code,)) for name in LOSSES),
    ]

    @pytest.mark.parametrize(("compiling", "name", "kinds"), DIFFERENTIATED, indirect=["compiling"])
    def test_every_derivative_is_that_of_the_steps(compiling, name, kinds, monkeypatch):
        kernel, loss, y_true = LOSSES[name]
        assert taken(kernel, lambda: loss(y_true, tf.constant(LOGITS)), monkeypatch) == 1
        for what, actual in derivatives(loss, y_true, kinds):
            expected = derivatives_of_the_steps(name)[what]
            assert np.abs(actual - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1e-3), what

    @pytest.mark.usefixtures("compiling")
    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    @every_loss
    def test_half_precision_is_widened_on_the_way(name, dtype, monkeypatch):
        """To the same float32 as in the steps."""
        kernel, loss, y_true = LOSSES[name]
        z = tf.constant(LOGITS, dtype)
        actual = loss(y_true, z), gradient(lambda z: loss(y_true, z))(z)
        monkeypatch.setattr(_kernels, kernel, None)
        expected = loss(y_true, z), gradient(lambda z: loss(y_true, z))(z)
        assert actual[1].dtype == dtype
        for one, other in zip(actual, expected, strict=True):
            epsilon = float(ml_dtypes.finfo(one.dtype.as_numpy_dtype).eps)
            one, other = (tf.cast(each, tf.float32).numpy() for each in (one, other))
            assert np.abs(one - other).max() <= max(epsilon, 1e-5) * np.abs(other).max()

    @pytest.mark.usefixtures("compiling")
    @every_loss
    def test_infinite_logits(name, monkeypatch):
        """Impossible classes, of which the targets have something or nothing."""
        kernel, loss, y_true = LOSSES[name]
        loss = loss._with(reduction="none")
        z, y_true = np.copy(LOGITS), np.copy(y_true)
        z[:, 1] = -np.inf
        y_true[(slice(None, None, 2), *([1] if y_true.ndim > 1 else []))] = -np.inf if kernel == "KL" else 0

        def results():
            return loss(y_true, tf.constant(z)), gradient(lambda z: tf.reduce_sum(loss(y_true, z)[::2]))(tf.constant(z))

        actual = results()
        monkeypatch.setattr(_kernels, kernel, None)
        for one, other in zip(actual, results(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert np.isfinite(actual[0][::2]).all()

    @pytest.mark.parametrize("jit_compile", [False, True])
    @pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1000.0])
    @pytest.mark.parametrize("num_classes", [2, 3001])
    def test_compiled_precision(scale, num_classes, jit_compile, monkeypatch):
        """Within 64 ε of the definition, element by element, as the steps are: compiled on its own, and as part of a program."""
        monkeypatch.setattr(tensorflow_rows, "LARGE", 1)
        logits, labels = inputs(scale, num_classes)
        for name, y_true in HARD:
            y_true = y_true(labels, num_classes)

            def losses(z, name=name, y_true=y_true):
                return getattr(keras_xent, name)(y_true, z, from_logits=True)

            for function, suffix in ((losses, ""), (gradient(losses), "_gradient")):
                actual = tf.function(function, jit_compile=jit_compile)(tf.constant(logits))
                right = getattr(reference, name + suffix)(y_true, logits, from_logits=True)
                assert (np.abs(actual - right) <= 64 * 2.0**-23 * np.abs(right) + FLUSHED).all()

    @leaders
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_a_compiled_leader_of_soft_targets(share, num_classes, jit_compile, monkeypatch):
        monkeypatch.setattr(tensorflow_rows, "LARGE", 1)
        losses = functools.partial(keras_xent.categorical_crossentropy, from_logits=True)

        def of(targets, logits):
            return tf.function(gradient(functools.partial(losses, targets)), jit_compile=jit_compile)(tf.constant(logits))

        check_leaders(share, num_classes, of)

    @pytest.mark.parametrize("mode", ["graph", "XLA"])
    @pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
    @pytest.mark.parametrize("distance", [1e-4, 1e-2, 1.0])
    def test_compiled_divergence(distance, scale, mode):
        """Of a student close to its teacher, and one that is not, or both in one batch; a class is impossible to both, or to one.

        Where logits that differ by d are rounded to ε, d²/2 is rounded to ε d.
        """
        rng = np.random.default_rng(0)
        teacher = scale * rng.normal(size=(64, 3001)).astype("float32")
        student = teacher + np.float32(distance * scale) * rng.normal(size=teacher.shape).astype("float32")
        student[::7], teacher[::5, 3], student[::10, 3] = teacher[::7], -np.inf, -np.inf
        losses = functools.partial(keras_xent.distillation_loss, teacher, temperature=2.0, targets="logits")
        compiled = tf.function(losses, jit_compile=mode == "XLA")(tf.constant(student))
        right = reference.distillation_loss(teacher, student, temperature=2.0, targets="logits")
        assert np.isinf(right).sum() == np.isinf(compiled).sum()
        finite = np.isfinite(right)
        allowed = 2.0**-23 * (64.0 * right + 4.0 * np.sqrt(right)) + FLUSHED
        assert (np.abs(compiled - right)[finite] <= allowed[finite]).all()

    # ---------------------------------------------------------------------------------------------------------- memory

    ROWS, CLASSES = 48, 3000

    def large(name):
        """A kernel's loss of logits, as large as they are here, with its gradient; and the logits."""
        rng = np.random.default_rng(0)
        logits = tf.constant(rng.normal(size=(ROWS, CLASSES)), "float32")
        targets = tf.constant(rng.uniform(size=(ROWS, CLASSES)), "float32")
        others = {
            "SPARSE": {"labels": tf.zeros(ROWS, "int32")},
            "DENSE": {"targets": targets},
            "BINARY": {"targets": targets, "pos_weight": tf.constant(2.0)},
            "FOCAL": {"targets": targets, "gamma": 2.0},
            "BINARY_FOCAL": {"targets": targets, "pos_weight": tf.constant(2.0), "gamma": 1.5},
            "KL": {"soft_targets": targets, "temperature": 2.0},
        }[name]

        def mean(logits):
            given = {"soft_logits" if name == "KL" else "logits": logits, **others}
            return tf.reduce_mean(getattr(_kernels, name).function(**given))

        return lambda logits: (mean(logits), gradient(mean)(logits)), logits

    def written(function, *arguments):
        """How many arrays of the logits' size a compiled program writes."""
        program = tf.function(function, jit_compile=True).experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
        return len(re.findall(rf"= f32\[{ROWS},{CLASSES}\]\S* (?!parameter)", program[program.index("\nENTRY") :]))

    @pytest.mark.parametrize("name", KERNELS)
    def test_what_a_program_writes(name):
        """The gradient, and nothing else."""
        assert written(*large(name)) == 1

    # -------------------------------------------------------------------------------------------------------- compiling

    def zero_labels(*shape):
        return tf.zeros(shape), tf.zeros(shape[:-1], "int32")

    def programs(kernel):
        """How many it has compiled, for eager code and for graphs."""
        return [kernel._compiled[eagerly].experimental_get_tracing_count() for eagerly in (True, False)]

    @pytest.fixture
    def kernel():
        return tensorflow_rows.RowLosses(tensorflow_sparse.measure, (tensorflow_sparse.slopes, None), numpy_sparse.work)

    def test_each_shape_is_compiled_once(kernel):
        """If it is large."""
        for rows in (8, 9, 2, 8, 9, 8):
            logits, labels = zero_labels(rows, 2**13)
            gradient(lambda z, labels=labels: kernel(z, labels))(logits)
        assert programs(kernel) == [2, 0]

    def test_not_too_many_are(kernel, monkeypatch):
        """Of sequences of any length, no two may be alike."""
        monkeypatch.setattr(numpy_rows, "A_FEW", 0)
        monkeypatch.setattr(tensorflow_rows, "LARGE", 1)
        monkeypatch.setattr(tensorflow_rows, "MOST_SHAPES", 2)
        for length in (1, 2, 3, 4, 1):
            kernel(*zero_labels(2, length, 4))
        assert programs(kernel) == [2, 0]

    def test_no_unknown_shape_is(kernel, monkeypatch):
        monkeypatch.setattr(tensorflow_rows, "LARGE", 1)
        any_rows = [tf.TensorSpec((None, 4)), tf.TensorSpec((None,), "int32")]
        losses = tf.function(kernel, input_signature=any_rows)
        assert [losses(*zero_labels(rows, 4)).shape for rows in (3, 0)] == [(3,), (0,)]
        assert programs(kernel) == [0, 0]

    @pytest.mark.usefixtures("compiling")
    @pytest.mark.parametrize("jit_compile", [False, True, "auto"])
    @pytest.mark.parametrize("name", ["sparse"])
    def test_fit(name, jit_compile, monkeypatch):
        """Trains as the steps do, in batches of a size that is known and in the last one."""
        kernel, loss, y_true = LOSSES[name]

        def weights():
            model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5, kernel_initializer="ones")])
            model.compile(keras.optimizers.SGD(0.5), loss, jit_compile=jit_compile)
            model.fit(LOGITS, y_true, batch_size=4, shuffle=False, verbose=0)
            return model.get_weights()

        results = weights()
        monkeypatch.setattr(_kernels, kernel, None)
        for actual, expected in zip(results, weights(), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)

    def test_where_the_steps_are_taken(monkeypatch):
        """Other axes, float64, a number of classes that is not known yet."""
        sparse = functools.partial(keras_xent.sparse_categorical_crossentropy, LABELS, from_logits=True)
        any_classes = tf.function(sparse, input_signature=[tf.TensorSpec((6, None))])
        for name, call in (
            ("SPARSE", lambda: sparse(tf.transpose(LOGITS), axis=0)),
            ("SPARSE", lambda: sparse(tf.constant(LOGITS, "float64"))),
            ("SPARSE", lambda: any_classes(LOGITS)),
        ):
            assert taken(name, call, monkeypatch) == 0

    @pytest.mark.usefixtures("compiling")
    @every_loss
    def test_empty_batches(name):
        _, loss, y_true = LOSSES[name]
        z = tf.zeros((0, 5))
        for run in (lambda f: f, tf.function, functools.partial(tf.function, jit_compile=True)):
            assert run(gradient(lambda z: loss._with(reduction="sum")(y_true[:0], z)))(z).shape == z.shape

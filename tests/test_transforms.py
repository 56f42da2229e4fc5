"""Whatever can be done with Keras's losses can be done with these: higher derivatives and function transforms."""

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent.parity.bounds import error_in_bounds

from .backends import BACKEND, array, tensor
from .cases import one_hot, softmax

LABELS = np.array([0, 2, 1, 3])
TARGETS = one_hot(LABELS, 4).astype("float32")
LOGITS = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
TEACHER = softmax(LOGITS)[::-1].copy()
LOSSES = {
    "sparse": (keras_xent.SparseCategoricalCrossentropy(True), LABELS, LOGITS),
    "sparse, smoothed": (keras_xent.SparseCategoricalCrossentropy(True, label_smoothing=0.1), LABELS, LOGITS),
    "sparse, probabilities": (keras_xent.SparseCategoricalCrossentropy(), LABELS, softmax(LOGITS)),
    "dense": (keras_xent.CategoricalCrossentropy(True), TARGETS, LOGITS),
    "dense, probabilities": (keras_xent.CategoricalCrossentropy(), TARGETS, softmax(LOGITS)),
    "binary": (keras_xent.BinaryCrossentropy(True), TARGETS, LOGITS),
    "binary, probabilities": (keras_xent.BinaryCrossentropy(), TARGETS, softmax(LOGITS)),
    "focal": (keras_xent.CategoricalFocalCrossentropy(alpha=1.0, gamma=1.5, from_logits=True), TARGETS, LOGITS),
    "focal, probabilities": (keras_xent.CategoricalFocalCrossentropy(alpha=1.0, gamma=1.5), TARGETS, softmax(LOGITS)),
    "focal, sparse": (keras_xent.SparseCategoricalFocalCrossentropy(alpha=1.0, gamma=1.5, from_logits=True), LABELS, LOGITS),
    "focal, binary": (keras_xent.BinaryFocalCrossentropy(gamma=1.5, from_logits=True), TARGETS, LOGITS),
    "divergence": (keras_xent.KLDivergence(from_logits=True), TEACHER, LOGITS),
    "divergence, probabilities": (keras_xent.KLDivergence(), TEACHER, softmax(LOGITS)),
    "generalized": (keras_xent.CategoricalGeneralizedCrossEntropy(from_logits=True), LABELS, LOGITS),
    "generalized, probabilities": (keras_xent.CategoricalGeneralizedCrossEntropy(), LABELS, softmax(LOGITS)),
    "distillation": (keras_xent.DistillationLoss(targets="logits"), LOGITS[::-1].copy(), LOGITS),
    "distillation, crossentropy": (
        keras_xent.DistillationLoss(targets="probs", divergence="crossentropy"),
        softmax(LOGITS)[::-1].copy(),
        LOGITS,
    ),
}
EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)


def gradient_of(function):
    """The gradient of a scalar function of one tensor, itself differentiable."""
    if BACKEND == "jax":
        import jax

        return jax.grad(function)
    if BACKEND == "torch":
        import torch

        def gradient(x):
            x = x if x.requires_grad else x.detach().clone().requires_grad_(True)
            return torch.autograd.grad(function(x), x, create_graph=True)[0]

        return gradient
    import tensorflow as tf

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x)

    return gradient


@EVERY_LOSS
def test_second_derivatives(name):
    """Of a gradient penalty, against a finite difference of the first derivatives."""
    loss, y_true, y_pred = LOSSES[name]
    gradient = gradient_of(lambda x: loss(y_true, x))
    penalty_gradient = gradient_of(lambda x: keras.ops.sum(keras.ops.square(gradient(x))))
    direction = np.random.default_rng(1).normal(size=y_pred.shape).astype("float32") * (0.1 if "prob" in name else 1.0)
    direction *= y_pred if "probabilities" in name else 1.0
    slope = (array(penalty_gradient(tensor(y_pred, "float32"))) * direction).sum()
    step = 2.0**-7
    up, down = (np.square(array(gradient(tensor(y_pred + s * step * direction, "float32")))).sum() for s in (1, -1))
    assert abs((up - down) / (2 * step) - slope) <= 1e-2 * abs(slope) + 1e-4


def transforms():
    """What the backend offers: name to a function that applies it to a loss of logits and an input."""
    if BACKEND == "jax":
        import jax

        return {
            "jvp": lambda f, x: jax.jvp(f, (x,), (x,)),
            "hessian": lambda f, x: jax.hessian(f)(x),
            "vmap": lambda f, x: jax.vmap(f)(keras.ops.stack([x, 2 * x])),
            "vmap of grad": lambda f, x: jax.vmap(jax.grad(f))(keras.ops.stack([x, 2 * x])),
            "linearize": lambda f, x: jax.linearize(f, x)[1](x),
            "checkpoint": lambda f, x: jax.grad(jax.checkpoint(f))(x),
            "jit": lambda f, x: jax.jit(f)(x),
        }
    if BACKEND == "torch":
        import torch

        return {
            "grad": lambda f, x: torch.func.grad(f)(x),
            "jvp": lambda f, x: torch.func.jvp(f, (x,), (x,)),
            "hessian": lambda f, x: torch.func.hessian(f)(x),
            "vmap": lambda f, x: torch.func.vmap(f)(torch.stack([x, 2 * x])),
            "vmap of grad": lambda f, x: torch.func.vmap(torch.func.grad(f))(torch.stack([x, 2 * x])),
            "jacrev": lambda f, x: torch.func.jacrev(f)(x),
        }
    import tensorflow as tf

    def forward(f, x):
        with tf.autodiff.ForwardAccumulator(x, x) as accumulator:
            value = f(x)
        return accumulator.jvp(value)

    def jacobian_of_gradient(f, x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = f(x)
            gradient = inner.gradient(value, x)
        return outer.jacobian(gradient, x)

    return {
        "forward accumulator": forward,
        "hessian by nested tapes": jacobian_of_gradient,
        "vectorized_map": lambda f, x: tf.vectorized_map(f, tf.stack([x, 2 * x])),
        "recompute_grad": lambda f, x: gradient_of(tf.recompute_grad(f))(x),
    }


TRANSFORMS = transforms()


@EVERY_LOSS
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_equal_those_of_the_plain_formula(name, transform):
    """The same transform of the same loss written naively, on well-behaved inputs."""
    loss, y_true, y_pred = LOSSES[name]
    x = tensor(y_pred, "float32")
    apply = TRANSFORMS[transform]
    ours = keras.tree.flatten(apply(lambda x: loss(y_true, x), x))
    naive = keras.tree.flatten(apply(lambda x: naive_loss(name, x), x))
    for actual, expected in zip(ours, naive, strict=True):
        actual, expected = array(actual), array(expected)
        assert np.abs(actual - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("form", ["top_k", "sparse", "dense"])
def test_maps_over_targets_with_ids(form):
    """Example by example, with targets that hold more than the teacher's numbers."""
    pairs = np.asarray(keras_xent.distill.top_k_targets(LOGITS[::-1].copy(), 2, temperature=4.0))
    labels = {"sparse": LABELS, "dense": TARGETS}.get(form)
    y_true = tensor(pairs if labels is None else keras_xent.pack_targets(LOGITS[::-1].copy(), labels), "float32")
    options = {"targets": "top_k"} if labels is None else {"targets": "logits", "labels": form, "label_weight": 0.5}

    def one(y_true, y_pred):
        return keras_xent.distillation_loss(y_true[None], y_pred[None], **options)[0]

    x = tensor(LOGITS, "float32")
    if BACKEND == "torch":
        import torch

        mapped = torch.func.vmap(one)(y_true, x)
    elif BACKEND == "jax":
        import jax

        mapped = jax.vmap(one)(y_true, x)
    else:
        import tensorflow as tf

        mapped = tf.vectorized_map(lambda pair: one(*pair), (y_true, x))
    np.testing.assert_allclose(array(mapped), array(keras_xent.distillation_loss(y_true, x, **options)), rtol=1e-6)


def naive_loss(name, x):
    """The textbook formula, which cancels and overflows, but not here."""
    ops = keras.ops
    targets = tensor(0.9 * TARGETS + 0.025 if "smoothed" in name else TARGETS, "float32")
    if name.startswith("distillation"):
        teacher = tensor(LOGITS[::-1].copy()) / 4.0
        p, q = ops.softmax(teacher), ops.softmax(x / 4.0)
        entropy = 0.0 if "crossentropy" in name else ops.sum(p * ops.log(p), -1)
        return 16.0 * ops.sum(entropy - ops.sum(p * ops.log(q), -1)) / 4.0
    if name.startswith("binary"):
        p = x if "probabilities" in name else 1.0 / (1.0 + ops.exp(-x))
        return -ops.sum(targets * ops.log(p) + (1.0 - targets) * ops.log(1.0 - p)) / 16.0
    if name == "focal, binary":
        p = 1.0 / (1.0 + ops.exp(-x))
        p = targets * p + (1.0 - targets) * (1.0 - p)
        return -ops.sum(ops.power(1.0 - p, 1.5) * ops.log(p)) / 16.0
    p = x if "probabilities" in name else ops.exp(x) / ops.sum(ops.exp(x), -1, keepdims=True)
    if name.startswith("divergence"):
        return ops.sum(tensor(TEACHER) * (tensor(np.log(TEACHER)) - ops.log(p))) / 4.0
    if name.startswith("generalized"):
        return ops.sum(targets * (1.0 - ops.sqrt(p)) / 0.5) / 4.0
    p = p / ops.sum(p, -1, keepdims=True)
    factor = ops.power(1.0 - p, 1.5) if name.startswith("focal") else 1.0
    return -ops.sum(targets * factor * ops.log(p)) / 4.0


@pytest.mark.parametrize("gap", [20.0, 60.0, 87.2])
def test_second_derivatives_and_weights_at_saturation(gap):
    """A gradient penalty through a saturated softmax, and a weighted gradient, are finite."""
    logits = tensor([[-gap, 0.0, -gap]], "float32")
    for y_true in ([[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]):
        for loss in (keras_xent.CategoricalCrossentropy(), keras_xent.BinaryCrossentropy()):

            def weighted(x, loss=loss, y_true=y_true):
                return loss(y_true, keras.ops.softmax(x), sample_weight=tensor([1000.0], "float32"))

            gradient = gradient_of(weighted)
            assert np.isfinite(array(gradient(logits))).all()
            plain = gradient_of(lambda x, loss=loss, y_true=y_true: loss(y_true, keras.ops.softmax(x)))
            penalty = gradient_of(lambda x, plain=plain: keras.ops.sum(keras.ops.square(plain(x))))
            assert np.isfinite(array(penalty(logits))).all()


FUNCTIONS = {
    "categorical_crossentropy": (TARGETS, {"from_logits": True}),
    "sparse_categorical_crossentropy": (LABELS.astype("int32"), {"from_logits": True}),
    "binary_crossentropy": (TARGETS, {"from_logits": True}),
    "categorical_focal_crossentropy": (TARGETS, {"from_logits": True}),
    "sparse_categorical_focal_crossentropy": (LABELS.astype("int32"), {"from_logits": True, "alpha": [0.5, 1.0, 1.0, 1.0]}),
    "binary_focal_crossentropy": (TARGETS, {"from_logits": True, "gamma": 0.5}),
    "kl_divergence": (TARGETS, {"from_logits": True}),
    "categorical_generalized_cross_entropy": (LABELS.astype("int32"), {"q": 0.5, "from_logits": True}),
    "distillation_loss": (TARGETS, {"targets": "probs"}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_symbolic_inputs(name):
    """The functions are operations of a functional model, as Keras's are."""
    function, (y_true, options) = getattr(keras_xent, name), FUNCTIONS[name]
    inputs = keras.Input(y_true.shape[1:], dtype=str(y_true.dtype)), keras.Input(LOGITS.shape[1:])
    model = keras.Model(inputs, function(*inputs, **options))
    outputs = model([tensor(y_true), tensor(LOGITS)])
    np.testing.assert_allclose(array(outputs), array(function(y_true, tensor(LOGITS), **options)), rtol=1e-6)


@EVERY_LOSS
def test_strict_modes(name):
    """Nothing trips the backend's strictest mode: numeric checks of TensorFlow and JAX, a full graph of PyTorch."""
    loss, y_true, y_pred = LOSSES[name]
    x, targets = tensor(y_pred, "float32"), tensor(y_true)
    expected = float(loss(targets, x))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.debugging.enable_check_numerics()
        try:
            strict = tf.function(lambda x: gradient_of(lambda x: loss(targets, x))(x))(x)
        finally:
            tf.debugging.disable_check_numerics()
        assert np.isfinite(array(strict)).all()
    elif BACKEND == "jax":
        import jax

        with jax.debug_nans(True), jax.debug_infs(True):
            strict, _ = jax.jit(jax.value_and_grad(lambda x: loss(targets, x)))(x)
        assert error_in_bounds(strict, expected, "float32", terms=16) <= 1
    else:
        import torch

        torch._dynamo.reset()
        strict = torch.compile(loss, backend="eager", fullgraph=True)(targets, x)
        assert error_in_bounds(array(strict), expected, "float32", terms=16) <= 1


def test_gradients_flow_into_dense_targets():
    """As in Keras: d loss / d t_k = -log p_k, also where the target is 0."""
    gradient = gradient_of(lambda t: keras_xent.CategoricalCrossentropy(True, reduction="sum")(t, tensor(LOGITS)))
    log_probs = np.log(softmax(LOGITS.astype("float64")))
    assert np.abs(array(gradient(tensor(TARGETS))) + log_probs).max() <= 1e-5


def test_unknown_shapes_in_compiled_code():
    """A batch and a sequence of any length, as `tf.function` and `jax.export` or `torch.compile` see them."""
    loss = keras_xent.SparseCategoricalCrossentropy(True, ignore_class=3, label_smoothing=0.1)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec((None, None), "int32"), tf.TensorSpec((None, None, 4)), tf.TensorSpec((None,))]
        compiled = tf.function(lambda y, x, w: loss(y, x, w), input_signature=signature)
    elif BACKEND == "jax":
        import jax

        compiled = jax.jit(loss)
    else:
        import torch

        compiled = torch.compile(loss, backend="aot_eager", dynamic=True)
    for batch, time in ((2, 3), (4, 5)):
        generator = np.random.default_rng(batch)
        y, x = generator.integers(0, 4, (batch, time)), generator.normal(size=(batch, time, 4))
        arguments = tensor(y, "int32"), tensor(x, "float32"), tensor(generator.uniform(size=batch), "float32")
        assert abs(float(compiled(*arguments)) - float(loss(*arguments))) < 1e-5


if BACKEND == "torch":
    import torch

    @pytest.mark.parametrize("name", ["binary, probabilities", "focal, binary", "dense", "distillation"])
    def test_one_program_for_batches_of_any_size(name):
        """Numbers that a program is compiled without, the axes too, are symbols."""
        loss, y_true, y_pred = LOSSES[name]
        torch._dynamo.reset()
        compiled = torch.compile(loss, backend="eager", dynamic=True, fullgraph=True)
        for rows in (4, 3):
            targets, x = tensor(y_true[:rows]), tensor(y_pred[:rows], "float32")
            torch.testing.assert_close(compiled(targets, x), loss(targets, x))

    @pytest.mark.parametrize("axis", [-1, (2, 1), (0, 2), None, ()])
    def test_one_program_for_means_over_any_axes(axis):
        torch._dynamo.reset()
        loss = keras_xent.BinaryCrossentropy(True, axis=axis)
        compiled = torch.compile(loss, backend="eager", dynamic=True, fullgraph=True)
        for batch in (2, 3):
            x = torch.linspace(0.1, 0.9, 8 * batch).reshape(batch, 2, 4)
            targets = (x < 0.3).float()
            torch.testing.assert_close(compiled(targets, x), loss(targets, x))


if BACKEND == "tensorflow":
    import tensorflow as tf

    ANY = tf.TensorSpec([None, None]), tf.TensorSpec([None, None, None])
    IDS = tf.TensorSpec([None, None], "int32")
    P, ROWS = np.float32([[0.9, 0.2, 0.4], [0.3, 0.6, 0.5]]), np.full((2, 4, 3), 1 / 3, "float32")
    MISFITS = [
        (keras_xent.BinaryCrossentropy(), ANY[0], ANY[0], np.float32([[1], [0]]), P),
        (keras_xent.BinaryFocalCrossentropy(), ANY[0], ANY[0], np.float32([[1], [0]]), P),
        (keras_xent.CategoricalCrossentropy(), ANY[0], ANY[0], np.float32([[1], [0]]), P),
        (keras_xent.CategoricalFocalCrossentropy(), ANY[0], ANY[0], P[:1], P),
        (keras_xent.KLDivergence(), ANY[0], ANY[0], P, np.float32([[0.5], [0.5]])),
        (keras_xent.SparseCategoricalCrossentropy(), IDS, ANY[1], np.ones((2, 1), "int32"), ROWS),
        (keras_xent.SparseCategoricalFocalCrossentropy(), IDS, ANY[1], np.ones((1, 4), "int32"), ROWS),
        (keras_xent.CategoricalGeneralizedCrossEntropy(), IDS, ANY[1], np.ones((2, 1), "int32"), ROWS),
        (keras_xent.DistillationLoss(targets="logits"), ANY[0], ANY[0], P[:1], P),
    ]

    @pytest.mark.parametrize("jit_compile", [False, True])
    @pytest.mark.parametrize(("loss", "one", "other", "y_true", "y_pred"), MISFITS)
    def test_shapes_that_turn_out_not_to_fit(loss, one, other, y_true, y_pred, jit_compile):
        """Nothing is broadcast in silence: a runtime error, or NaN where XLA has none."""
        call = tf.function(loss, input_signature=[one, other], jit_compile=jit_compile)
        if jit_compile:
            assert np.isnan(call(y_true, y_pred))
        else:
            with pytest.raises(tf.errors.InvalidArgumentError, match="must have the same shape"):
                call(y_true, y_pred)

    def test_weights_that_turn_out_not_to_fit():
        loss = keras_xent.SparseCategoricalCrossentropy()
        call = tf.function(loss, input_signature=[IDS, ANY[1], ANY[0]])
        labels = np.ones((2, 4), "int32")
        for shape in ((2, 4), (2, 1), (1, 4), (1, 1)):
            assert abs(float(call(labels, ROWS, np.ones(shape, "float32"))) - np.log(3)) < 1e-5
        with pytest.raises(tf.errors.InvalidArgumentError, match="must align with the leading axes"):
            call(labels[:1], ROWS[:1], np.ones((2, 4), "float32"))

    def test_fit_refuses_ids_for_a_distribution():
        """A generator may tell `fit` no shapes."""
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        model.compile("sgd", keras_xent.CategoricalCrossentropy(from_logits=True), jit_compile=False)
        with pytest.raises(tf.errors.InvalidArgumentError, match="must have the same shape"):
            batches = tf.data.Dataset.from_generator(lambda: [(P, [[1.0], [0.0]])], output_signature=(ANY[0], ANY[0]))
            model.fit(batches, shuffle=False, verbose=0)

    def test_an_unknown_rank():
        with pytest.raises(ValueError, match="`y_pred` has no known rank"):
            tf.function(keras_xent.BinaryCrossentropy(), input_signature=[ANY[0], tf.TensorSpec(None)]).get_concrete_function()

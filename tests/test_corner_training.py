"""What a loss meets in use: options, weights and masks in any combination, unknown shapes, and steps of `fit`."""

import inspect

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_xent import reference
from keras_xent.parity.bounds import error_in_bounds

from .backends import BACKEND, tensor, value_and_gradient
from .cases import LOSS_CLASSES, one_hot, predictions, softmax
from .test_corners import CLASS_IDS, NAMES, TINY, definition, needed
from .test_weights_and_masks import REDUCTIONS, AttachMask


def reduced(losses, gradient, axes, weights, mask, reduction):
    """The definition's reduced loss, its gradient, and the share that each loss has in it; the losses lack the `axes`."""
    units = np.eye(losses.size).reshape(losses.size, *losses.shape)  # a reduction is linear
    shares = np.reshape([np.sum(reference.reduce_losses(unit, weights, mask, reduction)) for unit in units], losses.shape)
    return reference.reduce_losses(losses, weights, mask, reduction), np.expand_dims(shares, axes) * gradient, shares


SHAPES = (5,), (4, 3), (2, 3, 4), (2, 4, 3, 3)  # few, as JAX compiles every operation for each
ALTERNATIVES = {
    "label_smoothing": [0.1, 0.7, 1.0],
    "epsilon": [1e-3, 0.2],
    "saturated_gradient": ["zero"],
    "ignore_class": [1, [0, -1], {2, 7}, range(-3, 1)],
    "gamma": [0.0, 0.5, 1.0, 3.7],
    "apply_class_balancing": [True],
    "class_weight": ["one each", {1: 3.0}],
    "alpha": [1.0, "one each"],
    "pos_weight": [3.0, "one each"],
    "q": [0.1, 0.9],
}


def leading(data, rng, shape):
    """The shape of something that aligns with the leading axes: trailing ones missing, any of size 1, or one more."""
    aligned = [data.draw(st.sampled_from([size, 1])) for size in shape[: data.draw(st.integers(0, len(shape)))]]
    return (*aligned, 1) if len(aligned) == len(shape) and data.draw(st.booleans()) else tuple(aligned)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_any_combination(name, data):
    """Of options, axis, weights, mask and reduction: value and gradient equal the definition's."""
    shape, rng = data.draw(st.sampled_from(SHAPES)), np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    binary, axes = "binary" in name, range(-len(shape), len(shape))
    axis = data.draw(st.sampled_from([*axes, (), None, tuple(range(len(shape) - 1))] if binary else axes))
    options = {"from_logits": data.draw(st.booleans()), "axis": axis, **needed(name)}
    for option in sorted(ALTERNATIVES.keys() & inspect.signature(LOSS_CLASSES[name]).parameters):
        value = data.draw(st.sampled_from([None, *ALTERNATIVES[option]]))
        if value is not None:
            options[option] = rng.uniform(size=shape[-1 if binary else axis]).tolist() if value == "one each" else value
    scale = data.draw(st.sampled_from([0.1, 3.0, 60.0]))
    y_pred = predictions(rng, shape, None if binary else axis, options["from_logits"], scale=scale)
    y_pred = np.where(np.abs(y_pred) < TINY, 0.0, y_pred)  # denormals, which TensorFlow and JAX take for 0
    y_true = np.float32(rng.uniform(size=shape) if binary else softmax(rng.normal(size=shape), axis))

    axes = tuple(range(len(shape))) if axis is None else tuple(np.atleast_1d(axis).astype(int) % len(shape))
    rows = tuple(np.delete(shape, axes))
    mask = rng.uniform(size=leading(data, rng, rows)) < 0.7 if data.draw(st.booleans()) else None
    weights = rng.integers(0, 3, leading(data, rng, rows)) / 2 if data.draw(st.booleans()) else None
    attach_mask, counts = (lambda x: x) if mask is None else AttachMask(mask), mask
    if name in CLASS_IDS:
        ignored = options.get("ignore_class", [])
        ignored = list(ignored) if np.iterable(ignored) else [ignored]
        y_true = np.where(rng.uniform(size=rows) < 0.3, rng.choice(ignored or [0], rows), y_true.argmax(axis))
        if ignored:
            aligned = True if mask is None else mask.reshape((*mask.shape[: len(rows)], *[1] * (len(rows) - mask.ndim)))
            counts = ~np.isin(y_true, ignored) & aligned
    right, right_gradient = definition(name, y_true, y_pred, **options, dtype="float32")

    reduction = data.draw(st.sampled_from(REDUCTIONS))
    loss = LOSS_CLASSES[name](**options, reduction=reduction)
    value, gradient = value_and_gradient(lambda x: loss(y_true, attach_mask(x), weights), tensor(y_pred, "float32"))
    right, right_gradient, shares = reduced(right, right_gradient, axes, weights, counts, reduction)
    # a power errs by its exponent, as large as the logarithm of the least probability
    span = np.ptp(y_pred) if options["from_logits"] else 90.0 if "generalized" in name else 0.0
    # relative to what losses and slopes of 1 would come to: a probability near 1 holds its distance from 1 only to ε
    floor, steepest = max(np.abs(right).max(initial=0.0), shares.sum()), max(np.abs(right_gradient).max(), shares.max())
    assert error_in_bounds(value, right, "float32", y_pred.size, span, floor) <= 1
    assert error_in_bounds(gradient, right_gradient, "float32", y_pred.size, span, steepest) <= 1


def test_unknown_shapes():
    """Of batch, sequence and classes: `tf.function` with a signature, `jax.export`, `torch.compile(dynamic=True)`."""
    kinds = [(name, from_logits) for name in NAMES for from_logits in (True, False)]
    if BACKEND == "torch":  # each takes seconds to compile
        kinds = [
            ("sparse_categorical_focal_crossentropy", True),
            ("binary_crossentropy", True),
            ("categorical_crossentropy", False),
        ]
    losses = {kind: LOSS_CLASSES[kind[0]](from_logits=kind[1], reduction="none") for kind in kinds}

    def per_loss(labels, targets, weights, x):
        probs = ops.softmax(x)
        return ops.stack(
            [
                loss(labels if name in CLASS_IDS else targets, x if from_logits else probs, weights)
                for (name, from_logits), loss in losses.items()
            ]
        )

    program = dynamic(per_loss)
    # PyTorch compiles sizes 0 and 1 anew, JAX exports for sizes from 1 alone
    for shape in ((2, 3, 4), (4, 5, 3), (1, 2, 2), (0, 3, 4))[: {"tensorflow": 4, "jax": 3, "torch": 2}[BACKEND]]:
        rng = np.random.default_rng(shape[0])
        labels, y_pred, weights = rng.integers(0, shape[-1], shape[:-1]), rng.normal(size=shape), rng.uniform(size=shape[0])
        targets = np.eye(shape[-1])[labels]
        known = tensor(labels, "int32"), tensor(targets, "float32"), tensor(weights, "float32")
        values, gradient = value_and_gradient(lambda x, y=known: program(*y, x), tensor(y_pred, "float32"))
        probs, pull_of_logits, pull_of_probs = softmax(y_pred), 0.0, 0.0
        for (name, from_logits), value in zip(kinds, values, strict=True):
            y_true, given = labels if name in CLASS_IDS else targets, y_pred if from_logits else probs
            right, pull = definition(name, y_true, given, from_logits=from_logits, **needed(name))
            assert error_in_bounds(value, right * weights[:, None], "float32", 60, 10, 1.0) <= 1, name
            pull = pull * weights[:, None, None]
            pull_of_logits, pull_of_probs = pull_of_logits + pull * from_logits, pull_of_probs + pull * (not from_logits)
        through_softmax = probs * (pull_of_probs - (probs * pull_of_probs).sum(-1, keepdims=True))
        assert error_in_bounds(gradient, pull_of_logits + through_softmax, "float32", 480, 10, 1.0) <= 1


def dynamic(function):
    """`function` of labels, targets, weights and predictions, compiled for any shape."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        shapes = ((None, None), "int32"), ((None, None, None), "float32"), ((None,), "float32"), ((None, None, None), "float32")
        return tf.function(function, input_signature=[tf.TensorSpec(*each) for each in shapes])
    if BACKEND == "jax":
        import jax

        b, t, k = jax.export.symbolic_shape("b, t, k")
        shapes = ((b, t), "int32"), ((b, t, k), "float32"), ((b,), "float32"), ((b, t, k), "float32")
        return jax.export.export(jax.jit(function))(*(jax.ShapeDtypeStruct(*each) for each in shapes)).call
    import torch

    torch._dynamo.reset()
    return torch.compile(function, backend="aot_eager", dynamic=True)


BATCH, TIME, CLASSES, PADDING = 4, 6, 5, -100
OPTIONS = {
    "categorical_crossentropy": {"label_smoothing": 0.1, "class_weight": {1: 3.0}},
    "sparse_categorical_crossentropy": {"ignore_class": [4, 9], "reduction": "mean_with_sample_weight"},
    "binary_crossentropy": {"pos_weight": 2.0, "reduction": "sum"},
    "categorical_focal_crossentropy": {"gamma": 0.5},
    "sparse_categorical_focal_crossentropy": {"gamma": 1.0, "ignore_class": [2]},
    "binary_focal_crossentropy": {"gamma": 0.5, "apply_class_balancing": True, "reduction": "mean_with_sample_weight"},
    "kl_divergence": {"reduction": "sum"},
    "categorical_generalized_cross_entropy": {"q": 0.7, "ignore_class": [0]},
}


def loss_of(name):
    return LOSS_CLASSES[name](**OPTIONS[name], from_logits=True)


def right_loss_and_pull(name, y_true, logits, weights=None, mask=None):
    """The reduced loss, and its gradient summed over everything but the classes: what it pulls at the biases with."""
    options = {key: value for key, value in OPTIONS[name].items() if key != "reduction"}
    counts = np.ones(logits.shape[:-1], bool) if mask is None else mask
    if name in CLASS_IDS:
        counts = counts & ~np.isin(y_true, options.get("ignore_class", []))
        y_true = np.where(counts, y_true, 1)
    else:
        y_true = np.where(counts[..., None], y_true, 1.0)
    losses, gradient = definition(name, y_true, logits, from_logits=True, **options)
    mask = None if counts.all() and mask is None else counts
    right, pull, _ = reduced(losses, gradient, -1, weights, mask, OPTIONS[name].get("reduction", "sum_over_batch_size"))
    return right, pull.reshape(-1, CLASSES).sum(0)


def one_step(model, x, y, rate=0.5, **arguments):
    """What `fit` reports of one step of plain gradient descent on one batch, and how far each bias moves per unit of rate."""
    before = {layer.name: layer.get_weights()[1] for layer in model.layers if layer.name in NAMES}
    model.optimizer.learning_rate = rate
    history = model.fit(x, y, batch_size=len(x), epochs=1, verbose=0, **arguments).history
    moved = {name: (bias - model.get_layer(name).get_weights()[1]) / rate for name, bias in before.items()}
    return {name: values[0] for name, values in history.items()}, moved


def padded_sequences(kind):
    """An input with padding (one sequence is nothing else), its mask, and a model with a head for each loss."""
    generator = np.random.default_rng(0)
    mask = np.arange(TIME) < np.array([[6], [3], [0], [4]])
    if kind == "embedding":
        x, inputs = generator.integers(1, 9, (BATCH, TIME)) * mask, keras.Input((TIME,))
        hidden = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
    else:
        x, inputs = generator.normal(size=(BATCH, TIME, 3)) * mask[..., None], keras.Input((TIME, 3))
        hidden = keras.layers.Masking()(inputs)
    hidden = keras.layers.LSTM(4, return_sequences=True)(hidden)
    # kernels of 0: every position's logits are the biases, until the step
    heads = {name: keras.layers.Dense(CLASSES, kernel_initializer="zeros", name=name) for name in NAMES}
    heads = {name: head(hidden) for name, head in heads.items()}
    return x.astype("float32"), mask, keras.Model(inputs, heads)


RUNS = {
    "tensorflow": [("embedding", {"jit_compile": False}), ("masking", {"run_eagerly": True})],  # XLA: minutes for the LSTM
    "jax": [("embedding", {}), ("masking", {})],
    "torch": [("embedding", {}), ("masking", {})],
}[BACKEND]


@pytest.mark.parametrize(("kind", "how"), RUNS)
def test_masks_and_weights_of_several_outputs(kind, how):
    """Padding labels that are no classes, and NaN among dense targets, lie under the mask."""
    keras.utils.set_random_seed(0)
    x, mask, model = padded_sequences(kind)
    generator = np.random.default_rng(1)
    labels = generator.integers(0, CLASSES, (BATCH, TIME))
    dense = np.where(mask[..., None], one_hot(labels, CLASSES), np.nan).astype("float32")
    y = {name: np.where(mask, labels, PADDING) if name in CLASS_IDS else dense for name in NAMES}
    shapes = [(BATCH,), (BATCH, TIME), (BATCH, 1), (BATCH, TIME)]
    weights = {name: generator.integers(0, 3, shapes[i % 4]).astype("float32") for i, name in enumerate(NAMES)}
    loss_weights = {name: 0.25 * (i + 1) for i, name in enumerate(NAMES)}
    model.compile("sgd", loss={name: loss_of(name) for name in NAMES}, loss_weights=loss_weights, **how)
    biases = {name: generator.normal(size=CLASSES).astype("float32") for name in NAMES}
    for name, bias in biases.items():
        model.get_layer(name).set_weights([np.zeros((4, CLASSES)), bias])
    reported, moved = one_step(model, x, y, sample_weight=weights)
    total = 0.0
    for name in NAMES:
        right, pull = right_loss_and_pull(name, y[name], np.tile(biases[name], (BATCH, TIME, 1)), weights[name], mask)
        total += loss_weights[name] * right
        assert error_in_bounds(reported[f"{name}_loss"], right, "float32", 120, 10, 1.0) <= 1, name
        assert error_in_bounds(moved[name], loss_weights[name] * pull, "float32", 120, 10, 1.0) <= 1, name
    assert error_in_bounds(reported["loss"], total, "float32", 960, 10, 1.0) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_class_weight_in_fit(name):
    """Weights by label multiply with the loss's own; `fit` knows them for (B,) ids and (B, K) targets."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(2)
    x, labels = generator.normal(size=(8, 3)).astype("float32"), np.arange(8) % CLASSES
    y = labels if name in CLASS_IDS else one_hot(labels, CLASSES).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(CLASSES, name=name)])
    model.compile("sgd", loss=loss_of(name))
    logits = x.astype("float64") @ np.float64(model.layers[0].get_weights()[0])
    class_weight = {0: 0.5, 1: 2.0, 2: 0.0, 3: 1.0, 4: 3.0}
    right, pull = right_loss_and_pull(name, y, logits, np.vectorize(class_weight.get)(labels))
    reported, moved = one_step(model, x, y, class_weight=class_weight)
    assert error_in_bounds(reported["loss"], right, "float32", 40, 10, 1.0) <= 1
    assert error_in_bounds(moved[name], pull, "float32", 40, 10, 1.0) <= 1


@pytest.mark.parametrize("shape", [(BATCH, 1), (BATCH, TIME)])
@pytest.mark.parametrize("name", CLASS_IDS)
def test_class_weight_in_fit_on_more_axes(name, shape):
    """`fit` takes ids of shape (B, 1) for ids, and the last axis of any other array for classes: a weight for each sequence."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(3)
    x, labels = generator.normal(size=(*shape, 3)).astype("float32"), generator.integers(0, CLASSES, shape)
    model = keras.Sequential([keras.Input((shape[1], 3)), keras.layers.Dense(CLASSES, name=name)])
    model.compile("sgd", loss=loss_of(name))
    logits = x.astype("float64") @ np.float64(model.layers[0].get_weights()[0])
    class_weight = {0: 0.5, 1: 2.0, 2: 0.0, 3: 1.0, 4: 3.0}
    weights = np.vectorize(lambda index: class_weight.get(index, 1.0))(labels[:, 0] if shape[1] == 1 else labels.argmax(-1))
    right, pull = right_loss_and_pull(name, labels, logits, weights)
    reported, moved = one_step(model, x, labels, class_weight=class_weight)
    assert error_in_bounds(reported["loss"], right, "float32", 120, 10, 1.0) <= 1
    assert error_in_bounds(moved[name], pull, "float32", 120, 10, 1.0) <= 1

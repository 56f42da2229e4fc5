"""Through `compile`, `fit` and `evaluate`: the same curves as the built-in losses, masks and weights included."""

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import reference
from keras_xent.parity.bounds import error_in_bounds

from .cases import one_hot, softmax

RUNS = {
    "dense": ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "linear"),
    "dense, probabilities": ("CategoricalCrossentropy", {}, "softmax"),
    "sparse": ("SparseCategoricalCrossentropy", {"from_logits": True}, "linear"),
    "sparse, probabilities": ("SparseCategoricalCrossentropy", {}, "softmax"),
    "binary": ("BinaryCrossentropy", {"from_logits": True}, "linear"),
    "binary, probabilities": ("BinaryCrossentropy", {}, "sigmoid"),
    "focal": ("CategoricalFocalCrossentropy", {"from_logits": True, "alpha": [1.0, 2.0, 3.0, 1.0]}, "linear"),
    "focal, probabilities": ("CategoricalFocalCrossentropy", {"gamma": 1.5}, "softmax"),
    "binary focal": ("BinaryFocalCrossentropy", {"from_logits": True, "apply_class_balancing": True}, "linear"),
    "binary focal, probabilities": ("BinaryFocalCrossentropy", {"gamma": 0.5}, "sigmoid"),
    "divergence": ("KLDivergence", {}, "softmax"),
    "generalized": ("CategoricalGeneralizedCrossEntropy", {"q": 0.3}, "softmax"),
}


def data(rows=48, classes=4):
    """Inputs, and labels that can be learned from them."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 6)).astype("float32")
    return x, (x @ generator.normal(size=(6, classes))).argmax(-1)


def model_of(activation, classes=4):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(classes, activation=activation)]
    )


def curve(loss, activation, y, **arguments):
    x, _ = data()
    model = model_of(activation)
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    history = model.fit(x, y, epochs=4, batch_size=16, shuffle=False, verbose=0, **arguments).history["loss"]
    return np.array([*history, model.evaluate(x, y, verbose=0)])


@pytest.mark.parametrize("run", RUNS)
def test_training_curves_equal_those_of_keras(run):
    name, options, activation = RUNS[run]
    labels = data()[1]
    y = labels if name.startswith("Sparse") or "Generalized" in name else one_hot(labels, 4).astype("float32")
    weights = np.random.default_rng(2).uniform(0.5, 2.0, size=48)
    ours = curve(getattr(keras_xent, name)(**options), activation, y, sample_weight=weights)
    theirs = curve(getattr(keras.losses, name)(**options), activation, y, sample_weight=weights)
    # each of 12 steps rounds anew, and the next starts from there
    assert error_in_bounds(ours, theirs, "float32", terms=48 * 12) <= 1
    assert ours[-1] != ours[0]


def test_training_with_class_weight():
    labels = data()[1]
    class_weight = {0: 1.0, 1: 3.0, 2: 0.5, 3: 2.0}
    inside = curve(keras_xent.SparseCategoricalCrossentropy(True, class_weight=class_weight), "linear", labels)
    outside = curve(keras_xent.SparseCategoricalCrossentropy(True), "linear", labels, class_weight=class_weight)
    theirs = curve(keras.losses.SparseCategoricalCrossentropy(True), "linear", labels, class_weight=class_weight)
    assert error_in_bounds(outside, theirs, "float32", terms=48 * 12) <= 1
    # `evaluate` knows no class weights, but the loss does
    assert error_in_bounds(inside[:-1], theirs[:-1], "float32", terms=48 * 12) <= 1


def test_the_history_is_the_mean_of_the_losses_before_each_step():
    """By hand, from the definition: forward, loss, gradient and a step of plain gradient descent, epoch after epoch."""
    x, labels = data()
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    kernel, bias = (np.float64(w) for w in model.get_weights())
    model.compile(keras.optimizers.SGD(0.5), loss=keras_xent.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(x, labels, epochs=5, batch_size=48, verbose=0).history["loss"]
    for epoch, reported in enumerate(history):
        logits = x @ kernel + bias
        by_hand = reference.sparse_categorical_crossentropy(labels, logits, from_logits=True).mean()
        assert error_in_bounds(reported, by_hand, "float32", terms=48 * (epoch + 1)) <= 1
        slopes = reference.sparse_categorical_crossentropy_gradient(labels, logits, from_logits=True) / 48
        kernel, bias = kernel - 0.5 * x.T @ slopes, bias - 0.5 * slopes.sum(0)


def sequence_model(classes=5):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.layers.Embedding(10, 8, mask_zero=True),
            keras.layers.LSTM(8, return_sequences=True),
            keras.layers.Dense(classes),
        ]
    )


@pytest.mark.parametrize("ignore_class", [None, 0])
def test_masks_through_fit(ignore_class):
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 10, (16, 7)), generator.integers(0, 5, (16, 7))
    weights = generator.uniform(size=(16, 7))
    curves = []
    for losses in (keras_xent, keras.losses):
        model = sequence_model()
        model.compile("sgd", loss=losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=ignore_class))
        history = model.fit(x, y, sample_weight=weights, epochs=2, batch_size=8, shuffle=False, verbose=0).history["loss"]
        curves.append([*history, model.evaluate(x, y, verbose=0)])
    assert error_in_bounds(*curves, "float32", terms=16 * 7 * 5) <= 1


def test_invalid_labels_under_a_mask_do_not_count():
    generator = np.random.default_rng(0)
    x, y = generator.integers(1, 10, (8, 7)), generator.integers(0, 5, (8, 7))
    x[:, 4:] = 0
    scores = []
    for padding in (0, -100):
        y[:, 4:] = padding
        model = sequence_model()
        model.compile("sgd", loss=keras_xent.SparseCategoricalCrossentropy(from_logits=True))
        scores.append(model.evaluate(x, y, verbose=0))
    assert scores[0] == scores[1] and np.isfinite(scores[0])


def test_several_outputs_with_a_loss_each():
    x, labels = data()
    inputs = keras.Input((6,))
    outputs = {"kind": keras.layers.Dense(4, name="kind")(inputs), "flag": keras.layers.Dense(1, name="flag")(inputs)}
    results = []
    for losses in (keras_xent, keras.losses):
        keras.utils.set_random_seed(1)
        model = keras.models.clone_model(keras.Model(inputs, outputs))
        model.compile(
            "sgd",
            loss={"kind": losses.SparseCategoricalCrossentropy(True), "flag": losses.BinaryCrossentropy(True)},
            loss_weights={"kind": 1.0, "flag": 0.3},
        )
        keras.utils.set_random_seed(1)
        model.set_weights([np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(model.get_weights())])
        y = {"kind": labels, "flag": (labels > 1).astype("float32")}
        results.append(model.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=0).history["loss"])
    assert error_in_bounds(*results, "float32", terms=48 * 6) <= 1


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    x, labels = data()
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = model_of("linear")
        model.compile("sgd", loss=keras_xent.SparseCategoricalCrossentropy(from_logits=True))
        history = model.fit(x, labels, epochs=3, verbose=0).history["loss"]
    finally:
        keras.config.set_dtype_policy(previous)
    assert history[-1] < history[0]


def test_a_student_learns_from_its_teachers_softmax():
    """Packed soft and hard targets, weights and a metric on the hard labels, through `fit` and a saved model."""
    x, labels = data()
    teacher = softmax(3.0 * one_hot(labels, 4) + np.random.default_rng(4).normal(size=(48, 4)))
    y = keras_xent.pack_targets(teacher, labels)
    model = model_of("linear")
    model.compile(
        keras.optimizers.Adam(0.05),
        loss=keras_xent.DistillationLoss(2.0, targets="probs", labels="sparse", label_weight=0.3),
        metrics=[keras_xent.distill.on_labels("sparse_categorical_accuracy")],
    )
    history = model.fit(x, y, epochs=30, verbose=0, sample_weight=np.ones(48)).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["sparse_categorical_accuracy"][-1] > 0.8
    loss, accuracy = model.evaluate(x, y, verbose=0)
    logits = model.predict(x, verbose=0)
    expected = reference.distillation_loss(
        teacher, logits, 2.0, targets="probs", labels="sparse", label_weight=0.3, hard_labels=labels
    )
    assert error_in_bounds(loss, expected.mean(), "float32", terms=48 * 4, span=10, floor=4.0) <= 1
    assert abs(accuracy - (logits.argmax(-1) == labels).mean()) < 1e-6

"""Healthy models of many kinds: nothing is found."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import keras_xent

from ..backends import DTYPES
from .models import (
    BUILDERS,
    CLASSES,
    FEATURES,
    ONE_HOT,
    PADDED,
    ROWS,
    STEPS,
    TOKENS,
    WORDS,
    YES,
    X,
    Y,
    codes,
    dense,
    mlp,
    saying,
    tagger,
    trained,
)

RNG = np.random.default_rng(4)
LIBRARIES = {"ours": keras_xent, "keras": keras.losses}
SMOOTH = 0.9 * ONE_HOT + 0.1 / CLASSES
# Each loss with targets for it, and the activation that it wants from probabilities.
LOSSES = {
    "SparseCategoricalCrossentropy": (Y, "softmax"),
    "CategoricalCrossentropy": (ONE_HOT, "softmax"),
    "CategoricalFocalCrossentropy": (SMOOTH, "softmax"),
    "BinaryCrossentropy": (RNG.integers(0, 2, (ROWS, CLASSES)), "sigmoid"),
    "BinaryFocalCrossentropy": (RNG.integers(0, 2, (ROWS, CLASSES)), "sigmoid"),
    "KLDivergence": (SMOOTH, "softmax"),
    "CategoricalGeneralizedCrossEntropy": (Y, "softmax"),
}


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(kind, library, name):
    y, activation = LOSSES[name]
    loss = getattr(library, name)
    assert codes(BUILDERS[kind](activation), X, y, loss()) == []
    if library is keras_xent or name not in ("KLDivergence", "CategoricalGeneralizedCrossEntropy"):
        assert codes(BUILDERS[kind](), X, y, loss(from_logits=True)) == []


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tiny_batches(rows):
    for seed in range(5):
        logits, softmax = mlp(seed=seed), mlp("softmax", seed=seed)
        assert codes(logits, X[:rows], Y[:rows], keras_xent.SparseCategoricalCrossentropy(from_logits=True)) == []
        assert codes(softmax, X[:rows], ONE_HOT[:rows], "categorical_crossentropy") == []
        assert codes(mlp("sigmoid", 1, seed=seed), X[:rows], YES[:rows], "binary_crossentropy") == []
        assert codes(mlp(None, 1, seed=seed), X[:rows], YES[:rows], keras.losses.BinaryCrossentropy(from_logits=True)) == []


def test_no_examples():
    assert codes(mlp(), X[:0], Y[:0], keras_xent.SparseCategoricalCrossentropy(from_logits=True)) == []


@pytest.mark.parametrize("kernel", ["zeros", "ones"])
def test_untrained_heads(kernel):
    """Logits that are all the same are no distribution."""
    for units, y, loss in (
        (CLASSES, Y, keras_xent.SparseCategoricalCrossentropy(from_logits=True)),
        (1, YES, keras_xent.BinaryCrossentropy(from_logits=True)),
    ):
        model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(units, kernel_initializer=kernel)])
        assert codes(model, X, y, loss) == []


def test_label_smoothing_and_class_weights():
    for library in (keras_xent, keras.losses):
        assert codes(mlp("softmax"), X, ONE_HOT, library.CategoricalCrossentropy(label_smoothing=0.1)) == []
    weighted = keras_xent.SparseCategoricalCrossentropy(class_weight={0: 3.0}, label_smoothing=0.1)
    assert codes(mlp("softmax"), X, Y, weighted) == []
    assert codes(mlp("sigmoid"), X, ONE_HOT, keras_xent.BinaryCrossentropy(pos_weight=3.0)) == []
    weights = np.array([1.0, 2.0, 3.0, 4.0])[Y]  # what `fit(class_weight=...)` makes of it
    assert codes(mlp("softmax"), X, Y, "sparse_categorical_crossentropy", sample_weight=weights) == []


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_sequences_with_masks(activation):
    y = RNG.integers(0, CLASSES, (ROWS, STEPS))
    for library in (keras_xent, keras.losses):
        loss = library.SparseCategoricalCrossentropy(from_logits=activation is None)
        model = tagger(
            activation, mask_zero=True, between=[keras.layers.GRU(8, return_sequences=True), keras.layers.Dropout(0.5)]
        )
        assert codes(model, PADDED, y, loss) == codes(model, TOKENS, y, loss) == []
        assert codes(model, PADDED, y[..., None], loss) == []
        assert codes(tagger(activation, mask_zero=True, between=[keras.layers.LSTM(8)]), PADDED, Y, loss) == []
        weights = (PADDED != 0).astype("float32")
        assert codes(tagger(activation), PADDED, y, loss, sample_weight=weights) == []


@pytest.mark.parametrize("steps", [STEPS, STEPS + 2])
@pytest.mark.parametrize("attends", [False, True])
def test_padding_of_another_sequence(attends, steps):
    """What an encoder masks is no padding of what the decoder says, even if both are as long."""
    source, target = keras.Input((STEPS,), dtype="int32"), keras.Input((steps,), dtype="int32")
    encoded = keras.layers.Embedding(WORDS, 8, mask_zero=True)(source)
    decoded = keras.layers.Embedding(WORDS, 8)(target)
    if attends:
        decoded = Unmasked()(keras.layers.Attention()([decoded, encoded]))
    else:
        decoded = keras.layers.GRU(8, return_sequences=True)(decoded, initial_state=keras.layers.GRU(8)(encoded))
    model = keras.Model([source, target], dense(WORDS)(decoded))
    y = RNG.integers(0, WORDS, (ROWS, steps))
    assert codes(model, [PADDED, y], y, keras_xent.SparseCategoricalCrossentropy(from_logits=True)) == []


class Unmasked(keras.layers.Layer):
    """Hands no mask on."""

    def call(self, inputs):
        return inputs

    def compute_mask(self, inputs, previous_mask=None):
        del inputs, previous_mask


def test_an_answer_of_as_many_steps_as_the_question():
    """Between them there is one state for all steps."""
    between = [keras.layers.GRU(8), keras.layers.RepeatVector(STEPS), keras.layers.GRU(8, return_sequences=True)]
    model = tagger(mask_zero=True, between=between)
    assert codes(model, PADDED, TOKENS % CLASSES, keras_xent.SparseCategoricalCrossentropy(from_logits=True)) == []
    nested = keras.Sequential([keras.Input((STEPS,), dtype="int32"), model, keras.layers.Identity()])
    assert codes(nested, PADDED, TOKENS % CLASSES, keras_xent.SparseCategoricalCrossentropy(from_logits=True)) == []


def test_time_distributed_and_bidirectional():
    head = keras.layers.TimeDistributed(dense(activation="softmax"))
    inputs = keras.Input((STEPS, FEATURES))
    model = keras.Model(inputs, head(keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True))(inputs)))
    x, y = RNG.normal(size=(8, STEPS, FEATURES)), RNG.integers(0, CLASSES, (8, STEPS))
    assert codes(model, x, y, "sparse_categorical_crossentropy") == []


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_segmentation(activation):
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(CLASSES, 3, padding="same", activation=activation)])
    x, y = RNG.normal(size=(6, 4, 4, 3)), RNG.integers(0, CLASSES, (6, 4, 4))
    for library in (keras_xent, keras.losses):
        loss = library.SparseCategoricalCrossentropy(from_logits=activation is None)
        assert codes(model, x, y, loss) == codes(model, x, y[..., None], loss) == []
        assert codes(model, x, y, loss, sample_weight=np.ones((6, 4, 4))) == []
        loss = library.SparseCategoricalCrossentropy(from_logits=activation is None, ignore_class=255)
        assert codes(model, x, np.where(y == 0, 255, y), loss) == []
        dense_loss = library.CategoricalCrossentropy(from_logits=activation is None)
        assert codes(model, x, np.eye(CLASSES)[y], dense_loss) == []
        binary = library.BinaryCrossentropy(from_logits=True)
        if activation is None:
            assert codes(model, x, np.eye(CLASSES)[y], binary) == []


def test_classes_along_another_axis():
    model = keras.Sequential([keras.Input((CLASSES, 3)), keras.layers.Softmax(axis=1)])
    x, y = RNG.normal(size=(8, CLASSES, 3)), RNG.integers(0, CLASSES, (8, 3))
    assert codes(model, x, y, keras_xent.SparseCategoricalCrossentropy(axis=1)) == []
    assert codes(saying((CLASSES, 3)), x, y, keras_xent.SparseCategoricalCrossentropy(axis=1, from_logits=True)) == []
    one_hot = np.swapaxes(np.eye(CLASSES)[y], 1, 2)
    assert codes(model, x, one_hot, keras.losses.CategoricalCrossentropy(axis=1)) == []


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", *(["float64"] if "float64" in DTYPES else [])])
def test_other_dtypes(dtype):
    layers = [keras.Input((FEATURES,)), keras.layers.Dense(8, activation="relu", dtype=dtype)]
    logits = keras.Sequential([*layers, keras.layers.Dense(CLASSES, dtype=dtype)])
    softmax = keras.Sequential([*layers, keras.layers.Dense(300, activation="softmax", dtype=dtype)])
    float32 = keras.Sequential([*layers, keras.layers.Dense(CLASSES, dtype=dtype), keras.layers.Softmax(dtype="float32")])
    for library in (keras_xent, keras.losses):
        assert codes(logits, X, Y, library.SparseCategoricalCrossentropy(from_logits=True)) == []
        assert codes(softmax, X, Y, library.SparseCategoricalCrossentropy()) == []
        assert codes(float32, X, Y, library.SparseCategoricalCrossentropy()) == []


@pytest.mark.parametrize("classes", [2, 50_000])
def test_vocabularies(classes):
    logits = RNG.normal(size=(4, classes)).astype("float32") * 5
    probs = ops.softmax(logits)
    y = RNG.integers(0, classes, 4)
    for library in (keras_xent, keras.losses):
        assert codes(saying((classes,)), logits, y, library.SparseCategoricalCrossentropy(from_logits=True)) == []
        if classes == 2:  # of 50,000, some have less than ε
            assert codes(saying((classes,)), probs, y, library.SparseCategoricalCrossentropy()) == []
    assert codes(saying((classes,)), probs, y, keras_xent.SparseCategoricalCrossentropy()) == []


def test_log_probabilities_are_logits():
    model = mlp(behind=[keras.layers.Activation("log_softmax")])
    assert codes(model, X, Y, keras.losses.SparseCategoricalCrossentropy(from_logits=True)) == []


def test_targets_as_they_come():
    model = mlp("softmax")
    for y in (Y.tolist(), ops.convert_to_tensor(Y), Y[:, None], Y.astype("float32"), Y.astype("int8")):
        assert codes(model, X.tolist(), y, "sparse_categorical_crossentropy") == []
    for y in (ONE_HOT.tolist(), ops.convert_to_tensor(ONE_HOT), ONE_HOT.astype(int), ONE_HOT.astype(bool)):
        assert codes(model, ops.convert_to_tensor(X), y, "categorical_crossentropy") == []
    for y in (YES.tolist(), YES[:, 0], YES.astype(bool)):
        assert codes(mlp("sigmoid", 1), X, y, "binary_crossentropy") == []


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "cosine_similarity", keras.losses.Hinge(), lambda y, p: ops.mean(p - y)])
def test_losses_that_are_not_our_business(loss):
    assert codes(mlp(), X, ONE_HOT * 100, loss) == []
    model = mlp()
    model.compile("sgd", loss)
    assert codes(model, X, ONE_HOT * 100) == []


class OfLogits(keras.losses.CategoricalCrossentropy):
    """Means something else than its parent."""

    def call(self, y_true, y_pred):
        return keras.losses.categorical_crossentropy(y_true, y_pred, from_logits=True)


def test_losses_of_your_own():
    assert codes(mlp(), X, ONE_HOT, OfLogits()) == []
    assert codes(mlp(), X, ONE_HOT, functools.partial(keras.losses.categorical_crossentropy, from_logits=True)) == []
    assert codes(mlp("softmax"), X, ONE_HOT, functools.partial(keras.losses.categorical_crossentropy, from_logits=True)) == [
        "double-softmax"
    ]


def two_outputs(structure, **activations):
    inputs = keras.Input((FEATURES,))
    a = dense(activation=activations.get("a"), name="a")(inputs)
    b = dense(1, activation=activations.get("b"), name="b")(inputs)
    return keras.Model(inputs, {"dict": {"b": b, "a": a}, "list": [a, b]}[structure])


@pytest.mark.parametrize("structure", ["dict", "list"])
def test_several_outputs(structure):
    loss = {"a": keras_xent.SparseCategoricalCrossentropy(from_logits=True), "b": "binary_crossentropy"}
    y = {"a": Y, "b": YES}
    weights = {"a": np.ones(ROWS), "b": np.ones(ROWS)}
    if structure == "list":
        variants = [
            (loss, y, weights),
            (list(loss.values()), list(y.values()), list(weights.values())),
            (loss, list(y.values()), None),
        ]
    else:
        variants = [(loss, y, weights), (loss, y, None)]
    for its_loss, targets, its_weights in variants:
        assert codes(two_outputs(structure, b="sigmoid"), X, targets, its_loss, sample_weight=its_weights) == []
        (finding,) = keras_xent.diagnose(two_outputs(structure, a="softmax", b="sigmoid"), X, targets, its_loss)
        assert finding.code == "double-softmax" and finding.evidence.startswith("output 'a': ")
        (finding,) = keras_xent.diagnose(two_outputs(structure), X, targets, its_loss)
        assert finding.code == "logits-as-probs" and finding.evidence.startswith("output 'b': ")
    assert codes(two_outputs(structure), X, y, {"a": loss["a"]}) == []
    model = two_outputs(structure, b="sigmoid")
    model.compile("sgd", loss)
    assert codes(model, X, y) == []


def test_several_inputs():
    one, other = keras.Input((FEATURES,), name="one"), keras.Input((FEATURES,), name="other")
    model = keras.Model({"one": one, "other": other}, dense(activation="softmax")(one + other))
    assert codes(model, {"one": X, "other": X}, Y, "sparse_categorical_crossentropy") == []


def test_trained_models_on_what_they_have_not_seen():
    """Sure of themselves, and now and then wrong."""
    x = RNG.normal(size=(64, FEATURES)).astype("float32")
    y = (x @ RNG.normal(size=(FEATURES, CLASSES))).argmax(-1)
    from_logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logits, softmax = (trained(x[:32], y[:32], activation, scale=3.0) for activation in (None, "softmax"))
    assert codes(logits, x[32:], y[32:], from_logits) == []
    assert codes(softmax, x[32:], y[32:], "sparse_categorical_crossentropy") == []


@pytest.mark.parametrize("targets", ["logits", "probs", "log_probs"])
@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "jsd", "crossentropy"])
def test_distillers(targets, divergence):
    behind = {"logits": [], "probs": [keras.layers.Softmax()], "log_probs": [keras.layers.Activation("log_softmax")]}[targets]
    distiller = keras_xent.distill.Distiller(
        teacher=mlp(seed=7, behind=behind),
        student=mlp(),
        distillation_loss=keras_xent.DistillationLoss(targets=targets, divergence=divergence),
        temperature=keras.optimizers.schedules.ExponentialDecay(4.0, 10, 0.9),
    )
    distiller.compile("sgd", loss="sparse_categorical_crossentropy")
    assert codes(distiller, X, Y) == ["logits-as-probs"]
    distiller.compile("sgd", loss=keras_xent.SparseCategoricalCrossentropy(from_logits=True))
    assert codes(distiller, X, Y) == []

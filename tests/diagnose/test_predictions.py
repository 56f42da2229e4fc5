"""What a model's outputs are, against what its loss takes them for: each mistake is found, and is gone once it is mended."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_xent

from ..backends import array, tensor, value_and_gradient
from .models import (
    BUILDERS,
    CLASSES,
    FEATURES,
    ONE_HOT,
    PADDED,
    ROWS,
    STEPS,
    YES,
    X,
    Y,
    codes,
    mlp,
    saying,
    subclassed,
    tagger,
    trained,
)

LOSSES_FROM_LOGITS = [
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
]
LIBRARIES = {"ours": keras_xent, "keras": keras.losses}


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
@pytest.mark.parametrize("loss", ["SparseCategoricalCrossentropy", "CategoricalCrossentropy", "CategoricalFocalCrossentropy"])
def test_softmax_and_from_logits(kind, library, loss):
    y, loss = (Y if "Sparse" in loss else ONE_HOT), getattr(library, loss)
    assert codes(BUILDERS[kind]("softmax"), X, y, loss(from_logits=True)) == ["double-softmax"]
    assert codes(BUILDERS[kind]("softmax"), X, y, loss()) == []
    assert codes(BUILDERS[kind](None), X, y, loss(from_logits=True)) == []
    assert codes(BUILDERS[kind](None), X, y, loss()) == ["logits-as-probs"]


def test_the_floor_under_a_double_softmax():
    """Says what is measured."""
    (finding,) = keras_xent.diagnose(saying((3,)), np.eye(3), np.arange(3), keras.losses.SparseCategoricalCrossentropy(True))
    floor = float(keras.losses.SparseCategoricalCrossentropy(True)(np.arange(3), np.eye(3, dtype="float32")))
    assert f"still costs {floor:.4g}" in finding.evidence and finding.severity == "error"


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("loss", ["BinaryCrossentropy", "BinaryFocalCrossentropy"])
@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_sigmoid_and_from_logits(kind, library, loss):
    loss = getattr(library, loss)
    assert codes(BUILDERS[kind]("sigmoid", 1), X, YES, loss(from_logits=True)) == ["double-sigmoid"]
    assert codes(BUILDERS[kind]("sigmoid", 1), X, YES, loss()) == []
    assert codes(BUILDERS[kind](None, 1), X, YES, loss(from_logits=True)) == []
    assert codes(BUILDERS[kind](None, 1), X, YES, loss()) == ["logits-as-probs"]


def test_logits_that_happen_to_lie_between_0_and_1():
    """An untrained layer of zeros is told by its layer."""
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    assert codes(model, X, YES, "binary_crossentropy") == ["logits-as-probs"]
    assert codes(model, X, YES, keras.losses.BinaryCrossentropy(from_logits=True)) == []


@pytest.mark.parametrize("behind", ["activation", "softmax", "reshape", "float32", "nested"])
def test_the_layer_behind_others_is_found(behind):
    float32 = keras.layers.Activation("linear", dtype="float32")
    layers = {
        "activation": [keras.layers.Activation("softmax")],
        "softmax": [keras.layers.Softmax()],
        "reshape": [keras.layers.Softmax(), keras.layers.Reshape((CLASSES,))],
        "float32": [keras.layers.Softmax(), float32],
        "nested": [keras.Sequential([keras.Input((CLASSES,)), keras.layers.Softmax()])],
    }
    (finding,) = keras_xent.diagnose(mlp(behind=layers[behind]), X, Y, keras.losses.SparseCategoricalCrossentropy(True))
    assert finding.code == "double-softmax" and "activation 'softmax'" in finding.evidence


def test_functions_and_names_of_losses():
    for loss in ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy", "crossentropy", "ce"):
        assert codes(mlp(), X, Y, loss) == ["logits-as-probs"], loss
        assert codes(mlp("softmax"), X, Y, loss) == [], loss
    for function in (
        keras_xent.categorical_crossentropy,
        keras.losses.kl_divergence,
        keras.losses.categorical_focal_crossentropy,
    ):
        assert codes(mlp(), X, ONE_HOT, function) == ["logits-as-probs"], function
        assert codes(mlp("softmax"), X, ONE_HOT, function) == [], function


def test_the_loss_that_was_compiled():
    model = mlp("softmax")
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert codes(model, X, Y) == ["double-softmax"]
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    assert codes(model, X, Y) == []


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis", "ignore:Exception encountered")
@pytest.mark.parametrize("loss", ["categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy"])
@pytest.mark.parametrize("kind", BUILDERS)
def test_softmax_over_one_column(kind, loss):
    y = YES if loss != "sparse_categorical_crossentropy" else YES[:, 0].astype(int)
    found = keras_xent.diagnose(BUILDERS[kind]("softmax", 1), X, y, loss)
    assert [finding.code for finding in found if finding.code != "label-out-of-range"] == ["one-column-softmax"]
    assert codes(BUILDERS[kind]("sigmoid", 1), X, YES, "binary_crossentropy") == []


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis", "ignore:Exception encountered")
def test_a_softmax_over_one_column_that_is_not_quite_1():
    """As some processors' kernels have it, whose reciprocals are rounded."""

    class NotQuite(type(subclassed())):
        def call(self, inputs):
            return super().call(inputs) * (1 - 2.0**-24)

    model = NotQuite("softmax", 1)
    assert (ops.convert_to_numpy(model(X)) < 1).all()
    assert codes(model, X, YES, "binary_crossentropy") == ["one-column-softmax"]


@pytest.mark.parametrize("kind", BUILDERS)
def test_sigmoid_with_a_loss_over_classes(kind):
    assert codes(BUILDERS[kind]("sigmoid"), X, ONE_HOT, "categorical_crossentropy") == ["sigmoid-with-categorical"]
    assert codes(BUILDERS[kind]("softmax"), X, ONE_HOT, "categorical_crossentropy") == []
    assert codes(BUILDERS[kind]("sigmoid"), X, ONE_HOT, "binary_crossentropy") == []


def test_softmax_with_a_binary_loss():
    assert codes(mlp("softmax"), X, ONE_HOT, "binary_crossentropy") == ["softmax-with-binary"]
    assert codes(mlp("softmax"), X, ONE_HOT, "categorical_crossentropy") == []


def test_softmax_over_another_axis():
    model = tagger("softmax", between=())
    wrong = keras.Sequential([model, keras.layers.Permute((2, 1))])  # the classes are along axis 1 now
    y = np.eye(STEPS)[np.zeros((ROWS, CLASSES), int)]
    assert codes(wrong, PADDED, y, keras_xent.CategoricalCrossentropy()) == ["softmax-axis"]
    y = np.zeros((ROWS, STEPS), int)
    assert codes(wrong, PADDED, y, keras_xent.SparseCategoricalCrossentropy(axis=1)) == []


def exact(logits, binary):
    """Probabilities behind which TensorFlow cannot look."""
    powers = ops.exp(logits)
    return powers / (1 + powers) if binary else powers / ops.sum(powers, axis=-1, keepdims=True)


FROM_PROBS = [*LOSSES_FROM_LOGITS, "KLDivergence", "CategoricalGeneralizedCrossEntropy"]
CASES = [(name, False) for name in FROM_PROBS] + [(name, True) for name in LOSSES_FROM_LOGITS]


@pytest.mark.parametrize("logit", [-5.0, -30.0, -120.0])  # the last one underflows
@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
@pytest.mark.parametrize(("name", "from_logits"), CASES)
def test_a_gradient_is_dead_where_it_is_said_to_be(name, from_logits, library, logit):
    binary, options = name.startswith("Binary"), {"from_logits": True} if from_logits else {}
    loss, sparse = getattr(library, name)(**options), name.startswith("Sparse") or "Generalized" in name
    logits = np.array([[logit]] if binary else [[logit, 0.0]], "float32")
    y = np.array([0]) if sparse else np.array([[1.0]] if binary else [[1.0, 0.0]], "float32")

    def of_logits(z):
        return loss(y, z if from_logits else exact(z, binary))

    _, gradient = value_and_gradient(of_logits, tensor(logits))
    dead = not abs(array(gradient)[0, 0]) > 1e-9  # NaN is none either
    x = logits if from_logits else ops.convert_to_numpy(exact(logits, binary))
    assert codes(saying(x.shape[1:]), x, y, loss) == (["saturated"] if dead else [])


def test_saturated_softmax():
    logits = np.array([[-30.0, 0.0], [-40.0, 0.0], [0.0, -1.0]], "float32")
    y, probs = np.array([0, 0, 0]), ops.convert_to_numpy(ops.softmax(logits))
    (finding,) = keras_xent.diagnose(saying((2,)), probs, y, keras.losses.SparseCategoricalCrossentropy())
    assert finding.code == "saturated" and "2 of 3 predictions are wrong" in finding.evidence
    assert codes(saying((2,)), probs, y, keras_xent.SparseCategoricalCrossentropy(saturated_gradient="zero")) == ["saturated"]
    assert codes(saying((2,)), logits, y, keras.losses.SparseCategoricalCrossentropy(from_logits=True)) == []


def test_saturated_softmax_layer():
    """TensorFlow alone looks behind the layer for the logits, whose gradient is alive."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
    x, y = np.array([[-30.0, 0.0]]), np.array([0])
    expected = [] if keras.backend.backend() == "tensorflow" else ["saturated"]
    assert codes(model, x, y, keras.losses.SparseCategoricalCrossentropy()) == expected
    assert codes(model, x, np.array([[1.0, 0.0]]), keras.losses.KLDivergence()) == ["saturated"]


def test_saturated_sigmoid():
    probs = np.array([[0.0], [1.0], [0.5]])
    assert codes(saying((1,)), probs, 1 - np.round(probs), keras.losses.BinaryCrossentropy()) == ["saturated"]
    assert codes(saying((1,)), probs, np.round(probs), keras.losses.BinaryCrossentropy()) == []


def test_nan_and_infinity():
    logits, loss = np.array([[0.0, 1.0], [0.0, -np.inf]]), keras_xent.SparseCategoricalCrossentropy(from_logits=True)
    y = np.array([0, 0])
    assert codes(saying((2,)), logits, y, loss) == []  # a class that is ruled out
    for wrong in (np.nan, np.inf):
        for rows in ([[0.0, wrong], [0.0, 1.0]], [[wrong, wrong]] * 2):
            assert codes(saying((2,)), np.array(rows), y, loss) == ["non-finite-predictions"]
            for activation in ("softmax", "sigmoid", None):
                assert codes(mlp(activation), np.full_like(X, wrong), Y, "sparse_categorical_crossentropy") == [
                    "non-finite-predictions"
                ]
    masked = codes(saying((2,)), np.array([[0.0, np.nan], [0.0, 3.0]]), y, loss, sample_weight=np.array([0.0, 1.0]))
    assert masked == []


def test_a_confident_model_that_is_right():
    assert codes(trained(), X, Y, keras.losses.SparseCategoricalCrossentropy(from_logits=True)) == []
    sure = trained(behind=[keras.layers.Rescaling(100.0), keras.layers.Softmax()])
    for loss in (keras.losses.SparseCategoricalCrossentropy(), keras_xent.SparseCategoricalCrossentropy()):
        assert codes(sure, X, Y, loss) == []


def test_a_subclassed_model_is_judged_by_numbers():
    """A sigmoid that is not the last layer makes no logits of zero and more suspicious."""
    assert codes(subclassed("relu", 1), X, YES, keras_xent.BinaryCrossentropy(from_logits=True)) == []

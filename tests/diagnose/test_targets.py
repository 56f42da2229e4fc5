"""Targets that are not what the loss takes."""

import keras
import numpy as np
import pytest

import keras_xent

from .models import CLASSES, ONE_HOT, YES, X, Y, codes, mlp, saying

SPARSE, DENSE, BINARY = "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"


@pytest.mark.parametrize(
    "loss", [SPARSE, keras_xent.SparseCategoricalCrossentropy(), keras_xent.SparseCategoricalFocalCrossentropy()]
)
def test_one_hot_with_sparse(loss):
    assert codes(mlp("softmax"), X, ONE_HOT, loss) == ["onehot-with-sparse"]
    assert codes(mlp("softmax"), X, ONE_HOT.argmax(-1), loss) == codes(mlp("softmax"), X, Y[:, None], loss) == []


@pytest.mark.parametrize("loss", [DENSE, "kl_divergence", keras_xent.CategoricalCrossentropy()])
def test_integers_with_dense(loss):
    assert codes(mlp("softmax"), X, Y, loss) == codes(mlp("softmax"), X, Y[:, None], loss) == ["integers-with-dense"]
    assert codes(mlp("softmax"), X, ONE_HOT, loss) == []


def test_integers_with_binary():
    assert codes(mlp("sigmoid"), X, Y, BINARY) == ["integers-with-dense"]
    assert codes(mlp("sigmoid"), X, ONE_HOT, BINARY) == []


def test_labels_that_keras_compares_with_every_row():
    name = "CategoricalGeneralizedCrossEntropy"
    assert codes(mlp("softmax"), X, Y[:, None], getattr(keras.losses, name)()) == ["shapes-differ"]
    assert codes(mlp("softmax"), X, Y, getattr(keras.losses, name)()) == []
    assert codes(mlp("softmax"), X, Y[:, None], getattr(keras_xent, name)()) == []


def test_shapes_that_fit_nothing():
    for loss in (SPARSE, DENSE, BINARY):
        activation = "sigmoid" if loss == BINARY else "softmax"
        assert codes(mlp(activation), X, np.eye(CLASSES + 1)[Y], loss) == ["shapes-differ"]


def test_labels_out_of_range():
    x = np.full((4, 3), 1 / 3)
    for wrong, remedy in (
        ([0, 1, 2, 3], "unit for every class"),
        ([1, 2, 3, 3], "subtract 1"),
        ([0, -100, 1, 2], "ignore_class=-100"),
    ):
        (finding,) = keras_xent.diagnose(saying((3,)), x, np.array(wrong), SPARSE)
        assert finding.code == "label-out-of-range" and remedy in finding.remedy
    assert "1 of 4 labels are no class id, the first -100 at position 1" in finding.evidence
    for loss in (
        keras.losses.SparseCategoricalCrossentropy(ignore_class=-100),
        keras_xent.SparseCategoricalCrossentropy(ignore_class=[-100, 7]),
        keras_xent.SparseCategoricalCrossentropy(invalid_labels="ignore"),
    ):
        assert codes(saying((3,)), x, np.array(wrong), loss) == []
    assert codes(saying((3,)), x, np.array(wrong), SPARSE, sample_weight=np.array([1, 0, 1, 1])) == []


def test_labels_of_all_examples_are_looked_at():
    x, y = np.full((40, 3), 1 / 3), np.zeros(40, int)
    y[35] = 3
    assert codes(saying((3,)), x, y, SPARSE, max_examples=4) == ["label-out-of-range"]


def test_answers_out_of_range():
    model = mlp("sigmoid", 1)
    assert codes(model, X, 2 * YES - 1, BINARY) == codes(model, X, 2 * YES[:, 0] - 1, BINARY) == ["label-out-of-range"]
    assert codes(model, X, 1 + YES, BINARY) == ["label-out-of-range"]
    assert codes(model, X, YES, BINARY) == codes(model, X, YES[:, 0], BINARY) == codes(model, X, 0.9 * YES, BINARY) == []


def test_fractional_labels():
    assert codes(mlp("softmax"), X, Y + 0.5, SPARSE) == ["float-labels"]
    assert codes(mlp("softmax"), X, Y.astype("float32"), SPARSE) == []


def test_numbers_that_are_missing():
    """NaN is told once, as what it is; what has no weight may hold anything."""
    missing = np.where(np.arange(len(X)) == 3, np.nan, 1.0)
    for y, loss, activation, units in (
        (Y * missing, SPARSE, "softmax", CLASSES),
        (ONE_HOT * missing[:, None], DENSE, "softmax", CLASSES),
        (ONE_HOT * missing[:, None], keras_xent.CategoricalFocalCrossentropy(), "softmax", CLASSES),
        (YES * missing[:, None], BINARY, "sigmoid", 1),
        (ONE_HOT * missing[:, None], "kl_divergence", "softmax", CLASSES),
    ):
        (finding,) = keras_xent.diagnose(mlp(activation, units), X, y, loss)
        assert finding.code == "non-finite-data" and "numbers of y_true are NaN or infinite" in finding.evidence
        assert codes(mlp(activation, units), X, y, loss, sample_weight=np.isfinite(missing)) == []
    (finding,) = keras_xent.diagnose(mlp("softmax"), X, Y, SPARSE, sample_weight=missing)
    assert finding.code == "non-finite-data" and "1 of 32 numbers of sample_weight" in finding.evidence
    ruled_out = np.where(ONE_HOT > 0, X[:, :1], -np.inf)
    assert codes(mlp(), X, ruled_out, keras_xent.DistillationLoss(targets="logits")) == []
    assert codes(mlp(), X, -ruled_out, keras_xent.DistillationLoss(targets="logits")) == ["non-finite-data"]


@pytest.mark.parametrize(("dtype", "exact"), [("bfloat16", 256), ("float16", 2048)])
def test_labels_in_half_precision(dtype, exact):
    classes = exact + 44
    x, y = np.eye(classes)[[5, exact + 1]], np.array([5, exact + 1])
    theirs, ours = keras.losses.SparseCategoricalCrossentropy, keras_xent.SparseCategoricalCrossentropy
    (finding,) = keras_xent.diagnose(saying((classes,)), x, y, theirs(from_logits=False, dtype=dtype))
    assert finding.code == "half-precision-labels" and f"class {exact + 1:,} becomes {exact:,}" in finding.evidence
    assert codes(saying((classes,)), x, y, ours(dtype=dtype)) == codes(saying((classes,)), x, y, theirs()) == []
    assert codes(saying((classes,)), np.eye(classes)[[5, exact]], np.array([5, exact]), theirs(dtype=dtype)) == []
    y = keras.ops.cast(y, dtype)
    assert codes(saying((classes,)), np.full((2, classes), 1 / classes), y, ours()) == ["half-precision-labels"]


def test_targets_that_do_not_sum_to_1():
    several = ONE_HOT + np.roll(ONE_HOT, 1, axis=-1)
    assert codes(mlp("softmax"), X, several, DENSE) == ["targets-not-normalized"]
    assert codes(mlp("softmax"), X, several / 2, DENSE) == codes(mlp("sigmoid"), X, several, BINARY) == []


def test_rows_of_zeros():
    targets = ONE_HOT * (np.arange(len(X)) > 2)[:, None]
    (finding,) = keras_xent.diagnose(mlp("softmax"), X, targets, DENSE)
    assert finding.code == "zero-rows" and finding.evidence.startswith("3 of 32 rows of y_true")
    weights = (np.arange(len(X)) > 2).astype("float32")
    assert codes(mlp("softmax"), X, targets, DENSE, sample_weight=weights) == []
    probs = np.array([[0.0, 0.0], [0.5, 0.5]])
    assert codes(saying((2,)), probs, np.array([0, 1]), SPARSE) == ["zero-rows"]
    assert codes(saying((2,)), probs[1:], np.array([0]), SPARSE) == []

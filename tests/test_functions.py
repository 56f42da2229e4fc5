"""Every function is its class without weights and reduction: each keyword is heard, the dtype is that of the predictions."""

import inspect

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import reference

from .backends import DTYPES, MODES, array, tensor, value_and_gradient
from .cases import LOSS_CLASSES, every_case, one_hot

# From probabilities that are certain, or nearly: every option changes the value or the gradient there.
LABELS = np.array([0, 1, 2])
Y_PRED = np.array([[1e-9, 0.6, 0.4], [0.0, 1.0, 0.0], [0.3, 0.5, 0.2]], "float32")
OTHERS = {
    "from_logits": [True, False],
    "label_smoothing": [0.3],
    "axis": [0],
    "class_weight": [[0.5, 2.0, 3.0], {1: 3.0}],
    "epsilon": [0.1],
    "saturated_gradient": ["zero"],
    "ignore_class": [0, {1, 2}],
    "invalid_labels": ["ignore"],
    "pos_weight": [2.0, [0.5, 2.0, 3.0]],
    "alpha": [0.75, [0.1, 0.5, 0.9]],
    "gamma": [1.0],
    "apply_class_balancing": [True],
    "q": [0.3],
    "temperature": [2.0],
    "targets": ["probs"],
    "divergence": ["crossentropy", "reverse_kl", "jsd"],
    "beta": [0.2],
    "tail": ["renormalize", "uniform"],
    "teacher_classes": [2],
    "label_weight": [0.5],
    "labels": ["dense"],
    "scale_by_temperature_squared": [False],
}
CALLS = [
    (name, keyword, value)
    for name in LOSS_CLASSES
    for keyword in list(inspect.signature(getattr(keras_xent, name)).parameters)[2:]
    for value in OTHERS[keyword]
]


def arguments_of(name, keyword):
    """Targets for `Y_PRED`, and arguments under which the keyword has an effect."""
    if name == "distillation_loss":
        options = {"targets": "logits", "temperature": 3.0} | ({"divergence": "jsd"} if keyword == "beta" else {})
        if keyword == "tail":
            return reference.top_k_targets(np.log(Y_PRED[::-1] + 0.1), 1, temperature=3.0), options | {"targets": "top_k"}
        if keyword not in ("label_weight", "labels", "ignore_class"):
            return np.log(Y_PRED[::-1] + 0.1), options
        kind = "dense" if keyword == "labels" else "sparse"
        labels = one_hot(LABELS, 3) if kind == "dense" else LABELS
        other = {"labels": kind} if keyword != "labels" else {}
        return array(keras_xent.pack_targets(Y_PRED[::-1].copy(), labels)), options | other
    if name.startswith("sparse") or "generalized" in name:
        options = {"q": 0.5} if "generalized" in name and keyword != "q" else {}
        return LABELS[::-1].copy() if keyword != "invalid_labels" else np.array([0, 7, 2]), options
    options = {"apply_class_balancing": True} if (name, keyword) == ("binary_focal_crossentropy", "alpha") else {}
    return np.float32(0.8 * one_hot(LABELS, 3) + 0.1), options


def answers(name, y_true, options):
    """Losses and gradient of the function and of the class."""
    loss = LOSS_CLASSES[name](**options, reduction="none")
    for call in (lambda x: getattr(keras_xent, name)(y_true, x, **options), lambda x: loss(y_true, x)):
        yield value_and_gradient(call, tensor(Y_PRED))


@pytest.mark.parametrize(("name", "keyword", "value"), CALLS)
def test_every_keyword_is_heard(name, keyword, value):
    y_true, options = arguments_of(name, keyword)
    of_function, of_class = answers(name, y_true, options | {keyword: value})
    for ours, theirs in zip(of_function, of_class, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    default = inspect.signature(getattr(keras_xent, name)).parameters[keyword].default
    if keyword == "invalid_labels":
        with pytest.raises(ValueError, match="class 7"):
            list(answers(name, y_true, options))
    elif value != default and options.get(keyword) != value and keyword != "labels":
        before, _ = answers(name, y_true, {"q": 0.5} | options if "generalized" in name else options)
        assert before[0].shape != of_function[0].shape or any(
            not np.array_equal(old, new) for old, new in zip(before, of_function, strict=True)
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dtype_of_the_predictions(rng, dtype):
    for case in every_case(rng, (2, 3), from_logits=True, dtype=dtype):
        y_pred = tensor(case.y_pred, dtype)
        losses = getattr(keras_xent, case.name)(case.y_true, y_pred, **case.options)
        assert keras.backend.standardize_dtype(losses.dtype) == dtype
        np.testing.assert_array_equal(array(losses), array(case.loss(reduction="none", dtype=dtype)(case.y_true, y_pred)))


@pytest.mark.parametrize("mode", MODES)
def test_in_compiled_code(mode):
    losses, _ = value_and_gradient(
        lambda x: keras_xent.sparse_categorical_crossentropy(tensor(LABELS), x, ignore_class=1), tensor(Y_PRED), mode
    )
    np.testing.assert_allclose(losses, [-np.log(1e-7), 0.0, -np.log(0.2)], rtol=1e-6)

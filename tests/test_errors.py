"""Every error says what was passed, what was expected and what to do."""

import functools

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent.losses._kinds import ClassIdLoss

from .backends import BACKEND, array, tensor
from .cases import LOSS_CLASSES

PROBS = np.full((2, 3), 1 / 3, "float32")
DENSE, SPARSE = keras_xent.CategoricalCrossentropy, keras_xent.SparseCategoricalCrossentropy
BINARY, DISTILL = keras_xent.BinaryCrossentropy, keras_xent.DistillationLoss
FOCAL, SPARSE_FOCAL = keras_xent.CategoricalFocalCrossentropy, keras_xent.SparseCategoricalFocalCrossentropy
BINARY_FOCAL, KL = keras_xent.BinaryFocalCrossentropy, keras_xent.KLDivergence
GENERALIZED = keras_xent.CategoricalGeneralizedCrossEntropy

ARGUMENTS = [
    (DENSE, {"from_logits": "yes"}, TypeError, r"`from_logits` must be True or False. Received: from_logits='yes'"),
    (DENSE, {"from_logits": 0.1}, TypeError, r"`from_logits` must be True or False"),
    (DENSE, {"label_smoothing": 1.5}, ValueError, r"`label_smoothing` must be a finite number, at least 0 and at most 1"),
    (DENSE, {"label_smoothing": float("nan")}, ValueError, r"`label_smoothing` must be a finite number"),
    (DENSE, {"label_smoothing": "0.1"}, TypeError, r"`label_smoothing` must be a number"),
    (DENSE, {"axis": True}, ValueError, r"`axis` must be of type `int`"),
    (DENSE, {"axis": 1.0}, TypeError, r"`axis` must be of type `int`"),
    (DENSE, {"axis": None}, TypeError, r"`axis` must be of type `int`"),
    (DENSE, {"reduction": "median"}, ValueError, r"Invalid value for argument `reduction`"),
    (DENSE, {"epsilon": 0.0}, ValueError, r"`epsilon` must be a finite number, above 0 and below 0.5"),
    (DENSE, {"epsilon": 0.7}, ValueError, r"`epsilon` must be a finite number"),
    (DENSE, {"saturated_gradient": "clip"}, ValueError, r"`saturated_gradient` must be one of 'flow', 'zero'. Received"),
    (DENSE, {"saturated_gradient": 0}, TypeError, r"`saturated_gradient` must be one of"),
    (DENSE, {"class_weight": {}}, ValueError, r"`class_weight` is empty"),
    (DENSE, {"class_weight": {0.5: 1.0}}, ValueError, r"`class_weight` must be a mapping from class ids"),
    (DENSE, {"class_weight": {-1: 1.0}}, ValueError, r"`class_weight` must be a mapping from class ids"),
    (DENSE, {"class_weight": {"cat": 1.0}}, TypeError, r"`class_weight` must map class ids to numbers"),
    (DENSE, {"class_weight": [1.0, float("inf")]}, ValueError, r"`class_weight` must hold finite weights"),
    (DENSE, {"class_weight": [1.0, -1.0]}, ValueError, r"`class_weight` must hold finite weights of at least 0"),
    (DENSE, {"class_weight": [[1.0], [1.0, 2.0]]}, TypeError, r"`class_weight` must map class ids to numbers"),
    (DENSE, {"class_weight": [[0, 2.0], [0, 1.0]]}, ValueError, r"`class_weight` names a class twice"),
    (FOCAL, {"gamma": 10**400}, ValueError, r"`gamma` must be a finite number"),
    (DISTILL, {"targets": "logits", "beta": 1.0}, ValueError, r"`beta` must be a finite number, above 0 and below 1"),
    (DISTILL, {"targets": "logits", "tail": "fat"}, ValueError, r"`tail` must be one of 'bucket', 'renormalize', 'uniform'"),
    (DISTILL, {"targets": "logits", "teacher_classes": 0}, ValueError, r"`teacher_classes` must be at least 2. Received"),
    (DISTILL, {"targets": "logits", "teacher_classes": 1}, ValueError, r"`teacher_classes` must be at least 2"),
    (
        DISTILL,
        {"targets": "logits", "temperature": "4"},
        ValueError,
        r"`temperature` must be a number. Received: temperature='4'",
    ),
    (DISTILL, {"targets": "logits", "teacher_classes": 2.0}, TypeError, r"`teacher_classes` must be an int"),
    (BINARY, {"pos_weight": [[1.0], [1.0, 2.0]]}, ValueError, r"`pos_weight` must be a number, or a vector"),
    (FOCAL, {"alpha": [[1.0], [1.0, 2.0]]}, ValueError, r"`alpha` must be a number, or a vector"),
    (DENSE, {"class_weight": np.ones((2, 2, 2))}, ValueError, r"`class_weight` must be a mapping .* or a vector"),
    (SPARSE, {"ignore_class": 0.5}, TypeError, r"`ignore_class` must be an int or a collection of ints"),
    (SPARSE, {"ignore_class": [1, "a"]}, TypeError, r"`ignore_class` must be an int .* in which 'a' is of type str"),
    (SPARSE, {"ignore_class": True}, TypeError, r"`ignore_class` must be an int"),
    (SPARSE, {"ignore_class": 2**32}, ValueError, r"`ignore_class` must hold class ids of 32 bits"),
    (SPARSE, {"ignore_class": {1, "a"}}, TypeError, r"`ignore_class` must be an int or a collection of ints"),
    (SPARSE, {"dtype": "int32"}, ValueError, r"`dtype` must be a float dtype"),
    (DENSE, {"class_weight": {"a": 1.0, 2: 3.0}}, TypeError, r"`class_weight` must map class ids to numbers"),
    (BINARY, {"pos_weight": []}, ValueError, r"`pos_weight` must be a number, or a vector"),
    (SPARSE, {"invalid_labels": "drop"}, ValueError, r"`invalid_labels` must be one of 'error', 'ignore'"),
    (BINARY, {"pos_weight": -1.0}, ValueError, r"`pos_weight` must be a finite number, at least 0"),
    (BINARY, {"pos_weight": "a"}, TypeError, r"`pos_weight` must be a number"),
    (BINARY, {"pos_weight": np.ones((2, 2))}, ValueError, r"`pos_weight` must be a number, or a vector"),
    (BINARY, {"axis": "last"}, TypeError, r"`axis` must be of type `int`"),
    (FOCAL, {"gamma": -1.0}, ValueError, r"`gamma` must be a finite number, at least 0. Received: gamma=-1.0"),
    (FOCAL, {"gamma": float("inf")}, ValueError, r"`gamma` must be a finite number"),
    (FOCAL, {"gamma": [2.0]}, TypeError, r"`gamma` must be a number"),
    (FOCAL, {"alpha": -0.5}, ValueError, r"`alpha` must be a finite number, at least 0"),
    (FOCAL, {"alpha": [[0.5]]}, ValueError, r"`alpha` must be a number, or a vector with one number per class"),
    (SPARSE_FOCAL, {"alpha": "a"}, TypeError, r"`alpha` must be a number"),
    (SPARSE_FOCAL, {"gamma": None}, TypeError, r"`gamma` must be a number"),
    (SPARSE_FOCAL, {"ignore_class": 0.5}, TypeError, r"`ignore_class` must be an int"),
    (BINARY_FOCAL, {"alpha": 1.5}, ValueError, r"`alpha` must be a finite number, at least 0 and at most 1. Received: alpha=1.5"),
    (BINARY_FOCAL, {"alpha": [0.5, -1.0]}, ValueError, r"`alpha` must be a finite number, at least 0"),
    (BINARY_FOCAL, {"apply_class_balancing": 1}, TypeError, r"`apply_class_balancing` must be True or False"),
    (KL, {"from_logits": None}, TypeError, r"`from_logits` must be True or False"),
    (KL, {"epsilon": 1.0}, ValueError, r"`epsilon` must be a finite number"),
    (GENERALIZED, {"q": 0.0}, ValueError, r"q must be in the interval \(0, 1\).*Received: q=0.0"),
    (GENERALIZED, {"q": 1.0}, ValueError, r"q must be in the interval \(0, 1\)"),
    (GENERALIZED, {"q": "half"}, TypeError, r"`q` must be a number"),
    (GENERALIZED, {"invalid_labels": "drop"}, ValueError, r"`invalid_labels` must be one of"),
    (DISTILL, {"targets": "logit"}, ValueError, r"`targets` must be one of 'logits', 'probs', 'log_probs', 'top_k'"),
    (DISTILL, {"targets": None}, ValueError, r"`targets` must be one of"),
    (DISTILL, {}, TypeError, r"targets"),
    (
        DISTILL,
        {"targets": "logits", "divergence": "l2"},
        ValueError,
        r"`divergence` must be one of 'kl', 'reverse_kl', 'jsd', 'cross",
    ),
    (DISTILL, {"targets": "logits", "labels": "onehot"}, ValueError, r"`labels` must be one of None, 'sparse', 'dense'"),
    (DISTILL, {"targets": "logits", "label_weight": 0.5}, ValueError, r"label_weight=0.5 needs hard labels.*pack_targets"),
    (DISTILL, {"targets": "logits", "label_weight": 2}, ValueError, r"`label_weight` must be a finite number, at least 0"),
    (DISTILL, {"targets": "logits", "ignore_class": 1}, ValueError, r"ignore_class=1 needs class ids.*pack_targets"),
    *(
        (DISTILL, {"targets": "logits", "temperature": temperature}, error, r"`temperature` must be a")
        for temperature, error in (
            (0, ValueError),
            (-1.0, ValueError),
            (float("inf"), ValueError),
            (float("nan"), ValueError),
            ("4", TypeError),
            (None, TypeError),
            (True, TypeError),
        )
    ),
]


@pytest.mark.parametrize(("loss_class", "arguments", "error", "message"), ARGUMENTS)
def test_arguments(loss_class, arguments, error, message):
    with pytest.raises(error, match=message):
        loss_class(**arguments)


@pytest.mark.parametrize(
    ("loss_class", "arguments", "error", "message"),
    [each for each in ARGUMENTS if len(each[1]) == 1 and not {"dtype", "reduction", "targets"} & set(each[1])],
)
def test_arguments_that_are_set_later(loss_class, arguments, error, message):
    """An attribute is checked, and brought into its form, as the argument is."""
    loss = loss_class(**({"targets": "logits"} if loss_class is DISTILL else {}))
    (name, value), before = *arguments.items(), loss.get_config()
    with pytest.raises(error, match=message):
        setattr(loss, name, value)
    assert loss.get_config() == before


def test_attributes_take_the_form_of_arguments():
    loss = SPARSE_FOCAL(reduction="none")
    loss.alpha, loss.ignore_class = np.array([0.1, 0.2, 0.3]), (0, 1)
    same = SPARSE_FOCAL(alpha=[0.1, 0.2, 0.3], ignore_class=[0, 1], reduction="none")
    assert loss.get_config() == same.get_config()
    np.testing.assert_array_equal(
        array(loss(np.array([2, 1, 0]), PROBS[[0, 0, 0]])), array(same(np.array([2, 1, 0]), PROBS[[0, 0, 0]]))
    )
    with pytest.raises(ValueError, match=r"`reduction` must be one of 'sum_over_batch_size'"):
        loss.reduction = "Sum"


@pytest.mark.parametrize("loss", [DENSE(), SPARSE(), BINARY(), KL(), GENERALIZED()])
def test_masked_arrays(loss):
    labels = np.zeros(2, int) if isinstance(loss, ClassIdLoss) else PROBS
    with pytest.raises(TypeError, match="`y_pred` is a masked array, whose mask would be lost"):
        loss(labels, np.ma.masked_array(PROBS, PROBS > 1))
    with pytest.raises(TypeError, match="`y_true` is a masked array"):
        loss(np.ma.masked_array(labels, labels > 5), PROBS)
    with pytest.raises(TypeError, match="`sample_weight` is a masked array"):
        loss(labels, PROBS, np.ma.masked_array([1.0, 1.0], [True, False]))


@pytest.mark.parametrize("dtype", [">f4", ">f8", "longdouble", "float16"])
def test_arrays_of_other_byte_orders_and_precisions(dtype):
    y_pred, labels = np.array([[0.25, 0.75], [0.5, 0.5]], dtype), np.array([1, 0])
    expected = -np.log([0.75, 0.5])
    for y_true in (labels, labels.astype(">i8"), labels.astype(dtype)):
        np.testing.assert_allclose(array(SPARSE(reduction="none")(y_true, y_pred)), expected, rtol=1e-6)
    np.testing.assert_allclose(array(DENSE(reduction="none")(np.eye(2, dtype=dtype)[labels], y_pred)), expected, rtol=1e-6)


def test_variables_are_tensors():
    variables = [keras.Variable]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        variables.append(lambda values: tf.Variable(values, dtype="float32"))
    for variable in variables:
        losses = SPARSE(reduction="none")(np.array([2, 0]), variable(PROBS))
        np.testing.assert_allclose(array(losses), np.log(3.0) * np.ones(2), rtol=1e-6)


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_tensors_of_another_framework(framework):
    """They lose nothing: neither bits of an id, nor an imaginary part without a word."""
    if framework == "torch":
        import torch as other

        convert = other.tensor
    elif framework == "tensorflow":
        import tensorflow as other

        convert = other.constant
    else:
        import jax

        convert = jax.numpy.asarray
    probs, labels = convert(PROBS), np.array([2, 0])
    np.testing.assert_allclose(array(SPARSE(reduction="none")(convert(labels), probs)), np.log(3.0) * np.ones(2), rtol=1e-6)
    if framework != "jax":
        with pytest.raises(ValueError, match=r"more than 32 bits at position 0|holds class 4294967298 at position 0"):
            SPARSE()(convert(np.array([2**32 + 2, 0])), PROBS)
    with pytest.raises(TypeError, match="`y_pred` must hold real numbers"):
        DENSE()(PROBS, convert(PROBS + 1j))


@pytest.mark.parametrize("loss", [DENSE(axis=-2), KL(axis=-2), BINARY(axis=-2), BINARY(axis=(-2, -1)), FOCAL(axis=-3)])
def test_an_axis_that_would_change_its_meaning(loss):
    """Keras drops a last axis of size 1; counted from the end, another axis would be meant then."""
    y_true = np.tile(PROBS, (2, 1, 1))[..., 0] if loss.axis == -3 else PROBS
    with pytest.raises(ValueError, match="is ambiguous"):
        loss(y_true, y_true[..., None])


INPUTS = [
    (DENSE(), np.ones((2, 4)), PROBS, r"must have the same shape.*y_true.shape=\(2, 4\), y_pred.shape=\(2, 3\)"),
    (DENSE(), np.ones(2), PROBS, r"must have the same shape.*rank.*SparseCategoricalCrossentropy"),
    (DENSE(), np.ones(()), np.ones(()), r"`y_pred` is a scalar"),
    (DENSE(axis=2), np.ones((2, 3)), PROBS, r"`axis` is out of range: y_pred.shape=\(2, 3\) has 2 axes"),
    (DENSE(axis=-3), np.ones((2, 3)), PROBS, r"`axis` is out of range"),
    (DENSE(), np.ones((2, 1)), np.ones((2, 1)), r"expected num_classes > 1.*BinaryCrossentropy"),
    (
        DENSE(class_weight=[1.0, 2.0]),
        np.ones((2, 3)),
        PROBS,
        r"`class_weight` holds 2 numbers, but .* has size 3.*mapping",
    ),
    (DENSE(class_weight={3: 2.0}), np.ones((2, 3)), PROBS, r"`class_weight` names class 3, but `y_pred` has 3 classes"),
    (SPARSE(), np.zeros((2, 3), int), PROBS, r"must have the same shape up until the last dimension.*CategoricalCrossentropy"),
    (SPARSE(), np.zeros(3, int), PROBS, r"expected one class id per position, y_true.shape=\(2,\)"),
    (SPARSE(), np.zeros(2, int), np.ones((2, 1)), r"expected num_classes > 1"),
    (SPARSE(axis=5), np.zeros(2, int), PROBS, r"`axis` is out of range"),
    (SPARSE(), np.array([0.2, 1.0]), PROBS, r"`y_true` holds 0.2.* at position 0, which is not a class id"),
    (BINARY(), np.ones((2, 2)), PROBS, r"must have the same shape"),
    (BINARY(axis=2), np.ones((2, 3)), PROBS, r"`axis` is out of range"),
    (BINARY(axis=(0, -2)), np.ones((2, 3)), PROBS, r"`axis` names an axis twice"),
    (BINARY(pos_weight=[1.0, 2.0]), np.ones((2, 3)), PROBS, r"`pos_weight` holds 2 numbers, but .* has size 3 along.*per output"),
    (FOCAL(), np.ones((2, 1)), np.ones((2, 1)), r"expected num_classes > 1"),
    (FOCAL(alpha=[0.5, 0.5]), np.ones((2, 3)), PROBS, r"`alpha` holds 2 numbers, but .* has size 3 along axis 1.*per class"),
    (FOCAL(), np.ones((2, 4)), PROBS, r"must have the same shape.*SparseCategoricalCrossentropy"),
    (SPARSE_FOCAL(alpha=[0.5] * 4), np.zeros(2, int), PROBS, r"`alpha` holds 4 numbers, but .* has size 3 along axis 1"),
    (SPARSE_FOCAL(), np.array([0, 3]), PROBS, r"`y_true` holds class 3 at position 1, but `y_pred` has 3 classes"),
    (BINARY_FOCAL(alpha=[0.5, 0.5]), np.ones((2, 3)), PROBS, r"`alpha` holds 2 numbers, but .* has size 3 along.*per output"),
    (KL(), np.ones(3), PROBS, r"must have the same shape"),
    (KL(axis=2), np.ones((2, 3)), PROBS, r"`axis` is out of range"),
    (GENERALIZED(), np.array([0, -1]), PROBS, r"`y_true` holds class -1 at position 1"),
    (GENERALIZED(), np.ones((2, 3), int), PROBS, r"must have the same shape up until the last dimension"),
    (DISTILL(targets="logits"), np.ones((2, 1)), np.ones((2, 1)), r"expected num_classes > 1"),
    (DISTILL(targets="logits", axis=2), np.ones((2, 3)), PROBS, r"`axis` is out of range"),
]


@pytest.mark.parametrize(("loss", "y_true", "y_pred", "message"), INPUTS)
def test_inputs(loss, y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        loss(y_true, tensor(y_pred, "float32"))
    with pytest.raises(ValueError, match=message):
        loss.call(y_true, tensor(y_pred, "float32"))


@pytest.mark.parametrize("y_pred", [None, "probabilities", [["a", "b"]], {"output": PROBS}, PROBS * 1j, [[1.0], [1.0, 2.0]]])
def test_predictions_that_are_no_numbers(y_pred):
    with pytest.raises(TypeError, match="`y_pred`"):
        keras_xent.categorical_crossentropy(PROBS, y_pred)
    with pytest.raises(TypeError, match="`y_pred`"):
        DENSE()(PROBS, y_pred)


def test_functions_check_as_classes_do():
    with pytest.raises(TypeError, match="`from_logits` must be True or False"):
        keras_xent.sparse_categorical_crossentropy([0], PROBS[:1], from_logits=1.0)
    with pytest.raises(ValueError, match="`temperature` must be a finite number, above 0"):
        keras_xent.distillation_loss(PROBS, PROBS, 0.0, targets="probs")
    with pytest.raises(ValueError, match=r"must have the same shape.* `SparseCategoricalCrossentropy`"):
        keras_xent.categorical_crossentropy([0, 2], PROBS)
    with pytest.raises(ValueError, match="must have the same shape"):
        keras_xent.binary_crossentropy(PROBS[:1], PROBS)


def test_the_singleton_axis_that_keras_drops():
    """One output per example: (B,) against (B, 1), and (B, T) against (B, T, 1)."""
    for shape in ((4,), (4, 3)):
        y_true = np.random.default_rng(0).integers(0, 2, size=shape).astype("float32")
        y_pred = np.random.default_rng(1).uniform(0.1, 0.9, size=(*shape, 1)).astype("float32")
        import keras

        assert abs(float(BINARY()(y_true, tensor(y_pred))) - float(keras.losses.BinaryCrossentropy()(y_true, y_pred))) < 1e-6
        assert abs(float(BINARY()(y_true[..., None], tensor(y_pred))) - float(BINARY()(y_true, tensor(y_pred)))) < 1e-6


@pytest.mark.parametrize(
    ("loss_class", "arguments", "error", "message"),
    [
        (BINARY_FOCAL, {"gamma": -0.5}, ValueError, r"`gamma` must be a finite number, at least 0. Received: gamma=-0.5"),
        (BINARY_FOCAL, {"gamma": "two"}, TypeError, r"`gamma` must be a number"),
        (GENERALIZED, {"from_logits": "no"}, TypeError, r"`from_logits` must be True or False. Received: from_logits='no'"),
    ],
)
def test_more_arguments(loss_class, arguments, error, message):
    with pytest.raises(error, match=message):
        loss_class(**arguments)


@pytest.mark.parametrize(("function", "loss_class"), [(f, c) for f, c in LOSS_CLASSES.items() if f != "distillation_loss"])
def test_inputs_that_are_no_numbers_are_named(function, loss_class):
    """By the function, by the class, and by its `call`."""
    y_true = np.zeros(2, int) if issubclass(loss_class, ClassIdLoss) else PROBS
    required = {"q": 0.5} if loss_class is GENERALIZED else {}
    for call in (functools.partial(getattr(keras_xent, function), **required), loss_class(), loss_class().call):
        with pytest.raises(TypeError, match="`y_pred`"):
            call(y_true, "probabilities")
        with pytest.raises(TypeError, match="`y_true`"):
            call("targets", tensor(PROBS))
    with pytest.raises(TypeError, match="`sample_weight`"):
        loss_class()(y_true, tensor(PROBS), sample_weight="heavy")

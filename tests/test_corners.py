"""Corners of every loss, eager and compiled: extreme, spoiled, empty, odd and very many inputs."""

import numpy as np
import pytest
from keras import ops

from keras_xent import DOMAIN, domain, reference
from keras_xent.parity.bounds import EPSILON, error_in_bounds

from .backends import BACKEND, MODES, array, rounded, tensor, value_and_gradient
from .cases import LOSS_CLASSES, predictions
from .test_weights_and_masks import AttachMask, with_mask

NAMES = [name for name in LOSS_CLASSES if name != "distillation_loss"]  # whose corners are in test_distillation.py
CLASS_IDS = [name for name in NAMES if name.startswith("sparse") or "generalized" in name]
FROM_LOGITS_OR_NOT = pytest.mark.parametrize("from_logits", [True, False])
EVERY_MODE = pytest.mark.parametrize("mode", MODES)
EVERY_LOSS = pytest.mark.parametrize("name", NAMES)

FOCUS = [{"gamma": 0.0}, {"gamma": 1.0, "alpha": 0.9}, {"gamma": 2.0}, {"gamma": 6.0, "alpha": 1.0}, {"gamma": 0.5}]
PER_CLASS = {"label_smoothing": 0.2, "class_weight": [0.5, 2.0, 0.0]}
PER_OUTPUT = {"label_smoothing": 0.2, "pos_weight": [0.5, 2.0, 0.0]}
OPTIONS = {
    "categorical_crossentropy": [PER_CLASS, {}],
    "binary_crossentropy": [PER_OUTPUT, {}],
    "categorical_focal_crossentropy": [{**PER_CLASS, "gamma": 0.5, "alpha": [0.1, 1.0, 2.0]}, *FOCUS],
    "binary_focal_crossentropy": [{**PER_OUTPUT, "gamma": 0.5, "apply_class_balancing": True}, *FOCUS],
    "kl_divergence": [{}],
    "categorical_generalized_cross_entropy": [{"q": 0.1}, {"q": 0.7}],
}
OPTIONS |= {f"sparse_{name}": OPTIONS[name] for name in ("categorical_crossentropy", "categorical_focal_crossentropy")}


def loss_of(name, **options):
    return LOSS_CLASSES[name](**{"reduction": "none", **options})


def targets_of(name, labels, num_classes):
    return labels if name in CLASS_IDS else (labels[..., None] == np.arange(num_classes)).astype("float32")


def definition(name, y_true, y_pred, **options):
    """The definition's losses and gradient."""
    losses, gradient = getattr(reference, name), getattr(reference, f"{name}_gradient")
    with np.errstate(all="ignore"):
        return losses(y_true, y_pred, **options), gradient(y_true, y_pred, **options)


def needed(name):
    """The arguments that the class has a default for and the function has not."""
    return {"q": 0.5} if "generalized" in name else {}


def taken(items, mode):
    """All of them in one mode of each backend; the last one elsewhere, as every call of a loss takes long to compile."""
    return items if mode == ("compiled" if BACKEND == "jax" else "eager") else items[-1:]


LOGITS = [
    [1.0, 2.0, -np.inf],
    [-np.inf, -np.inf, 0.0],
    [1e4, -1e4, 0.0],
    [3e38, 0.0, 0.0],
    [-3e38, 1.0, 0.0],
    [3e38, -3e38, 0.0],
    [3e38, 3e38, 3e38],
    [-1e4, -1e4, -1e4],
    [0.0, -30.0, -60.0],
    [0.0, -100.0, 17.0],
    [-88.0, 88.0, 0.0],
    [1e-40, 0.0, -1e-40],
]
PROBS = [
    [0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0],
    [0.5, 0.25, 0.5],
    [1e-3, 1e-3, 1e-3],
    [1e-9, 1.0, 0.0],
    [1e-20, 1e-20, 1e-20],
    [1e-36, 1.0, 0.0],
    [1e-40, 1.0, 0.0],
    [1e-40, 1e-40, 0.0],
    [1.0, 1.0, 1.0],
    [1e-3, 0.7, 0.299],
    [1.0 - 2.0**-24, 2.0**-24, 0.0],
    [1.5, 0.25, 0.0],
]
SCORES = [*PROBS, [3e38, 3e38, 0.0], [3e38, 1e30, 3e38]]  # where they are renormalised
SPOILED = [[np.nan, np.inf, -np.inf], [0.2, np.nan, 0.8], [np.inf, 0.0, 0.0]]
TINY = 2.0**-126  # the least normal number of float32


@EVERY_MODE
@FROM_LOGITS_OR_NOT
@EVERY_LOSS
def test_extreme_and_removed_predictions(name, from_logits, mode):
    """Value and gradient row by row, each class being the target in turn; rows that a weight, a mask or a label removes are 0."""
    from_scores = DOMAIN[LOSS_CLASSES[name].__name__].probs is domain.SCORES
    rows = np.repeat(LOGITS if from_logits else SCORES if from_scores else PROBS, 3, axis=0)
    labels, removed = np.arange(len(rows) + 9) % 3, np.arange(9) + len(rows)
    by_weight, by_mask, by_label = removed.reshape(3, 3)
    y_pred = rounded([*rows, *SPOILED * 3], "float32")
    y_true = targets_of(name, labels, 3)
    y_true[removed] = np.reshape([-5, 99, 3, -5, 99, 3, 7, -1, 7] if name in CLASS_IDS else SPOILED * 3, (9, *y_true.shape[1:]))
    weights, mask = np.ones(len(labels)), np.ones(len(labels), bool)
    weights[by_weight], mask[by_mask] = 0.0, False
    if name not in CLASS_IDS:
        weights[by_label], mask[by_label] = 0.0, False

    common = {"from_logits": from_logits} | ({"axis": ()} if "binary" in name else {})
    variants = [{**common, **each} for each in OPTIONS[name]]
    if not from_logits and "generalized" not in name:
        variants = [{**each, "saturated_gradient": "zero"} for each in variants[::2]] + variants
    if (BACKEND, mode) == ("torch", "compiled"):  # a layer takes longer to compile than a loss
        weights, mask = weights * mask, None
    variants, attach_mask = taken(variants, mode), (lambda x: x) if mask is None else AttachMask(mask)
    ignored = {"ignore_class": [7, -1]} if name in CLASS_IDS else {}
    losses = [loss_of(name, **each, **ignored) for each in variants]
    targets, weights = tensor(y_true), tensor(weights, "float32")

    def compute(x):
        return ops.stack([loss(targets, attach_mask(x[i]), weights) for i, loss in enumerate(losses)])

    values, gradients = value_and_gradient(compute, tensor([y_pred] * len(losses), "float32"), mode)
    assert not values[:, removed].any() and not gradients[:, removed].any()
    y_pred, y_true = y_pred[: len(rows)], y_true[: len(rows)]
    for options, *actual in zip(variants, values, gradients, strict=True):
        # TensorFlow and JAX take denormals for 0, and so may single operations of PyTorch
        answers = [
            definition(name, y_true, p, **options, dtype="float32") for p in (y_pred, np.where(abs(y_pred) < TINY, 0, y_pred))
        ]
        for i, row in enumerate(y_pred):
            answer, right = (actual[0][i], actual[1][i]), [(loss[i], gradient[i]) for loss, gradient in answers]
            assert any(same(answer, each, row, from_logits) for each in right), (
                f"{name} {options}, {row}, target {labels[i]}: {answer} is not {right}"
            )


def same(actual, right, row, from_logits):
    """Whether a loss and gradient are right within what rounding allows."""
    (loss, gradient), (right_loss, right_gradient) = actual, right
    with np.errstate(over="ignore"):
        right_loss, right_gradient = np.float32(right_loss), np.float32(right_gradient)
    if from_logits and np.isfinite(row).all() and np.ptp(row) > np.finfo("float32").max:
        right_loss = np.where(np.isinf(loss), loss, right_loss)  # where the difference of two logits overflows, so may the loss
    span = min(np.ptp(row[np.isfinite(row)]), 200.0) if from_logits else 90.0  # the logarithm of the least probability
    absolute = TINY / (16 * EPSILON["float32"])  # what is less than the least normal number may become 0
    floor = max(np.nanmax(np.abs(right_gradient), initial=0.0), absolute)
    return (
        error_in_bounds(loss, right_loss, "float32", 3, span, absolute if from_logits else 1e-20) <= 1
        and error_in_bounds(gradient, right_gradient, "float32", 3, span, floor) <= 1
    )


@EVERY_LOSS
def test_no_other_bit_changes(rng, name):
    """Whatever stands in rows that are removed."""
    removed = [1, 3, 5]
    kept = np.isin(np.arange(42), removed, invert=True)
    clean, labels = predictions(rng, (42, 3), -1, False), rng.integers(0, 3, 42)
    spoiled, y_true, weights = clean.copy(), targets_of(name, labels, 3), tensor(2.0 * kept, "float32")
    spoiled[removed, labels[removed]] = np.nan, np.inf, -np.inf
    spoiled_true = y_true.copy()
    spoiled_true[removed] = -1 if name in CLASS_IDS else np.nan
    for reduction in ("sum_over_batch_size", "none"):
        loss = loss_of(name, reduction=reduction)
        for way in (lambda y, x, loss=loss: loss(y, x, weights), lambda y, x, loss=loss: loss(y, with_mask(x, kept))):
            value, gradient = value_and_gradient(lambda x, way=way: way(y_true, x), tensor(clean, "float32"))
            actual, actual_gradient = value_and_gradient(lambda x, way=way: way(spoiled_true, x), tensor(spoiled, "float32"))
            np.testing.assert_array_equal(actual, value)
            np.testing.assert_array_equal(actual_gradient, gradient)


@EVERY_MODE
@EVERY_LOSS
def test_nothing_and_little(rng, name, mode):
    """A batch of one with two classes, all labels ignored, all weights 0, an empty batch."""
    labels, y_pred = rng.integers(0, 3, 4), predictions(rng, (4, 3), -1, True, scale=100.0)
    y_true, one = targets_of(name, labels, 3), targets_of(name, labels[:1] % 2, 2)
    loss = loss_of(name, from_logits=True, reduction="sum_over_batch_size")
    given, empty, little, weights = tensor(y_true), tensor(y_true[:0]), tensor(one), tensor(np.zeros(4), "float32")
    parts = [lambda x: loss(little, x[:1, :2]), lambda x: loss(given, x, weights), lambda x: loss(empty, x[:0])]
    if name in CLASS_IDS:
        ignoring = loss_of(name, from_logits=True, reduction="sum_over_batch_size", ignore_class=range(3))
        parts.insert(1, lambda x: ignoring(given, x))
    x = tensor([y_pred] * len(parts), "float32")
    values, gradients = value_and_gradient(lambda x: ops.stack([part(x[i]) for i, part in enumerate(parts)]), x, mode)
    right, right_gradient = definition(name, one, y_pred[:1, :2], from_logits=True, **needed(name))
    span = np.ptp(y_pred[0, :2])
    assert error_in_bounds(values[0], right[0], "float32", 2, span, 1.0) <= 1
    assert error_in_bounds(gradients[0, :1, :2], right_gradient, "float32", 2, span, 1.0) <= 1
    values, gradients[0, :1, :2] = values[1:], 0.0
    assert not values.any() and not gradients.any()


@EVERY_MODE
@EVERY_LOSS
def test_one_class(name, mode):
    """Refused where classes are told apart; one output is none that is, and a divergence of one class is a number."""
    y_true, y_pred = targets_of(name, np.zeros(2, int), 1), tensor([[0.25], [0.5]], "float32")
    given = tensor(y_true)
    if "binary" in name or name == "kl_divergence":
        losses = [loss_of(name, from_logits=from_logits) for from_logits in (False, True)]
        values, gradient = value_and_gradient(lambda x: ops.stack([loss(given, x) for loss in losses]), y_pred, mode)
        rights = [definition(name, y_true, array(y_pred), from_logits=from_logits) for from_logits in (False, True)]
        assert error_in_bounds(values, [right for right, _ in rights], "float32", floor=1.0) <= 1
        assert error_in_bounds(gradient, sum(pull for _, pull in rights), "float32", floor=1.0) <= 1
    else:
        loss = loss_of(name)
        with pytest.raises(Exception, match="expected num_classes > 1") as caught:
            value_and_gradient(lambda x: loss(given, x), y_pred, mode)
        assert mode != "eager" or isinstance(caught.value, ValueError)


@EVERY_MODE
@pytest.mark.parametrize("name", CLASS_IDS)
def test_labels_of_every_dtype_and_shape(rng, name, mode):
    """Labels that a compiled program meets when it runs."""
    labels, y_pred = rng.integers(0, 5, (2, 3)), predictions(rng, (2, 3, 5), -1, True)
    loss, dtypes = loss_of(name, from_logits=True), ("int8", "float32", "int32", "int64", "uint8")
    if BACKEND == "jax":
        dtypes = tuple(dtype for dtype in dtypes if dtype != "int64")  # which it does not have by default

    def compute(x):
        zero = ops.cast(ops.sum(x) * 0.0, "int32")  # but the compiler does not know it
        given = [ops.cast(tensor(labels, "int32") + zero, dtype) for dtype in dtypes]
        given[-1] = given[-1][..., None]
        return ops.stack([loss(y, x[i]) for i, y in enumerate(given)])

    losses, gradients = value_and_gradient(compute, tensor([y_pred] * len(dtypes), "float32"), mode)
    right, right_gradient = definition(name, labels, y_pred, from_logits=True, **needed(name))
    for loss, gradient in zip(losses, gradients, strict=True):
        assert error_in_bounds(loss, right, "float32", 5, 20) <= 1
        assert error_in_bounds(gradient, right_gradient, "float32", 5, 20, np.abs(right_gradient).max()) <= 1


@pytest.mark.parametrize("labels", [["cat", "dog"], [[0, 1], [2]]], ids=["strings", "ragged"])
@EVERY_LOSS
def test_targets_that_are_no_array_of_numbers(name, labels):
    for given in (labels, np.array(labels, object)):
        with pytest.raises(TypeError, match=r"`y_true` must hold real numbers"):
            loss_of(name)(given, np.full((2, 3), 1 / 3))
    with pytest.raises(TypeError, match=r"`y_pred` must hold real numbers"):
        loss_of(name)(np.zeros(2), labels)


if BACKEND == "tensorflow":
    import tensorflow as tf

    @pytest.mark.parametrize("mode", ["eager", "compiled"])
    @EVERY_LOSS
    def test_tensors_that_are_no_array_of_numbers(name, mode):
        loss, probs = loss_of(name), tf.fill((2, 3), 1 / 3)
        call = loss if mode == "eager" else tf.function(loss)
        ragged, strings = tf.ragged.constant([[0.1, 0.9], [0.4, 0.3, 0.3]]), tf.constant(["cat", "dog"])
        for wrong, message in ((ragged, "Ragged.* neither ragged nor sparse"), (strings, "real numbers.* string")):
            with pytest.raises(TypeError, match=f"`y_pred`.*{message}"):
                call(tf.zeros((2, 3)), wrong)
            with pytest.raises(TypeError, match=f"`y_true`.*{message}"):
                call(wrong, probs)

    def signature(name):
        """Any number of rows and classes."""
        rows = tf.TensorSpec((None, None))
        return [tf.TensorSpec((None,), "int32") if name in CLASS_IDS else rows, rows]

    @pytest.mark.parametrize("jit_compile", [False, True])
    @pytest.mark.parametrize("name", [name for name in NAMES if "categorical" in name])
    def test_one_class_that_only_the_running_program_sees(name, jit_compile):
        call = tf.function(loss_of(name), input_signature=signature(name), jit_compile=jit_compile)
        several, one = (targets_of(name, np.zeros(2, "int32"), num_classes) for num_classes in (2, 1))
        assert np.isfinite(call(several, [[0.4, 0.6], [0.2, 0.8]])).all()
        if jit_compile:  # XLA has no runtime errors
            assert np.isnan(call(one, [[0.4], [0.2]])).all()
        else:
            with pytest.raises(tf.errors.InvalidArgumentError, match="expected num_classes > 1"):
                call(one, [[0.4], [0.2]])

    @pytest.mark.parametrize("name", [name for name in NAMES if any("alpha" in each for each in OPTIONS[name])])
    def test_one_number_per_class_needs_to_know_the_classes(name):
        for option in ("alpha", "pos_weight" if "binary" in name else "class_weight"):
            loss = loss_of(name, **{option: [0.1, 0.9]})
            with pytest.raises(ValueError, match=f"`{option}` needs to know the size of axis 1 of `y_pred`"):
                tf.function(loss, input_signature=signature(name)).get_concrete_function()


@EVERY_MODE
@pytest.mark.parametrize(("num_classes", "dtype"), [(50_257, "bfloat16"), (70_000, "float16")])
def test_large_vocabularies_in_half_precision(rng, num_classes, dtype, mode):
    """Summed in float32: float16 ends at 65,504, and in bfloat16 256 + 1 is 256."""
    labels = rng.integers(0, num_classes, 2)
    labels[0] = num_classes - 1
    y_pred = predictions(rng, (2, num_classes), -1, True, dtype)
    names = CLASS_IDS if BACKEND == "tensorflow" and mode != "eager" else taken(NAMES, mode)
    given = {name: tensor(targets_of(name, labels, num_classes)) for name in names}
    losses = {name: loss_of(name, from_logits=True, dtype="float32") for name in names}
    x = tensor([y_pred] * len(names), dtype)
    values, gradients = value_and_gradient(
        lambda x: ops.stack([losses[name](given[name], x[i]) for i, name in enumerate(names)]), x, mode
    )
    for name, value, gradient in zip(names, values, gradients, strict=True):
        right, right_gradient = definition(name, targets_of(name, labels, num_classes), y_pred, from_logits=True, **needed(name))
        assert error_in_bounds(value, right, "float32", num_classes, 30, 1.0) <= 1, name
        floor = 2.0**-14 if dtype == "float16" else TINY  # below it there are fewer digits
        assert error_in_bounds(gradient, right_gradient, dtype, num_classes, 30, floor) <= 1, name


@EVERY_MODE
@pytest.mark.parametrize("name", CLASS_IDS)
def test_more_classes_than_float32_counts(name, mode):
    """2**24 + 1 of them: the last id is the first whole number whose successor float32 does not hold."""
    num_classes, y_pred = 2**24 + 1, np.zeros((1, 2**24 + 1), "float32")
    y_pred[0, -1] = -1.0
    loss = loss_of(name, from_logits=True)
    for labels in ([2**24], np.array([2.0**24], "float32"))[: 2 if mode == "eager" else 1]:
        labels = tensor(labels)
        value, gradient = value_and_gradient(lambda x, labels=labels: loss(labels, x), tensor(y_pred), mode)
        few = [[-1.0, np.log(num_classes - 1.0)]]  # the others as one
        right, right_gradient = definition(name, [0], few, from_logits=True, **needed(name))
        assert error_in_bounds(value, right, "float32", num_classes, 20) <= 1
        assert error_in_bounds(gradient[:, -1], right_gradient[:, 0], "float32", num_classes, 20) <= 1
        assert error_in_bounds(gradient[:, 0], right_gradient[:, 1] / (num_classes - 1), "float32", num_classes, 20) <= 1

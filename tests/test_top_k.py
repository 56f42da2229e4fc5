"""A teacher of whom the k largest log-probabilities are known: against the definition and the dense loss, and its errors."""

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import reference
from keras_xent.distill import on_labels, top_k_targets
from keras_xent.parity.bounds import error_in_bounds

from .backends import BACKEND, DTYPES, MODES, array, rounded, tensor, value_and_gradient
from .cases import one_hot

TAILS = ["bucket", "renormalize", "uniform"]
DIVERGENCES = ["kl", "reverse_kl", "jsd", "crossentropy"]
ROWS, CLASSES, T = 6, 7, 2.0
MODE = "compiled" if BACKEND == "jax" else "eager"  # JAX compiles every single operation for every k


def draw(rng, *shape, scale=2.0):
    return rounded(scale * rng.normal(size=shape or (ROWS, CLASSES)), "float32")


def answer(pairs, student, mode=MODE, dtype="float32", **options):
    """Losses and gradient of a top-k."""
    loss = keras_xent.DistillationLoss(T, targets="top_k", reduction="none", dtype=dtype, **options)
    pairs = tensor(pairs, "float64" if dtype == "float64" else "float32")
    return value_and_gradient(lambda x: loss(pairs, x), tensor(student, dtype), mode)


def right(pairs, student, **options):
    arguments = {"temperature": T, "targets": "top_k", **options}
    return reference.distillation_loss(pairs, student, **arguments), reference.distillation_loss_gradient(
        pairs, student, **arguments
    )


def close(actual, expected, dtype="float32", floor=4.0):
    return all(
        error_in_bounds(one, other, dtype, 20, 30, max(floor, np.abs(other).max(initial=0.0))) <= 1
        for one, other in zip(actual, expected, strict=True)
    )


@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_targets(rng, as_tensor):
    logits = draw(rng, 2, 3, CLASSES)
    pairs = top_k_targets(tensor(logits, "float32") if as_tensor else logits, 3, temperature=T)
    assert tuple(pairs.shape) == (2, 3, 3, 2) and "float32" in str(pairs.dtype) and isinstance(pairs, np.ndarray) is not as_tensor
    expected = reference.top_k_targets(logits, 3, temperature=T)
    np.testing.assert_array_equal(array(pairs)[..., 0], expected[..., 0])
    assert error_in_bounds(array(pairs)[..., 1], expected[..., 1], "float32", CLASSES, 10) <= 1


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("tail", TAILS)
def test_equals_the_definition(rng, tail, divergence):
    for k in (1, 3, CLASSES):
        pairs, student = np.float32(reference.top_k_targets(draw(rng), k, temperature=T)), draw(rng)
        pairs[0, k // 2 :, 1] = -np.inf if k > 1 else pairs[0, 0, 1]  # lists nothing
        options = {"tail": tail, "divergence": divergence, "beta": 0.3}
        if divergence == "reverse_kl" and tail == "renormalize" and k > 1:
            pairs = pairs[1:]  # which rules the others out
            student = student[1:]
        assert close(answer(pairs, student, **options), right(pairs, student, **options)), k


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "eager"])
@pytest.mark.parametrize("tail", TAILS)
def test_compiled(rng, tail, mode):
    pairs, student = np.float32(reference.top_k_targets(draw(rng), 3, temperature=T)), draw(rng)
    assert close(answer(pairs, student, mode, tail=tail), right(pairs, student, tail=tail))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_of_the_student(rng, dtype):
    pairs, student = np.float32(reference.top_k_targets(draw(rng), 3, temperature=T)), rounded(draw(rng), dtype)
    assert close(answer(pairs, student, dtype=dtype), right(pairs, student), dtype)


@pytest.mark.parametrize("tail", TAILS)
def test_any_axis_and_rank(rng, tail):
    """The pairs stand along the last axes wherever the student's classes are."""
    for axis in (0, 1, 2):
        student = np.moveaxis(draw(rng, 2, 3, CLASSES), -1, axis)
        pairs = np.float32(reference.top_k_targets(draw(rng, 2, 3, CLASSES), 2, temperature=T))
        assert close(answer(pairs, student, axis=axis, tail=tail), right(pairs, student, axis=axis, tail=tail)), axis
    pairs, student = np.float32(reference.top_k_targets(draw(rng, CLASSES), 2, temperature=T)), draw(rng, CLASSES)
    assert close(answer(pairs, student, tail=tail), right(pairs, student, tail=tail))


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("tail", TAILS)
def test_all_classes_are_the_dense_teacher(rng, tail, divergence, from_logits):
    teacher, student = draw(rng), draw(rng)
    if not from_logits:
        student = np.exp(student) / np.exp(student).sum(-1, keepdims=True)
    if divergence != "reverse_kl":
        teacher[0, 2] = -np.inf
    options = {"divergence": divergence, "from_logits": from_logits}
    dense = reference.distillation_loss(teacher, student, T, targets="logits", **options)
    pull = reference.distillation_loss_gradient(teacher, student, T, targets="logits", **options)
    pairs = top_k_targets(teacher, CLASSES, temperature=T)
    if tail == "renormalize":  # does not hear of the class that it rules out
        pairs, student, dense, pull = pairs[1:], student[1:], dense[1:], pull[1:]
    assert close(answer(pairs, student, tail=tail, **options), (dense, pull))


@pytest.mark.parametrize("scale", [0.5, 3.0, 30.0])
def test_a_bucket_is_a_lower_bound(rng, scale):
    """Of the dense divergence, growing with k, and never negative."""
    teacher, student = draw(rng, 200, 50, scale=scale), draw(rng, 200, 50, scale=scale)
    dense = reference.distillation_loss(teacher, student, T, targets="logits")
    before = np.zeros(200)
    for k in (1, 4, 16, 49, 50):
        losses, _ = answer(top_k_targets(teacher, k, temperature=T), student)
        slack = 1e-5 * np.maximum(dense, 1.0)
        assert (losses >= 0).all() and (losses <= dense + slack).all() and (losses >= before - slack).all(), k
        before = losses
    assert error_in_bounds(before, dense, "float32", 50, 6 * scale / T, floor=4.0) <= 1


@pytest.mark.parametrize("k", [2, 3, 4, CLASSES])
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_classes_that_both_rule_out_are_none(rng, divergence, k):
    """As where a vocabulary or the moves that are allowed are masked: what is left to the rest is rounding, not a class."""
    teacher, student = draw(rng), draw(rng)
    teacher[:, 3:] = student[:, 3:] = -np.inf
    dense = right(teacher, student, targets="logits", divergence=divergence)
    pairs = top_k_targets(teacher, k, temperature=T)
    for tail in TAILS if k >= 3 else ["bucket"]:  # else the others lose something, or give something to what is ruled out
        result = answer(pairs, student, divergence=divergence, tail=tail)
        assert close(result, right(pairs, student, divergence=divergence, tail=tail))
        if k >= 3 or divergence == "kl":
            assert close(result, dense)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_student_that_rules_out_what_the_teacher_does_not(rng, divergence):
    """Infinite where that is the definition; the gradient is a number in any case."""
    teacher, student = draw(rng), draw(rng)
    student[:, 3:] = -np.inf
    teacher[:, 3:] -= 10.0  # the three that are listed come first
    pairs = np.float32(reference.top_k_targets(teacher, 3, temperature=T))
    losses, gradient = answer(pairs, student, divergence=divergence)
    assert close((losses, gradient), right(pairs, student, divergence=divergence))
    assert np.isinf(losses).all() == (divergence in ("kl", "crossentropy"))
    assert np.isfinite(gradient).all() and not gradient[:, 3:].any()


def test_the_rest_of_a_confident_teacher_keeps_its_digits():
    """1 - Σ p, added up as it is written, would be 0 or a rounding error."""
    teacher, student = np.array([[20.0, 0.0, -1.0, -2.0]]), np.float32([[1.0, 0.5, 2.0, -1.0]])
    pairs = reference.top_k_targets(teacher, 1, temperature=1.0)
    rest = -np.expm1(pairs[0, 0, 1])
    loss = keras_xent.DistillationLoss(1.0, targets="top_k", divergence="reverse_kl", reduction="none")
    log_q = student - np.log(np.exp(student).sum())
    q_rest = 1 - np.exp(log_q[0, 0])
    expected = np.exp(log_q[0, 0]) * (log_q[0, 0] - pairs[0, 0, 1]) + q_rest * (np.log(q_rest) - np.log(rest))
    np.testing.assert_allclose(array(loss(np.float32(pairs), tensor(student))), [expected], rtol=1e-6)


@pytest.mark.parametrize("targets", ["logits", "probs", "log_probs", "top_k"])
def test_padded_vocabularies(rng, targets):
    """Both have more classes than the teacher's vocabulary; what stands in the padding counts for the label alone."""
    teacher, student, labels = draw(rng, ROWS, CLASSES + 2), draw(rng, ROWS, CLASSES + 3), rng.integers(0, CLASSES + 3, ROWS)
    log_probs = teacher[:, :CLASSES] - np.log(np.exp(teacher[:, :CLASSES]).sum(-1, keepdims=True))
    dense = np.concatenate([np.exp(log_probs) if targets == "probs" else log_probs, teacher[:, CLASSES:] ** 2], -1)
    soft = top_k_targets(teacher[:, :CLASSES], 3, temperature=T) if targets == "top_k" else np.float32(dense)
    student[0, CLASSES:] = 1e30
    options = {"targets": targets, "teacher_classes": CLASSES}
    expected = reference.distillation_loss(soft[:, :CLASSES], student[:, :CLASSES], T, targets=targets)
    loss = keras_xent.DistillationLoss(T, **options, reduction="none")
    losses, gradient = value_and_gradient(lambda x: loss(tensor(soft), x), tensor(student, "float32"))
    assert error_in_bounds(losses, expected, "float32", 20, 30, 4.0) <= 1 and not gradient[:, CLASSES:].any()
    student[0, CLASSES:] = 1.0
    for kind, hard in (("sparse", labels), ("dense", one_hot(labels, CLASSES + 3))):
        packed = keras_xent.pack_targets(soft, hard, top_k=targets == "top_k")
        loss = keras_xent.DistillationLoss(T, **options, labels=kind, label_weight=0.3, reduction="none")
        arguments = {**options, "labels": kind, "label_weight": 0.3, "hard_labels": hard}
        expected = reference.distillation_loss(soft, student, T, **arguments)
        pull = reference.distillation_loss_gradient(soft, student, T, **arguments)
        assert close(value_and_gradient(lambda x, loss=loss, y=packed: loss(y, x), tensor(student, "float32")), (expected, pull))
        metric = on_labels(f"{'sparse_' if kind == 'sparse' else ''}categorical_accuracy", labels=kind)
        metric.update_state(packed, student)
        assert abs(float(metric.result()) - (student.argmax(-1) == labels).mean()) < 1e-6
        assert keras.metrics.deserialize(keras.metrics.serialize(metric)).get_config() == metric.get_config()


@pytest.mark.parametrize("as_tensors", [False, True])
def test_packing_of_sequences(rng, as_tensors):
    """(B, T, k, 2) with ids (B, T), some of them ignored, under a weight of 0 that hides what is wrong."""
    teacher, student = draw(rng, 2, 3, CLASSES), draw(rng, 2, 3, CLASSES)
    labels = np.array([[0, -1, 2], [3, 4, 99]])
    pairs = top_k_targets(teacher, 3, temperature=T)
    hidden = pairs.copy()
    hidden[1, 2, :, 0] = [1, 1, -3]
    convert = tensor if as_tensors else np.asarray
    packed = keras_xent.pack_targets(convert(hidden), convert(labels), top_k=True)
    weights = np.float32([[1, 1, 2], [1, 0.5, 0]])
    options = {"targets": "top_k", "labels": "sparse", "label_weight": 0.4}
    loss = keras_xent.DistillationLoss(T, **options, ignore_class=-1)
    value, gradient = value_and_gradient(lambda x: loss(packed, x, weights), tensor(student, "float32"))
    counts = labels != -1
    safe = np.where(counts & (labels < CLASSES), labels, 0)
    losses = reference.distillation_loss(pairs, student, T, **options, hard_labels=safe)
    assert error_in_bounds(value, (losses * weights * counts).sum() / 5, "float32", 40, 20, 1.0) <= 1
    assert np.isfinite(gradient).all() and not gradient[0, 1].any() and not gradient[1, 2].any() and gradient[0, 0].all()


@pytest.mark.parametrize("tail", TAILS)
def test_removed_rows(rng, tail):
    """A weight of 0 hides ids that are none, ids that are listed twice, and NaN."""
    pairs, student = np.float32(reference.top_k_targets(draw(rng), 3, temperature=T)), draw(rng)
    loss = keras_xent.DistillationLoss(T, targets="top_k", tail=tail, reduction="sum")
    wrong = pairs.copy()
    wrong[1, :, 0], wrong[2, :, 0], wrong[3] = 99, 4, np.nan
    weights = np.float32([1, 0, 0, 0, 2, 1])
    expected, pull = right(pairs, student, tail=tail)
    value, gradient = value_and_gradient(lambda x: loss(tensor(wrong), x, weights), tensor(student, "float32"))
    assert close((value, gradient), ((expected * weights).sum(), pull * weights[:, None]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("position", "wrong", "message"), [((1, 0, 0), 7.0, "class 7"), ((1, 1, 0), None, "times at position 1")]
)
def test_ids_that_are_wrong(rng, position, wrong, message, mode):
    """Named where they can be read, a runtime error in a graph of TensorFlow, else NaN for that row alone."""
    pairs, student = np.float32(reference.top_k_targets(draw(rng), 3, temperature=T)), draw(rng)
    pairs[position] = pairs[1, 0, 0] if wrong is None else wrong
    if mode == "eager":
        with pytest.raises(ValueError, match=message):
            answer(pairs, student, mode)
    elif (BACKEND, mode) == ("tensorflow", "compiled"):
        with pytest.raises(Exception, match="no class, or a class twice"):
            in_a_program(pairs, student, mode)
    else:
        losses, gradient = in_a_program(pairs, student, mode)
        others = [0, 2, 3, 4, 5]
        assert np.isnan(losses[1]) and np.isnan(gradient[1]).all()
        assert np.isfinite(losses[others]).all() and np.isfinite(gradient[others]).all()


def in_a_program(pairs, student, mode):
    """Pairs that only the running program knows."""
    loss, given = keras_xent.DistillationLoss(T, targets="top_k", reduction="none"), tensor(pairs)
    return value_and_gradient(lambda x: loss(given + 0.0 * keras.ops.sum(x), x), tensor(student, "float32"), mode)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1.0, 2.0]], 3, 1.0), ValueError, r"`k` must be from 1 to 2, the classes of logits.shape=\(1, 2\). Received: k=3"),
        (([[1.0, 2.0]], 0, 1.0), ValueError, "`k` must be from 1 to 2"),
        (([[1.0, 2.0]], 1.5, 1.0), TypeError, "`k` must be an int"),
        (([[1.0, 2.0]], 1, 0.0), ValueError, "`temperature` must be a finite number, above 0"),
        (([[1.0, 2.0]], 1, None), TypeError, "`temperature` must be a number"),
        (([[1.0]], 1, 1.0), ValueError, "expected num_classes > 1"),
        ((["a"], 1, 1.0), TypeError, "`logits` must hold real numbers"),
    ],
)
def test_bad_targets(arguments, error, message):
    logits, k, temperature = arguments
    with pytest.raises(error, match=message):
        top_k_targets(logits, k, temperature=temperature)


def test_too_many_classes_for_float32():
    logits = keras.KerasTensor((1, 2**24 + 2))
    with pytest.raises(ValueError, match="16777218 classes; the ids of at most 16777217 are exact in float32"):
        top_k_targets(logits, 2, temperature=1.0)


PAIRS, STUDENT = np.zeros((2, 3, 2), "float32"), np.zeros((2, 5), "float32")


@pytest.mark.parametrize(
    ("options", "y_true", "message"),
    [
        ({}, np.zeros((2, 6, 2)), r"k at most 5.*y_true.shape=\(2, 6, 2\), y_pred.shape=\(2, 5\)"),
        ({}, np.zeros((2, 3, 3)), r"pairs of a class id and a log-probability"),
        ({}, np.zeros((3, 3, 2)), r"y_true.shape=\(2, 'k', 2\)"),
        ({"teacher_classes": 6}, PAIRS, r"teacher_classes=6 is more than the 5 classes"),
        ({"teacher_classes": 2}, PAIRS, r"k at most 2"),
        ({"labels": "sparse"}, PAIRS, r"pack_targets"),
        ({"labels": "sparse"}, np.zeros((2, 6)), r"2 k numbers, with k at most 5, of the teacher and 1 of the label"),
        ({"targets": "logits", "teacher_classes": 4}, np.zeros((2, 3)), r"but for 4 or more classes"),
        ({"targets": "logits", "teacher_classes": 4}, np.zeros((3, 5)), r"must have the same shape"),
    ],
)
def test_shapes_that_do_not_fit(options, y_true, message):
    loss = keras_xent.DistillationLoss(**{"targets": "top_k", **options})
    with pytest.raises(ValueError, match=message):
        loss(np.float32(y_true), tensor(STUDENT))


def test_half_precision_pairs():
    loss = keras_xent.DistillationLoss(targets="top_k")
    with pytest.raises(ValueError, match="cannot hold class ids above"):
        loss(tensor(PAIRS, "bfloat16"), tensor(STUDENT))


@pytest.mark.parametrize(
    ("targets", "labels", "message"),
    [(np.zeros((2, 3)), [0, 1], "top_k=True"), (PAIRS, np.zeros((2, 3)), None), (PAIRS, [0, 1, 2], "one class id per row")],
)
def test_packing_of_pairs(targets, labels, message):
    if message is None:
        assert keras_xent.pack_targets(targets, labels, top_k=True).shape == (2, 9)
    else:
        with pytest.raises(ValueError, match=message):
            keras_xent.pack_targets(targets, labels, top_k=True)

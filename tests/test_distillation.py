"""The distillation loss: against its definition, in its identities, with packed targets."""

import itertools

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import reference
from keras_xent.parity.bounds import EPSILON, error_in_bounds

from .backends import DTYPES, MODES, array, rounded, tensor, value_and_gradient
from .cases import one_hot, softmax

SHAPE, CLASSES = (4, 3, 5), 5


def teacher_as(targets, logits, axis):
    probs = softmax(logits, axis)
    return {"logits": logits, "probs": probs, "log_probs": np.log(probs)}[targets]


def compare(rng, dtype="float32", mode="eager", shape=SHAPE, **options):
    """Value and gradient of one combination, in multiples of the bound."""
    axis = options.get("axis", -1)
    teacher = rounded(teacher_as(options["targets"], 2 * rng.normal(size=shape), axis), dtype)
    student = 2 * rng.normal(size=shape)
    student = rounded(student if options.get("from_logits", True) else softmax(student, axis), dtype)
    hard = rng.integers(0, shape[axis], size=np.delete(shape, axis))
    hard = one_hot(hard, shape[axis], axis) if options.get("labels") == "dense" else hard
    y_true = tensor(teacher, dtype)
    if options.get("labels"):
        teacher = rounded(teacher, "float32")  # packed targets are
        packed_hard = np.moveaxis(hard, axis, -1) if options["labels"] == "dense" else hard
        y_true = tensor(keras_xent.pack_targets(np.moveaxis(teacher, axis, -1), packed_hard))
    loss = keras_xent.DistillationLoss(**options, reduction="none", dtype=dtype)
    losses, gradient = value_and_gradient(lambda x: loss(y_true, x), tensor(student, dtype), mode)
    arguments = {**options, "hard_labels": hard, "dtype": dtype}
    expected = reference.distillation_loss(teacher, student, **arguments)
    expected_gradient = reference.distillation_loss_gradient(teacher, student, **arguments)
    # a divergence is small beside the logarithms whose differences it is made of, and T² enlarges their rounding
    floor = max(1.0, options.get("temperature", 4.0)) * 4.0
    span = 30 / min(1.0, options.get("temperature", 4.0))
    return max(
        error_in_bounds(losses, expected, dtype, 20, span, floor),
        error_in_bounds(gradient, expected_gradient, dtype, 20, span, max(floor, np.abs(expected_gradient).max())),
    )


DIVERGENCES = ["kl", "reverse_kl", "jsd", "crossentropy"]
LABELS = ((None, 0.0), ("sparse", 0.0), ("sparse", 0.3), ("dense", 0.7), ("sparse", 1.0))


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("targets", ["logits", "probs", "log_probs"])
def test_equals_the_definition(rng, targets, divergence, from_logits):
    first = DIVERGENCES.index(divergence) % 2
    for turn, (labels, label_weight) in list(enumerate(LABELS))[first::2]:
        options = {"targets": targets, "divergence": divergence, "from_logits": from_logits, "labels": labels}
        options |= {"temperature": (0.5, 1.0, 4.0)[turn % 3], "label_weight": label_weight, "axis": (-1, 1, 0)[turn % 3]}
        options |= {"scale_by_temperature_squared": bool(turn % 2), "beta": (0.5, 0.1, 0.9)[turn % 3]}
        assert compare(rng, **options) <= 1, options


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(rng, dtype):
    for targets, labels in itertools.product(("logits", "probs"), (None, "sparse")):
        assert compare(rng, dtype, targets=targets, labels=labels, label_weight=0.5 if labels else 0.0) <= 1


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "eager"])
def test_compiled(rng, mode):
    assert compare(rng, mode=mode, targets="logits", labels="sparse", label_weight=0.3) <= 1
    assert compare(rng, mode=mode, targets="probs", divergence="crossentropy", from_logits=False) <= 1
    assert compare(rng, mode=mode, targets="logits", divergence="reverse_kl", temperature=2.0) <= 1
    assert compare(rng, mode=mode, targets="log_probs", divergence="jsd", beta=0.3) <= 1


def test_the_comparison_can_fail(rng, monkeypatch):
    """T for T² is found."""
    monkeypatch.setattr(reference, "distillation_loss", lambda *a, **k: distillation_loss(*a, **k) / 4.0)
    assert compare(rng, targets="logits") > 1


distillation_loss = reference.distillation_loss


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0, 4.0, 100.0])
def test_kl_plus_entropy_is_crossentropy(rng, temperature):
    teacher, student = rng.normal(size=(6, 7)), rng.normal(size=(6, 7))
    options = {"temperature": temperature, "targets": "logits", "scale_by_temperature_squared": False}
    kl, crossentropy = (
        array(keras_xent.distillation_loss(teacher, tensor(student, "float32"), divergence=divergence, **options))
        for divergence in ("kl", "crossentropy")
    )
    entropy = reference.distillation_loss(teacher, teacher, divergence="crossentropy", **options)
    assert (kl >= 0).all()
    assert error_in_bounds(kl + entropy, crossentropy, "float32", 7, 6 / temperature, floor=1 / temperature) <= 1


def test_a_one_hot_teacher_at_temperature_one_is_a_label(rng):
    student, labels = tensor(5 * rng.normal(size=(8, 6)), "float32"), rng.integers(0, 6, 8)
    sparse = array(keras_xent.sparse_categorical_crossentropy(labels, student, from_logits=True))
    for divergence in ("kl", "crossentropy"):
        soft = keras_xent.distillation_loss(one_hot(labels, 6), student, 1.0, targets="probs", divergence=divergence)
        assert error_in_bounds(array(soft), sparse, "float32", 6, 30) <= 1


def test_a_shift_of_the_logits_changes_nothing(rng):
    teacher, student = np.float32(rng.integers(-8, 8, size=(5, 4))), np.float32(rng.integers(-8, 8, size=(5, 4)))
    options = {"targets": "logits", "temperature": 2.0}
    losses = array(keras_xent.distillation_loss(teacher, tensor(student), **options))
    shifted = array(keras_xent.distillation_loss(teacher + 64, tensor(student - 32), **options))
    np.testing.assert_array_equal(losses, shifted)  # whole numbers: the shift is exact


def soft(teacher, student, divergence, temperature=1.0, **options):
    """Losses and gradient without T²."""
    options |= {"targets": "logits", "divergence": divergence, "scale_by_temperature_squared": False}
    return value_and_gradient(
        lambda x: keras_xent.distillation_loss(tensor(teacher, "float32"), x, temperature, **options), tensor(student, "float32")
    )


@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_the_jensen_shannon_divergence_is_symmetric_and_at_most_log_2(rng, scale):
    teacher, student = scale * rng.normal(size=(2, 50, 6))
    (one, _), (other, _) = soft(teacher, student, "jsd"), soft(student, teacher, "jsd")
    assert error_in_bounds(one, other, "float32", 6, 10 * scale, floor=1e-2) <= 1
    assert (one >= 0).all() and (one <= np.log(2) * (1 + 4 * EPSILON["float32"])).all()
    skewed = soft(teacher, student, "jsd", beta=0.2)[0], soft(student, teacher, "jsd", beta=0.8)[0]
    assert error_in_bounds(*skewed, "float32", 6, 10 * scale, floor=1e-2) <= 1


def test_the_skewed_divergence_tends_to_both_of_kullback_and_leibler(rng):
    """JSD / β to KL(p, q) as β goes to 0, and JSD / (1 - β) to KL(q, p) as it goes to 1."""
    teacher, student, near = *rng.normal(size=(2, 8, 5)), 1e-4
    for divergence, beta in (("kl", near), ("reverse_kl", 1.0 - near)):
        skewed, _ = soft(teacher, student, "jsd", beta=beta)
        np.testing.assert_allclose(skewed / near, soft(teacher, student, divergence)[0], rtol=6 * near)


def test_the_reverse_divergence_is_the_other_way_round(rng):
    teacher, student = rng.normal(size=(2, 8, 5))
    (reverse, _), (kl, _) = soft(teacher, student, "reverse_kl"), soft(student, teacher, "kl")
    assert error_in_bounds(reverse, kl, "float32", 5, 10, floor=0.1) <= 1


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_at_a_high_temperature_the_gradient_is_the_difference_of_the_logits(rng, divergence):
    """T² times the gradient tends to f'' (z - t) / K, both centred, where f'' is 1, or β (1 - β) for the mixture."""
    teacher, student = rng.normal(size=(2, 6, 5))
    right = (student - student.mean(-1, keepdims=True) - teacher + teacher.mean(-1, keepdims=True)) / 5
    curvature = 0.25 if divergence == "jsd" else 1.0
    loss = keras_xent.DistillationLoss(3000.0, targets="logits", divergence=divergence, reduction="none")
    _, gradient = value_and_gradient(lambda x: loss(tensor(teacher, "float32"), x), tensor(student, "float32"))
    np.testing.assert_allclose(gradient, curvature * right, rtol=0, atol=3e-4)  # of 0.5; what is left falls with 1 / T


@pytest.mark.parametrize("distance", [0.0, 1e-4, 1e-2, 1.0])
def test_kl_is_exact_for_a_student_close_to_its_teacher(rng, distance):
    """Where q - p - p (log q - log p), summed as written, would leave only rounding errors."""
    teacher = rounded(rng.normal(size=(6, 5)), "float32")
    student = rounded(teacher + distance * rng.normal(size=(6, 5)), "float32")
    options = {"targets": "logits", "temperature": 1.0}
    losses, gradient = value_and_gradient(
        lambda x: keras_xent.distillation_loss(tensor(teacher, "float32"), x, **options), tensor(student, "float32")
    )
    expected = reference.distillation_loss(teacher, student, **options)
    # d = log q - log p carries the rounding ε of its terms: a relative error of 2 ε / d, beside the rounding of the rest
    allowed = (64 + 16 / max(distance, 1e-30)) * EPSILON["float32"]
    assert (losses >= 0).all()
    assert np.all(np.abs(losses - expected) <= allowed * np.abs(expected) + (distance == 0.0) * EPSILON["float32"] ** 2 * 64)
    expected_gradient = reference.distillation_loss_gradient(teacher, student, **options)
    assert error_in_bounds(gradient, expected_gradient, "float32", 5, 4, floor=1.0) <= 1


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("temperature", [0.05, 1.0, 100.0])
def test_finite_at_any_temperature(temperature, divergence):
    """Equal to the definition, too: also where logits over T overflow though their differences do not."""
    teacher = np.array([[1e3, -1e3, 0.0], [1e30, 0.0, 1e29], [0.0, 0.0, 0.0], [-np.inf, 0.0, 1.0], [3e38, 3e38, 0.0]])
    student = np.array([[-1e3, 1e3, 0.0], [0.0, 1e30, 1.0], [5.0, 5.0, 5.0], [0.0, 1.0, 2.0], [3e38, 3e38, 3e38]])
    if divergence == "reverse_kl":  # infinite where the teacher rules a class out
        teacher, student = teacher[:3], student[:3]
    teacher, student = np.float32(teacher), np.float32(student)
    options = {"targets": "logits", "divergence": divergence}
    loss = keras_xent.DistillationLoss(temperature, **options, reduction="none")
    losses, gradient = value_and_gradient(lambda x: loss(tensor(teacher), x), tensor(student))
    assert np.isfinite(losses).all() and np.isfinite(gradient).all() and (losses >= 0).all()
    assert divergence == "crossentropy" or losses[2] == 0.0
    with np.errstate(all="ignore"):
        right = reference.distillation_loss(teacher, student, temperature, **options)
        pull = reference.distillation_loss_gradient(teacher, student, temperature, **options)
    # a mixture is as far from its parts as they are apart, give or take the rounding of its logarithm
    floor = 1e-4 * temperature**2 if divergence == "jsd" else 1e-30
    assert error_in_bounds(losses, right, "float32", 3, 20, floor) <= 1
    least = temperature if divergence == "crossentropy" else 1e-4 * temperature  # T (q - p) is a difference of numbers up to T
    assert error_in_bounds(gradient, pull, "float32", 3, 20, np.abs(pull).max(-1, keepdims=True).clip(least)) <= 1


def test_the_definition_where_a_class_is_all_but_ruled_out(rng):
    """Its e^d is infinite, its share of the divergence is not: D = Σ p (log p - log q)."""
    teacher, student = (1000.0 * rng.normal(size=(3, 50)) for _ in range(2))
    log_p, log_q = (x / 4.0 - np.logaddexp.reduce(x / 4.0, axis=-1, keepdims=True) for x in (teacher, student))
    expected = 16.0 * (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    np.testing.assert_allclose(reference.distillation_loss(teacher, student, targets="logits"), expected, rtol=1e-12)


def test_no_gradient_flows_into_the_teacher(rng):
    student = tensor(rng.normal(size=(2, 3)), "float32")
    loss = keras_xent.DistillationLoss(targets="logits")
    _, gradient = value_and_gradient(lambda teacher: loss(teacher, student) + 0.0 * keras.ops.sum(teacher), student + 1.0)
    assert not gradient.any()


def test_a_row_of_zero_probabilities_says_nothing():
    for divergence in ("kl", "crossentropy"):
        loss = keras_xent.DistillationLoss(targets="probs", divergence=divergence, reduction="none")
        losses, gradient = value_and_gradient(
            lambda x, loss=loss: loss(tensor([[0, 0, 0], [0, 1, 0]], "float32"), x), tensor(np.eye(2, 3), "float32")
        )
        assert losses[0] == 0 and losses[1] > 0 and not gradient[0].any() and gradient[1].all()


def test_ignored_labels_leave_both_parts_and_the_denominator(rng):
    teacher, student = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    labels = np.array([0, -1, 2, 3, -1, 1])
    counts = labels >= 0
    options = {"targets": "logits", "labels": "sparse", "label_weight": 0.4}
    packed = keras_xent.pack_targets(teacher, labels)
    student[~counts] = np.nan
    loss = keras_xent.DistillationLoss(**options, ignore_class=-1)
    value, gradient = value_and_gradient(lambda x: loss(tensor(packed, "float32"), x), tensor(student, "float32"))
    expected = reference.distillation_loss(teacher[counts], student[counts], hard_labels=labels[counts], **options)
    assert error_in_bounds(value, expected.mean(), "float32", 24, 20) <= 1
    assert np.isfinite(gradient).all() and not gradient[~counts].any()


def test_a_wrong_hard_label_is_named(rng):
    y_true = keras_xent.pack_targets(rng.normal(size=(2, 3)), [0, 3])
    loss = keras_xent.DistillationLoss(targets="logits", labels="sparse", label_weight=0.5)
    with pytest.raises(ValueError, match="`y_true` holds class 3 at position 1"):
        loss(y_true, tensor(np.zeros((2, 3)), "float32"))


@pytest.mark.parametrize("as_tensors", [False, True])
def test_packing(rng, as_tensors):
    targets, labels = np.float32(rng.normal(size=(2, 3, 4))), rng.integers(0, 4, size=(2, 3))
    convert = tensor if as_tensors else np.asarray
    sparse = keras_xent.pack_targets(convert(targets), convert(labels))
    np.testing.assert_array_equal(array(sparse), array(keras_xent.pack_targets(convert(targets), convert(labels[..., None]))))
    dense = keras_xent.pack_targets(convert(targets), convert(one_hot(labels, 4)))
    student = tensor(rng.normal(size=(2, 3, 4)), "float32")
    losses = [
        array(keras_xent.DistillationLoss(targets="logits", labels=kind, label_weight=0.5, reduction="none")(packed, student))
        for kind, packed in (("sparse", sparse), ("dense", dense))
    ]
    assert error_in_bounds(losses[0], losses[1], "float32", 4, 10) <= 1
    for packed in (sparse, dense):
        assert "float32" in str(packed.dtype) and (isinstance(packed, np.ndarray) is not as_tensors)
        for name in ("sparse_categorical_accuracy", "categorical_accuracy"):
            if (name == "sparse_categorical_accuracy") == (packed is sparse):
                metric = keras_xent.distill.on_labels(name)
                metric.update_state(packed, student)
                expected = (array(student).argmax(-1) == labels).mean()
                assert metric.name == name and abs(float(metric.result()) - expected) < 1e-6
                metric.reset_state()
                assert float(metric.result()) == 0.0


@pytest.mark.parametrize(
    ("targets", "labels", "message"),
    [
        (np.zeros((2, 3)), [0, 1, 2], "one class id per row"),
        (np.zeros((2, 3)), np.zeros((3, 4)), "one class id per row"),
        (np.zeros((2, 3)), [0.5, 1], "whole numbers"),
        (np.zeros((2, 3)), ["a", "b"], None),
        (None, [0, 1], None),
        (np.zeros((2, 3)), [[0], [1, 2]], None),
        (np.zeros((2, 3)), [0, 2**24 + 1], "float32 holds exactly"),
        (np.zeros((2, 1)), [0, 0], "num_classes > 1"),
    ],
)
def test_what_cannot_be_packed(targets, labels, message):
    with pytest.raises(TypeError if message is None else ValueError, match=message or "must hold real numbers"):
        keras_xent.pack_targets(targets, labels)


def test_packed_targets_below_float32(rng):
    y_true = keras_xent.pack_targets(rng.normal(size=(2, 3)), [0, 2])
    loss = keras_xent.DistillationLoss(targets="logits", labels="sparse", label_weight=0.5)
    accuracy = keras_xent.distill.on_labels("sparse_categorical_accuracy")
    for narrowed in (tensor(y_true, "bfloat16"), y_true.astype("float16")):
        for compute in (loss, loss.call, accuracy.update_state):
            with pytest.raises(ValueError, match=r"cannot hold class ids above .*Keep .* in float32"):
                compute(narrowed, tensor(np.zeros((2, 3)), "float32"))


@pytest.mark.parametrize("mode", MODES)
def test_a_wrong_hard_label_without_weight_does_not_count(mode):
    y_true = tensor(keras_xent.pack_targets(np.eye(2, 3), [7, 1]))
    loss = keras_xent.DistillationLoss(targets="probs", labels="sparse", label_weight=0.5)
    value, gradient = value_and_gradient(
        lambda x: loss(y_true, x, sample_weight=tensor([0.0, 1.0], "float32")), tensor(np.zeros((2, 3)), "float32"), mode
    )
    assert np.isfinite(value) and not gradient[0].any() and gradient[1].all()


def test_an_unnamed_accuracy():
    for metric in (None, "accuracy"):
        with pytest.raises(ValueError, match="sparse_categorical_accuracy"):
            keras_xent.distill.on_labels(metric)


def test_targets_that_were_not_packed(rng):
    student = tensor(np.zeros((2, 3)), "float32")
    with pytest.raises(ValueError, match="pack_targets"):
        keras_xent.DistillationLoss(targets="logits", labels="sparse")(np.zeros((2, 3)), student)
    with pytest.raises(ValueError, match="pack_targets"):
        keras_xent.DistillationLoss(targets="logits")(np.zeros((2, 4)), student)
    with pytest.raises(ValueError, match="pack_targets"):
        keras_xent.distill.on_labels("sparse_categorical_accuracy").update_state(np.zeros((2, 3)), student)


def test_metrics_on_labels_serialize():
    for metric in ("sparse_categorical_accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top2")):
        wrapped = keras_xent.distill.on_labels(metric)
        clone = keras.metrics.deserialize(keras.metrics.serialize(wrapped))
        assert type(clone) is type(wrapped) and clone.get_config() == wrapped.get_config()

"""What a trace says: formulas, where it clipped, saturated, ignored or weighed, and what Keras gives."""

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent.parity.cases import KINDS
from keras_xent.parity.known import KNOWN_DIFFERENCES
from keras_xent.parity.running import BACKEND, tensor


def notes_of(trace):
    """All notes, by the name of the step."""
    return {step.name: step.notes for step in trace.steps if step.notes}


def test_each_step_has_its_formula_and_what_it_took():
    trace = keras_xent.explain(keras_xent.CategoricalCrossentropy(), [[0, 1]], [[1.0, 3.0]])
    clip = next(step for step in trace.steps if step.name == "clip")
    assert (clip.gives, clip.takes, clip.formula) == ("clipped", ("probs", "epsilon"), "q_k = min(max(p_k, ε), 1 - ε)")
    assert (clip.dtype, clip.shape) == ("float32", (1, 2))
    np.testing.assert_allclose(clip.value, [[0.25, 0.75]])
    assert trace["clipped"] is clip.value
    with pytest.raises(KeyError, match="no step gives 'nothing'; there are: probs"):
        trace["nothing"]


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "weights", "step", "words"),
    [
        ("CategoricalCrossentropy", [[1, 0]], [[1e-9, 1.0]], None, "clip", "clipped up to ε = 1e-07: 1 of 2, at [0, 0]"),
        ("CategoricalCrossentropy", [[1, 0]], [[1e-9, 1.0]], None, "clip", "clipped down to 1 - ε: 1 of 2, at [0, 1]"),
        ("CategoricalCrossentropy", [[1, 0]], [[1e-9, 0.9]], None, "log", 'that of log p (saturated_gradient="flow")'),
        ("CategoricalCrossentropy", [[1, 0]], [[0.0, 0.9]], None, "log", "no gradient at p = 0: 1 of 2, at [0, 0]"),
        ("CategoricalCrossentropy", [[1, 0]], [[2.0, 2.0]], None, "renormalize", "does not sum to 1"),
        ("CategoricalCrossentropy", [[1, 0]], [[0.0, 0.0]], None, "renormalize", "a row of zeros stays one"),
        ("KLDivergence", [[1, 0]], [[0.5, 0.5]], None, "clip_targets", "clipped up to ε"),
        ("CategoricalCrossentropy", [[1, 0]], [[0.5, 0.5]], [3.0], "weigh_losses", "weighed by 3"),
        ("CategoricalFocalCrossentropy", [[1, 0]], [[0.5, 0.5]], None, "weigh", ""),
    ],
)
def test_notes(loss, y_true, y_pred, weights, step, words):
    notes = notes_of(keras_xent.explain(loss, y_true, y_pred, weights))
    if words:
        assert any(words in note for note in notes[step]), notes


def test_notes_on_options():
    loss = keras_xent.SparseCategoricalCrossentropy(class_weight={0: 2.0}, saturated_gradient="zero")
    notes = notes_of(keras_xent.explain(loss, [0, 1], [[1e-9, 1.0], [0.5, 0.5]]))
    assert notes["weigh_loss"] == ("weighed by 1 to 2",)
    assert "no gradient where the clip binds" in notes["log"][0]
    from_logits = keras_xent.CategoricalCrossentropy(from_logits=True)
    notes = notes_of(keras_xent.explain(from_logits, [[1.0, 0.0, 0.0]], [[40.0, 0.0, -np.inf]]))
    assert "the probability rounds to 1" in notes["log_top_denominator"][0]
    assert "ruled out, with target 0" in notes["expect_loss"][0]


def test_what_the_loss_is_not_made_for_is_said_of_the_input():
    """Logits taken for probabilities, a class too many: the numbers are looked at, which losses do not."""
    document = keras_xent.explain("categorical_crossentropy", [[1, 0, 0]], [[-3.0, 2.0, 1.5]]).document()
    given = {entry.name: entry for entry in document.sections[0].entries}
    assert "not probabilities" in given["y_pred"].notes[0] and "at [0, 0]" in given["y_pred"].notes[0]
    assert not given["y_true"].notes


def test_the_gradient_has_a_formula_for_every_loss(rng):
    y_pred = rng.dirichlet(np.ones(4), 2)
    for name in KINDS:
        for from_logits in (True, False):
            more = {"targets": "probs"} if name == "DistillationLoss" else {}
            loss = getattr(keras_xent, name)(from_logits=from_logits, **more)
            sparse = "Sparse" in name or "Generalized" in name
            trace = keras_xent.explain(loss, [0, 1] if sparse else np.eye(4)[:2], y_pred)
            assert trace.gradient_formula[0] and trace.gradient_formula[1] == "w_i g / N"
            assert trace.definition.agrees, (name, from_logits, trace.definition.said)


def test_losses_from_features_are_explained_from_their_logits():
    with pytest.raises(ValueError, match="makes its logits itself"):
        keras_xent.explain(keras_xent.LinearSparseCategoricalCrossentropy(), [0], [[1.0, 2.0]])


def test_keras_gives_the_same_where_nothing_is_known():
    for loss in ("categorical_crossentropy", keras.losses.CategoricalCrossentropy(label_smoothing=0.1, reduction="sum")):
        trace = keras_xent.explain(loss, [[0, 1]], [[0.3, 0.7]], [2.0])
        assert trace.keras.differs == () and trace.keras.value == pytest.approx(trace.value)
        assert trace.loss.startswith("keras.losses.CategoricalCrossentropy(")


def test_names_are_those_of_compile():
    for name in ("categorical_crossentropy", "CategoricalCrossentropy", keras.losses.CategoricalCrossentropy):
        trace = keras_xent.explain(name, [[0, 1], [1, 0]], [[0.3, 0.7], [0.4, 0.6]])
        assert trace.keras is not None and trace.reduction == "sum_over_batch_size"
    assert keras_xent.explain("bce", [[1.0]], [[0.3]]).loss == "keras.losses.BinaryCrossentropy()"
    ours = keras_xent.explain("SparseCategoricalFocalCrossentropy", [1], [[0.3, 0.7]])
    assert ours.keras is None and ours.loss == "SparseCategoricalFocalCrossentropy()"


def test_the_arguments_of_kerass_objects_are_kept():
    loss = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.3, gamma=1.5, from_logits=True, axis=0)
    trace = keras_xent.explain(loss, [[1.0, 0.0]], [[0.4, -0.3]])
    assert trace.subject.alpha == 0.3 and trace.subject.gamma == 1.5 and trace.subject.axis == 0
    assert trace.keras.differs == ()
    sparse = keras.losses.SparseCategoricalCrossentropy(axis=1, ignore_class=3)
    assert keras_xent.tracing.subjects.twin_of(sparse).axis == 1


def test_a_known_difference_in_value_is_beside_it():
    """Every backend loses a confident prediction."""
    trace = keras_xent.explain(keras.losses.SparseCategoricalCrossentropy(from_logits=True), [1], [[0.0, 40.0]])
    assert "value" in trace.keras.differs and trace.keras.value == 0.0 and trace.value > 0
    assert trace.keras.region.name == "nothing but certainty over classes"
    assert trace.keras.known[0] in KNOWN_DIFFERENCES and trace.keras.known[0].why in " ".join(str(trace).split())


def test_a_known_difference_in_the_gradient_is_beside_it():
    trace = keras_xent.explain("categorical_crossentropy", [[1, 0]], [[1e-9, 1.0]])
    assert trace.keras.differs == ("gradient",)
    assert "Keras's own gradient" in str(trace) and "has no gradient; the logarithm does" in " ".join(str(trace).split())


def test_behind_a_softmax():
    """16.118 here, and 30 from Keras on TensorFlow, which looks for the logits."""
    y_pred = keras.activations.softmax(tensor([[-30.0, 0.0]], "float32"))
    trace = keras_xent.explain("categorical_crossentropy", [[1, 0]], y_pred)
    assert trace.value == pytest.approx(16.1181, abs=1e-3)
    assert trace.keras.value == pytest.approx(30.0 if BACKEND == "tensorflow" else 16.1181, abs=1e-3)
    assert "the logits that the activation was given" in " ".join(str(trace).split()) or BACKEND != "tensorflow"


def test_an_error_of_kerass_is_shown():
    """Of weights that Keras aligns with the last axis."""
    loss = keras.losses.CategoricalCrossentropy()
    y_pred = np.full((2, 3, 2), 0.5, "float32")
    trace = keras_xent.explain(loss, np.eye(2)[np.zeros((2, 3), int)], y_pred, np.array([1.0, 0.0]))
    assert trace.keras.error and trace.keras.region.name == "weights of fewer axes"
    assert "raises an error" in str(trace) and trace.to_dict()["keras"]["value"] is None


def test_what_a_teacher_gives_is_said():
    """By the kind of its targets; packed with labels it is several things."""
    student = [[4.0, 2.5, 0.0]]
    for targets, words, given in (
        ("logits", "logits; -inf rules a class out", [[6.0, 3.0, 1.0]]),
        ("probs", "probabilities, or other numbers from 0", [[0.7, 0.2, 0.1]]),
        ("top_k", "pairs of a class id and its log-probability", [[[0.0, -0.1], [1.0, -3.0]]]),
    ):
        trace = keras_xent.explain(keras_xent.DistillationLoss(targets=targets), given, student)
        teacher = next(iter(trace.given()))
        assert words in teacher.formula and not teacher.notes
    loss = keras_xent.DistillationLoss(targets="logits", label_weight=0.5, labels="sparse")
    packed = keras_xent.explain(loss, keras_xent.pack_targets(np.array([[6.0, 3.0, 1.0]]), np.array([0])), student)
    assert next(iter(packed.given())).formula == ""


class Derived(keras_xent.SparseCategoricalCrossentropy):
    """Which might compute something else."""


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "weights", "error", "words"),
    [
        ("nothing", [1], [[0.5, 0.5]], None, ValueError, "There is no loss 'nothing' to explain"),
        ("MeanSquaredError", [1], [[0.5, 0.5]], None, ValueError, "There is no loss"),
        (3, [1], [[0.5, 0.5]], None, ValueError, "3 of type int"),
        (keras.losses.MeanSquaredError(), [1], [[0.5, 0.5]], None, ValueError, "There is no loss"),
        (np.sum, [1], [[0.5, 0.5]], None, ValueError, "There is no loss"),
        ("LinearSparseCategoricalCrossentropy", [1], [[0.5, 0.5]], None, ValueError, "makes its logits itself"),
        (Derived(), [1], [[0.5, 0.5]], None, ValueError, "There is no loss Derived.* to explain"),
        ("DistillationLoss", [[1, 2]], [[0.5, 0.5]], None, ValueError, "DistillationLoss needs arguments"),
        (keras_xent.binary_crossentropy, [[1]], [[0.5]], [1.0], ValueError, "neither weighs nor reduces"),
        (keras_xent.categorical_crossentropy, [[1]], [[0.5, 0.5]], None, ValueError, "must have the same shape"),
        ("CategoricalCrossentropy", [1], [[0.5, 0.5]], None, ValueError, "must have the same shape"),
        ("SparseCategoricalCrossentropy", [2], [[0.5, 0.5]], None, ValueError, "class 2"),
        ("CategoricalCrossentropy", None, [[0.5, 0.5]], None, TypeError, "`y_true` is None"),
        ("CategoricalCrossentropy", [[1, 0]], None, None, TypeError, "`y_pred` is None"),
        ("CategoricalCrossentropy", [["a", "b"]], [[0.5, 0.5]], None, TypeError, "must hold real numbers"),
    ],
)
def test_errors(loss, y_true, y_pred, weights, error, words):
    with pytest.raises(error, match=words):
        keras_xent.explain(loss, y_true, y_pred, weights)

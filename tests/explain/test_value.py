"""The last number of a trace is the loss, whatever the loss, its options, weights, masks and reduction."""

import functools
import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_xent
from keras_xent import _backend
from keras_xent.parity.cases import KINDS
from keras_xent.parity.choose import varied
from keras_xent.parity.corpus import corpus
from keras_xent.parity.implementations import our_loss, targets_of
from keras_xent.parity.running import BACKEND, array, having, tensor
from keras_xent.tracing import programs

from ..cases import every_case

SOME = 3 if BACKEND == "jax" else 24  # cases per loss: JAX compiles each operation for each shape
EVERY = 20 if BACKEND == "jax" else 1


def same(given, expected, dtype="float32"):
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype, 1e-5)
    np.testing.assert_allclose(np.asarray(given, "float64"), np.asarray(expected, "float64"), rtol=tolerance, atol=1e-30)


@pytest.mark.parametrize("loss", KINDS)
def test_of_the_corpus(loss):
    """Ordinary, extreme and degenerate inputs, with reductions, weights and dtypes."""
    for case in varied(corpus(loss), SOME):
        with having(case.dtype):
            loss_object = our_loss(case)
            given = targets_of(case), tensor(case.y_pred, case.dtype), case.sample_weight
            trace = keras_xent.explain(loss_object, *given)
            same(trace.value, array(loss_object(*given)), case.dtype)
            if "divide" in [step.name for step in trace.steps]:
                same(trace.steps[-1].value, trace.value, case.dtype)
            assert np.shape(trace.gradient) == case.y_pred.shape
            assert str(trace) and trace.to_markdown() and trace._repr_html_()


@pytest.mark.parametrize("from_logits", [True, False])
def test_of_every_option(rng, from_logits):
    """Value, per-example losses and gradient are those of the definition."""
    for case in [*every_case(rng, (4, 5), from_logits)][::EVERY]:
        trace = keras_xent.explain(case.loss(), case.y_true, case.y_pred)
        losses, gradient = case.expected()
        np.testing.assert_allclose(trace.losses, losses, rtol=1e-4, atol=1e-5)
        if "ignore_class" not in case.options:
            np.testing.assert_allclose(trace.gradient, gradient / losses.size, rtol=1e-3, atol=1e-4 * np.abs(gradient).max())
            assert trace.definition.agrees, (case.name, case.options, trace.definition.said)


WEIGHTS, MASK = [1.0, 0.0, 0.5], np.array([True, True, False])


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None])
def test_of_weights_masks_and_ignored_labels(rng, reduction):
    """Steps say what counts, what weighs, and what the sum is divided by."""
    loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2, reduction=reduction)
    logits = tensor(rng.normal(size=(3, 4)), "float32")
    masked = _backend.carry_mask(logits, tensor(MASK))
    for y_pred, labels, weights in (
        (logits, [0, 1, 3], None),
        (logits, [0, 2, 3], WEIGHTS),
        (masked, [0, 1, 3], None),
        (masked, [0, 2, 3], WEIGHTS),
    ):
        trace = keras_xent.explain(loss, labels, y_pred, weights)
        same(trace.value, array(loss(np.array(labels), y_pred, weights)))
        counts = np.array([label != 2 for label in labels]) & (MASK if trace.inputs.mask is not None else True)
        assert trace["counts"].tolist() == counts.tolist()
        if reduction in ("sum_over_batch_size", "mean"):
            assert trace["denominator"] == counts.sum()
        if reduction == "mean_with_sample_weight":
            assert trace["denominator"] == (counts * (1.0 if weights is None else np.array(weights))).sum()
        assert trace.definition.agrees, trace.definition.said


def test_what_has_no_weight_may_be_anything():
    """NaN, under a weight of 0, is replaced and dropped, and the steps say so."""
    trace = keras_xent.explain("CategoricalCrossentropy", [[0, 1], [1, 0]], [[0.5, 0.5], [np.nan, 0.1]], [1.0, 0.0])
    assert trace.steps[0].name == "blank" and "1 stands in" in trace.steps[0].notes[0]
    same(trace.value, np.log(2.0) / 2)
    assert trace.definition.agrees, trace.definition.said
    assert trace.keras.differs and trace.keras.region.name == "NaN without weight"


def test_distillation(rng):
    """Every form of teacher, every divergence, with hard labels beside them."""
    teacher, student = rng.normal(size=(2, 3, 5))
    probs = np.exp(teacher) / np.exp(teacher).sum(-1, keepdims=True)
    top_k = keras_xent.distill.top_k_targets(teacher, 3, temperature=4.0)
    makers = [
        ({"targets": "logits", "divergence": divergence}, teacher) for divergence in ("kl", "reverse_kl", "jsd", "crossentropy")
    ]
    makers += [({"targets": "probs"}, probs), ({"targets": "top_k"}, top_k), ({"targets": "top_k", "tail": "uniform"}, top_k)]
    packed = keras_xent.pack_targets(teacher, [1, 2, 4])
    makers += [({"targets": "logits", "labels": "sparse", "label_weight": 0.3, "ignore_class": 2}, packed)]
    makers += [({"targets": "logits", "labels": "dense", "label_weight": 1.0}, keras_xent.pack_targets(teacher, np.eye(5)[:3]))]
    for options, y_true in makers:
        loss = keras_xent.DistillationLoss(**options)
        trace = keras_xent.explain(loss, y_true, student)
        same(trace.value, array(loss(y_true, student)))
        assert trace.definition.agrees, (options, trace.definition.said)


def test_functions_neither_weigh_nor_reduce():
    y_true, y_pred = np.array([1, 0]), np.array([[0.2, 0.8], [0.3, 0.7]], "float32")
    for function in (keras_xent.sparse_categorical_crossentropy, keras.losses.sparse_categorical_crossentropy):
        trace = keras_xent.explain(function, y_true, y_pred)
        same(trace.value, array(function(y_true, ops.convert_to_tensor(y_pred))))
        assert trace.reduction == "none" and trace.value.shape == (2,)
    smoothed = functools.partial(keras_xent.sparse_categorical_crossentropy, label_smoothing=0.5)
    trace = keras_xent.explain(smoothed, y_true, y_pred)
    same(trace.value, array(smoothed(y_true, y_pred)))
    assert trace.loss == "keras_xent.sparse_categorical_crossentropy(label_smoothing=0.5)"
    bounded = functools.partial(keras_xent.categorical_generalized_cross_entropy, q=0.3)
    same(keras_xent.explain(bounded, y_true, y_pred).value, array(bounded(y_true, y_pred)))


def test_half_precision_is_computed_in_float32():
    trace = keras_xent.explain(keras_xent.BinaryCrossentropy(dtype="float16"), [[1.0]], [[0.3]])
    assert (trace.dtype, trace.computed_in) == ("float16", "float32")
    assert "the result is rounded to float16" in str(trace)
    assert trace.definition.agrees, trace.definition.said


def test_steps_that_end_in_something_else_are_an_error(monkeypatch, request):
    """The check can fail."""
    loss = keras_xent.BinaryCrossentropy(name="off")
    monkeypatch.setattr(type(loss), "call", lambda self, y_true, y_pred: 1.01 * self._losses(y_true, y_pred))
    programs.compiled.cache_clear()
    request.addfinalizer(programs.compiled.cache_clear)  # of the program that is off
    with pytest.raises(AssertionError, match="end in"):
        keras_xent.explain(loss, [[1.0]], [[0.3]])


def test_nothing_is_changed_by_being_explained(rng):
    y_pred = rng.uniform(size=(3, 4)).astype("float32")
    before = y_pred.copy()
    loss = keras_xent.CategoricalCrossentropy(label_smoothing=0.1)
    config = loss.get_config()
    keras_xent.explain(loss, np.eye(4)[:3], y_pred, [1.0, 0.0, 2.0])
    assert (y_pred == before).all() and loss.get_config() == config


def test_names_and_tables_as_compile_takes_them():
    pandas = pytest.importorskip("pandas")
    probs = np.array([[0.2, 0.8], [0.6, 0.4]])
    for y_true, name in (([1, 0], "sparse_categorical_crossentropy"), ([[0, 1], [1, 0]], "categorical_crossentropy")):
        for short in ("crossentropy", "ce"):
            assert keras_xent.explain(short, y_true, probs).loss == keras_xent.explain(name, y_true, probs).loss
    assert keras_xent.explain("ce", [[1], [0]], probs[:, :1]).loss == "keras.losses.BinaryCrossentropy()"
    given = pandas.Series([1, 0], index=[7, 9]), pandas.DataFrame(probs), pandas.Series([1.0, 2.0])
    weighed = keras_xent.explain("crossentropy", *given)
    assert weighed.value == keras_xent.explain("crossentropy", [1, 0], probs, [1.0, 2.0]).value


def test_numbers_that_are_missing():
    """Why is my loss NaN? It is shown where, in every form."""
    for loss in ("categorical_crossentropy", keras_xent.CategoricalCrossentropy(from_logits=True)):
        trace = keras_xent.explain(loss, [[0, 1], [1, 0]], [[0.2, 0.8], [np.nan, 0.4]])
        assert (np.isnan(trace.value) and "not probabilities" in str(trace)) or "not logits" in str(trace)
        assert '"nan"' in json.dumps(trace.to_dict(), allow_nan=False)
    try:
        told = str(keras_xent.explain(keras_xent.CategoricalCrossentropy(from_logits=True), [[1, 0]], [[np.inf, 0.0]]))
    except ValueError as error:  # where a kernel makes something else of it than the steps
        told = str(error)
    assert "not logits" in told or "holds what CategoricalCrossentropy(from_logits=True) does not take" in told


def test_programs_are_those_of_their_loss():
    """One that is compiled is used again for the same loss alone."""
    y_true, y_pred = [[0.0, 1.0]], [[0.8, 0.2]]
    loss = keras_xent.CategoricalFocalCrossentropy()
    first = keras_xent.explain(loss, y_true, y_pred)
    loss.gamma = 0.5
    assert keras_xent.explain(loss, y_true, y_pred).value != first.value
    assert keras_xent.explain(keras_xent.CategoricalFocalCrossentropy(), y_true, y_pred).value == first.value
    saturated = [[1.0, 0.0]]
    before = keras_xent.explain("categorical_crossentropy", y_true, saturated).value
    epsilon = keras.config.epsilon()
    try:
        keras.config.set_epsilon(1e-3)
        assert keras_xent.explain("categorical_crossentropy", y_true, saturated).value < before
    finally:
        keras.config.set_epsilon(epsilon)
    assert keras_xent.explain("categorical_crossentropy", y_true, saturated).value == before


@pytest.mark.skipif(BACKEND != "jax", reason="the other backends compile nothing")
def test_few_programs_are_compiled():
    """The steps, the reduction, the loss with its gradient, and Keras's: not each operation; and none again."""
    import jax.monitoring

    events = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: events.append(event))
    y_true, y_pred = [1, 2, 3], np.random.default_rng(0).dirichlet(np.ones(13), 3).astype("float32")
    keras_xent.explain("sparse_categorical_crossentropy", y_true, y_pred)
    compiled = sum("backend_compile" in event for event in events)
    assert 0 < compiled <= 10
    keras_xent.explain("sparse_categorical_crossentropy", y_true, y_pred)
    assert sum("backend_compile" in event for event in events) == compiled


@pytest.mark.skipif(BACKEND != "jax", reason="the other backends compile nothing")
def test_a_compiler_with_other_options(monkeypatch):
    """Programs are compiled without the quick options; any other failure is told."""
    import jax

    from keras_xent._backend import jax as backend

    monkeypatch.setattr(backend, "COMPILED_SOON", {"xla_an_option_of_another_release": 1})
    program = backend.compiled_soon(lambda x: 2.0 * x)
    assert program(3.0) == program(3.0) == 6.0

    def failing(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")

    with pytest.raises(jax.errors.JaxRuntimeError, match="EXHAUSTED"):
        backend.compiled_soon(lambda x: jax.pure_callback(failing, x, x))(jax.numpy.ones(()))

"""What must hold between losses, whatever their code: published numbers, finite differences, equal ways to one number."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_xent
from keras_xent import reference
from keras_xent.parity.bounds import EPSILON, error_in_bounds
from keras_xent.parity.difference import release

from .backends import BACKEND, DTYPES, array, rounded, tensor, value_and_gradient
from .cases import LOSS_CLASSES, every_case, one_hot, predictions, softmax

SKEWED = np.array([[0.9, 0.05, 0.05], [0.5, 0.89, 0.6], [0.05, 0.01, 0.94]])  # its rows need not sum to 1


def test_published_numbers():
    """Keras's documentation, and the tutorials that recompute it."""
    probs = tensor([[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]], "float32")
    for losses in (
        keras_xent.categorical_crossentropy(np.array([[0, 1, 0], [0, 0, 1]]), probs),
        keras_xent.sparse_categorical_crossentropy(np.array([1, 2]), probs),
    ):
        np.testing.assert_array_equal(np.round(array(losses), 5), np.float32([0.05129, 2.30259]))
    for losses in (
        keras_xent.categorical_crossentropy(np.eye(3), tensor(SKEWED, "float32")),
        keras_xent.sparse_categorical_crossentropy(np.arange(3), tensor(SKEWED, "float32")),
    ):
        np.testing.assert_array_equal(np.round(array(losses), 5), np.float32([0.10536, 0.80467, 0.06188]))


def test_every_gradient_of_the_definition_is_a_finite_difference_of_it(rng):
    """In float64, by central differences: what the formulas of the gradients are tested against."""
    for from_logits in (True, False):
        for case in every_case(rng, (3, 4), from_logits, "float64"):
            if {"saturated_gradient", "epsilon"} & set(case.options):
                continue  # at the clip the gradient is not that of the loss
            _, gradient = case.expected("float64")
            steps = 1e-6 * (np.ones_like(case.y_pred) if from_logits else case.y_pred * (1 - case.y_pred))
            for index in np.ndindex(*case.y_pred.shape):
                moved = np.zeros_like(case.y_pred)
                moved[index] = steps[index]
                up, down = (
                    type(case)(case.name, case.y_true, case.y_pred + sign * moved, **case.options).expected("float64")[0].sum()
                    for sign in (1, -1)
                )
                error = abs((up - down) / 2 - gradient[index] * steps[index])
                assert error <= 1e-6 * abs(gradient[index] * steps[index]) + 64 * EPSILON["float64"] * abs(up), case.options


@pytest.mark.parametrize("from_logits", [True, False])
def test_gradients_are_finite_differences_of_the_losses(rng, from_logits):
    """The losses themselves, in float32: a coarse step, for a coarse error."""
    step = 2.0**-6
    for case in list(every_case(rng, (2, 3), from_logits))[::2]:
        if {"saturated_gradient", "epsilon"} & set(case.options):
            continue
        loss, y_pred = case.loss(reduction="sum"), case.y_pred
        _, gradient = value_and_gradient(lambda x, loss=loss, case=case: loss(case.y_true, x), tensor(y_pred, "float32"))
        direction = rng.choice([-1.0, 1.0], size=y_pred.shape) * (1.0 if from_logits else y_pred * (1 - y_pred))
        up, down = (float(loss(case.y_true, tensor(y_pred + s * step * direction, "float32"))) for s in (1, -1))
        slope = (gradient * direction).sum()
        allowed = 1e-3 * np.abs(gradient * direction).sum() + 16 * EPSILON["float32"] * abs(up) / step
        assert abs((up - down) / (2 * step) - slope) <= allowed, (case.name, case.options)


@st.composite
def sparse_problems(draw):
    """Shapes, a class axis, labels, options and logits, all in one."""
    rank = draw(st.integers(1, 4))
    shape = [draw(st.integers(1, 4)) for _ in range(rank)]
    axis = draw(st.integers(-rank, rank - 1))
    shape[axis] = draw(st.integers(2, 6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = generator.integers(0, shape[axis], size=np.delete(shape, axis))
    scale = draw(st.sampled_from([0.01, 1.0, 30.0]))
    options = {
        "axis": axis,
        "label_smoothing": draw(st.sampled_from([0.0, 0.2, 1.0])),
        "class_weight": draw(st.sampled_from([None, generator.uniform(0, 3, shape[axis]).tolist()])),
    }
    weights_rank = draw(st.integers(0, rank - 1))
    sample_weight = generator.uniform(0, 2, size=labels.shape[:weights_rank]) if draw(st.booleans()) else None
    return labels, rounded(scale * generator.normal(size=shape), "float32"), options, sample_weight


@given(sparse_problems(), st.sampled_from(["sum_over_batch_size", "sum", "none", "mean_with_sample_weight"]))
def test_one_hot_equals_sparse_equals_definition(problem, reduction):
    labels, logits, options, sample_weight = problem
    axis = options["axis"]
    x, targets = tensor(logits, "float32"), one_hot(labels, logits.shape[axis], axis).astype("float32")
    arguments = {**options, "from_logits": True, "reduction": reduction}
    sparse = array(keras_xent.SparseCategoricalCrossentropy(**arguments)(labels, x, sample_weight))
    dense = array(keras_xent.CategoricalCrossentropy(**arguments)(targets, x, sample_weight))
    losses = reference.sparse_categorical_crossentropy(labels, logits, from_logits=True, **options)
    expected = reference.reduce_losses(losses, sample_weight, None, reduction)
    span = np.ptp(logits)
    assert error_in_bounds(sparse, expected, "float32", logits.size, span) <= 1
    assert error_in_bounds(dense, expected, "float32", logits.size, span) <= 1


def test_two_classes_are_a_binary_output(rng):
    logits, labels = rounded(5 * rng.normal(size=16), "float32"), rng.integers(0, 2, 16)
    pair = np.stack([np.zeros(16), logits], -1)
    binary = keras_xent.binary_crossentropy(labels, tensor(logits, "float32"), from_logits=True, axis=())
    sparse = keras_xent.sparse_categorical_crossentropy(labels, tensor(pair, "float32"), from_logits=True)
    assert error_in_bounds(array(binary), array(sparse), "float32", 2, 15) <= 1


def test_a_shift_of_the_logits_changes_nothing(rng):
    logits, labels = np.float32(rng.integers(-8, 8, size=(6, 5))), rng.integers(0, 5, 6)
    for shift in (-64.0, 1024.0):
        for loss, y_true in (
            (keras_xent.sparse_categorical_crossentropy, labels),
            (keras_xent.categorical_crossentropy, np.float32(one_hot(labels, 5))),
        ):
            plain = array(loss(y_true, tensor(logits), from_logits=True))
            shifted = array(loss(y_true, tensor(logits + np.float32(shift)), from_logits=True))
            np.testing.assert_array_equal(plain, shifted)  # whole numbers: the shift is exact


def test_logits_equal_their_probabilities(rng):
    logits, labels = rounded(rng.normal(size=(6, 5)), "float32"), rng.integers(0, 5, 6)
    from_logits = keras_xent.sparse_categorical_crossentropy(labels, tensor(logits, "float32"), from_logits=True)
    from_probs = keras_xent.sparse_categorical_crossentropy(labels, tensor(softmax(logits), "float32"))
    assert error_in_bounds(array(from_probs), array(from_logits), "float32", 5, 5, floor=1.0) <= 1


@pytest.mark.parametrize("from_logits", [True, False])
def test_values_and_gradients_equal_keras(rng, from_logits):
    """On ordinary inputs, and with the gradient of the clip where that is asked for."""
    ignoring = {"ignore_class": 2} if BACKEND == "tensorflow" or release(keras.__version__) >= (3, 15) else {}  # else NaN
    dtype = "float32"
    y_pred = tensor(predictions(rng, (4, 3, 5), -1, from_logits, dtype, scale=1.5), dtype)
    labels = rng.integers(0, 5, size=(4, 3))
    for name, y_true, options in (
        ("CategoricalCrossentropy", np.float32(one_hot(labels, 5)), {"label_smoothing": 0.1}),
        ("CategoricalCrossentropy", np.float32(softmax(rng.normal(size=(4, 3, 5)))), {}),
        ("SparseCategoricalCrossentropy", labels, {}),
        ("SparseCategoricalCrossentropy", labels, ignoring),
        ("BinaryCrossentropy", np.float32(one_hot(labels, 5)), {"label_smoothing": 0.2}),
        ("CategoricalFocalCrossentropy", np.float32(one_hot(labels, 5)), {"gamma": 0.5, "label_smoothing": 0.1}),
        (
            "CategoricalFocalCrossentropy",
            np.float32(softmax(rng.normal(size=(4, 3, 5)))),
            {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5]},
        ),
        ("BinaryFocalCrossentropy", np.float32(one_hot(labels, 5)), {"gamma": 0.5, "apply_class_balancing": True}),
        ("BinaryFocalCrossentropy", np.float32(softmax(rng.normal(size=(4, 3, 5)))), {"label_smoothing": 0.2}),
        ("KLDivergence", np.float32(one_hot(labels, 5)), {}),
        ("KLDivergence", np.float32(softmax(rng.normal(size=(4, 3, 5)))), {}),
        ("CategoricalGeneralizedCrossEntropy", labels, {"q": 0.7}),
    ):
        if name in ("KLDivergence", "CategoricalGeneralizedCrossEntropy"):  # Keras has them for probabilities alone
            if from_logits:
                continue
        else:
            options = {**options, "from_logits": from_logits}
        for reduction in ("none", "sum_over_batch_size"):
            arguments = {**options, "reduction": reduction}
            (ours, our_gradient), (theirs, their_gradient) = (
                value_and_gradient(functools.partial(getattr(losses, name)(**arguments), y_true), y_pred)
                for losses in (keras_xent, keras.losses)
            )
            assert error_in_bounds(ours, theirs, dtype, 60, 10, floor=1.0) <= 1, (name, arguments)
            floor = np.abs(their_gradient).max()
            assert error_in_bounds(our_gradient, their_gradient, dtype, 60, 10, floor) <= 1, (name, arguments)


UNNORMALISED = [[0.9, 0.6, 0.3, 0.0], [0.05, 0.1, 0.0, 0.1], [2.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("targets", UNNORMALISED)
@pytest.mark.parametrize("from_logits", [True, False])
def test_divergence_from_targets_that_do_not_sum_to_one(rng, from_logits, targets):
    """Also over an axis of one. By the targets the gradient is log t + 1 - log p inside the clip, and finite at t = 0."""
    y_pred, targets = predictions(rng, (2, 1, 4), -1, from_logits), rounded([[targets]] * 2, "float32")
    divergence = functools.partial(keras_xent.kl_divergence, from_logits=from_logits)
    losses, gradient = value_and_gradient(lambda x: divergence(tensor(targets, "float32"), x), tensor(y_pred, "float32"))
    expected = reference.kl_divergence(targets, y_pred, from_logits=from_logits, dtype="float32")
    expected_gradient = reference.kl_divergence_gradient(targets, y_pred, from_logits=from_logits, dtype="float32")
    assert error_in_bounds(losses, expected, "float32", 4, 10, floor=1.0) <= 1
    assert error_in_bounds(gradient, expected_gradient, "float32", 4, 10, floor=np.abs(expected_gradient).max()) <= 1
    _, slopes = value_and_gradient(lambda y: divergence(y, tensor(y_pred, "float32")), tensor(targets, "float32"))
    inside = (targets > 0) & (from_logits | (targets < 1))
    probs = softmax(y_pred) if from_logits else y_pred
    expected_slopes = np.log(targets[inside]) + 1 - np.log(probs[inside])
    assert error_in_bounds(slopes[inside], expected_slopes, "float32", 4, 10, floor=10.0) <= 1
    assert np.isfinite(slopes).all()


def test_divergence_of_numbers_above_one():
    """What is no probability is taken for 1, as Keras takes it."""
    y_true, y_pred = np.float32([[0.2, 0.3, 0.5]]), np.float32([[1.5, 0.5, 1.0]])
    losses, gradient = value_and_gradient(functools.partial(keras_xent.kl_divergence, y_true), tensor(y_pred))
    assert error_in_bounds(losses, reference.kl_divergence(y_true, y_pred, dtype="float32"), "float32", 3, floor=1.0) <= 1
    assert error_in_bounds(losses, array(keras.losses.kl_divergence(y_true, tensor(y_pred))), "float32", 3, floor=1.0) <= 1
    assert error_in_bounds(gradient, [[-0.2 / 1.5, -0.6, -0.5]], "float32", 3) <= 1


@pytest.mark.parametrize("gamma", [0.25, 1.5, 3.0, 4.0, 5.0])
@pytest.mark.parametrize("from_logits", [True, False])
def test_every_power_of_the_focal_factor(rng, from_logits, gamma):
    """Beside 0, 0.5, 1, 2 and 3.5, which are among the cases."""
    y_pred, labels = predictions(rng, (4, 5), -1, from_logits), rng.integers(0, 5, 4)
    for name, y_true in (
        ("categorical_focal_crossentropy", np.float32(one_hot(labels, 5))),
        ("sparse_categorical_focal_crossentropy", labels),
        ("binary_focal_crossentropy", np.float32(one_hot(labels, 5))),
    ):
        options = {"gamma": gamma, "from_logits": from_logits}
        losses, gradient = value_and_gradient(
            lambda x, name=name, y_true=y_true, options=options: getattr(keras_xent, name)(y_true, x, **options),
            tensor(y_pred, "float32"),
        )
        right = getattr(reference, name)(y_true, y_pred, dtype="float32", **options)
        pull = getattr(reference, f"{name}_gradient")(y_true, y_pred, dtype="float32", **options)
        # from probabilities, 1 - p near 0 is exact only to ε
        floor, steepest = (0.0, 0.0) if from_logits else (1.0, np.abs(pull).max())
        assert error_in_bounds(losses, right, "float32", 5, 10 * gamma, floor) <= 1, name
        assert error_in_bounds(gradient, pull, "float32", 5, 10 * gamma + 20, steepest) <= 1, name


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_step_computes_in_one_dtype_and_for_a_reason(rng, from_logits, dtype):
    """Half precision in float32, others in their own; an option that is off is no step's business."""
    computed = "float32" if dtype in ("float16", "bfloat16") else dtype
    for case in every_case(rng, (4, 5), from_logits, dtype):
        dtypes, taken, config = {}, set(), case.loss(dtype=dtype).get_config()

        def listen(step, value, given, dtypes=dtypes, taken=taken):
            assert given.keys() == step.takes.keys()
            if step.gives != "y_pred":  # what stands in for predictions that do not count has their dtype
                dtypes[step.name] = keras.backend.standardize_dtype(value.dtype)
            taken.update(step.takes.values())

        y_true, y_pred = case.loss(dtype=dtype)._match(case.y_true, tensor(case.y_pred, dtype))
        LOSS_CLASSES[case.name]._per_example(y_true, y_pred, config, computed, listener=listen)
        assert set(dtypes.values()) <= {computed, "bool"}, (case.name, case.options, dtypes)
        for option in {"label_smoothing", "class_weight", "gamma"} & set(config):
            assert (option in taken) == bool(config[option]), (case.name, case.options, option)
        if "apply_class_balancing" in config:
            assert ("alpha" in taken) == config["apply_class_balancing"]


SLOPES_END_AT = {"float16": 2.0**-12, "bfloat16": 2.0**-116, "float32": 2.0**-116, "float64": 2.0**-1012}


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_slope_of_a_vanishing_probability_ends_at_its_floor(dtype):
    """-1 / max(p, floor), and 0 at p = 0: powers of 2, so to the bit."""
    floor = SLOPES_END_AT[dtype]
    probs = np.array([2.0**-9, 4 * floor, 2 * floor, floor, floor / 2, floor / 4, 0.0])
    loss = functools.partial(keras_xent.binary_crossentropy, np.ones(7), axis=())
    _, gradient = value_and_gradient(loss, tensor(probs, dtype))
    np.testing.assert_array_equal(gradient, np.append(-1 / np.maximum(probs[:-1], floor), 0.0))


@pytest.mark.parametrize("label_smoothing", [1e-8, 1e-6, 1e-3, 0.05])
@pytest.mark.parametrize("name", ["binary_crossentropy", "binary_focal_crossentropy"])
def test_a_little_smoothing_of_a_yes(name, label_smoothing):
    """What it gives to the no is not lost beside the 1."""
    logits, targets = np.float32([[60.0, 20.0, -3.0]]), np.float32([[1.0, 1.0, 0.0]])
    options = {"from_logits": True, "label_smoothing": label_smoothing, "axis": ()}
    assert_equal_to_the_definition(name, targets, logits, options)


@pytest.mark.parametrize("alpha", [0.999, 0.999999, 1 - 1e-9])
def test_what_an_alpha_near_1_leaves_to_a_no(alpha):
    options = {"apply_class_balancing": True, "alpha": alpha, "from_logits": True, "axis": ()}
    assert_equal_to_the_definition("binary_focal_crossentropy", np.float32([[0.0, 1.0]]), np.float32([[1.0, 1.0]]), options)


@pytest.mark.parametrize("gamma", [10.0, 300.0, 1e3, 1e6])
@pytest.mark.parametrize("from_logits", [True, False])
def test_a_large_gamma_does_not_enlarge_rounding_errors(gamma, from_logits):
    logits = np.float32([[0.0, 10.3, -0.7, 1.1], [-14.0, 0.0, -3.0, -5.0]])
    y_pred = logits if from_logits else np.float32(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    options = {"gamma": gamma, "from_logits": from_logits}
    for name, y_true in (
        ("sparse_categorical_focal_crossentropy", np.array([0, 0])),
        ("categorical_focal_crossentropy", np.float32(one_hot([0, 0], 4))),
        ("binary_focal_crossentropy", np.float32(one_hot([0, 0], 4))),
    ):
        assert_equal_to_the_definition(name, y_true, y_pred, options, span=90.0)


@pytest.mark.parametrize("label_smoothing", [0.1, 1.0])
def test_smoothing_with_a_label_that_weighs_nothing(label_smoothing):
    options = {"from_logits": True, "label_smoothing": label_smoothing, "class_weight": [1.0, 0.0]}
    y_pred = np.float32([[7.0243, -13.6549]])
    assert_equal_to_the_definition("sparse_categorical_crossentropy", np.array([1]), y_pred, options, span=21)


def test_all_of_an_infinite_loss_is_smoothed_away():
    losses = keras_xent.sparse_categorical_crossentropy(
        [1, 1], tensor([[0.0, -np.inf, 1.0], [0.0, 2.0, 1.0]], "float32"), from_logits=True, label_smoothing=1.0
    )
    assert np.isinf(array(losses)[0]) and np.isfinite(array(losses)[1])


def assert_equal_to_the_definition(name, y_true, y_pred, options, span=0.0):
    """Value and gradient, each element for itself."""
    actual = value_and_gradient(lambda x: getattr(keras_xent, name)(y_true, x, **options), tensor(y_pred))
    for kind, one in zip(("", "_gradient"), actual, strict=True):
        right = getattr(reference, name + kind)(y_true, y_pred, **options, dtype="float32")
        floor = 1e-30 if options["from_logits"] else max(1e-30, 1e-3 * np.abs(right).max())
        assert error_in_bounds(one, right, "float32", y_pred.size, span, floor) <= 1, (one, right)

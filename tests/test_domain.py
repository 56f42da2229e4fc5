"""Every loss is defined, and equal to the definition, on all of what DOMAIN says that its inputs may be, ends included."""

import numpy as np
import pytest

import keras_xent
from keras_xent import reference
from keras_xent.domain import CLASS_IDS, LOGITS, PAIRS, PROBS, SCORES, YES_LOGITS, YES_PROBS
from keras_xent.parity.bounds import error_in_bounds

from .backends import MODES, rounded, tensor, value_and_gradient
from .cases import LOSS_CLASSES, Case, one_hot, softmax

FUNCTIONS = {loss_class.__name__: function for function, loss_class in LOSS_CLASSES.items()}
ROWS, CLASSES = 24, 5


def test_every_loss_has_one():
    """But for the losses from features, which may be any numbers."""
    public = {name for name, value in vars(keras_xent).items() if hasattr(value, "from_config")}
    public -= {"LinearDistillationLoss", "LinearSparseCategoricalCrossentropy"}
    assert public == set(keras_xent.DOMAIN) == set(FUNCTIONS)
    for name, domain in keras_xent.DOMAIN.items():
        assert getattr(keras_xent, name).domain is domain


def draw(rng, values, shape):
    """Ordinary numbers of a kind, between them its closed ends."""
    if values is CLASS_IDS:
        return rng.integers(0, CLASSES, shape[:-1])
    if values is LOGITS or values is YES_LOGITS:
        numbers = rng.choice([0.1, 3.0, 300.0], size=(shape[0], 1)) * rng.normal(size=shape)
    elif values.total is None:
        numbers = rng.uniform(values.low, min(values.high, 4.0), size=shape)
        if values is SCORES:
            numbers[-2:] *= [[1e-30], [8e37]]  # the second row's sum overflows
    else:
        numbers = softmax(3.0 * rng.normal(size=shape))
    ends = [end for end, is_open in ((values.low, False), (values.high, values.open_high)) if not is_open]
    for row, end in enumerate(ends * 3):
        if values.total is None:
            numbers[row, row % shape[-1]] = end
        else:
            numbers[row] = one_hot(row % shape[-1], shape[-1])
    return rounded(numbers, "float32")


def top_k(rng):
    """Pairs of 3 of the classes, some of which list nothing, or all that there is."""
    logits = rng.choice([0.1, 3.0, 300.0], size=(ROWS, 1)) * rng.normal(size=(ROWS, CLASSES))
    pairs = reference.top_k_targets(logits, 3, temperature=4.0)
    pairs[:2, 1:, 1], pairs[1, 0, 1] = -np.inf, 0.0
    return rounded(pairs, "float32")


def cases(rng, name):
    """The loss on draws from its domain; targets and predictions meet their ends in different rows and in the same."""
    domain, shape = keras_xent.DOMAIN[name], (ROWS, CLASSES)
    for from_logits in (True, False):
        y_pred = draw(rng, domain.y_pred(from_logits), shape)
        if isinstance(domain.y_true, dict):
            for targets, values in domain.y_true.items():
                if values is PAIRS:
                    yield top_k(rng), y_pred, {"from_logits": from_logits, "targets": targets, "divergence": "kl"}
                    continue
                for divergence in ("crossentropy", "kl"):
                    options = {"from_logits": from_logits, "targets": targets, "divergence": divergence}
                    yield draw(rng, values, shape), y_pred, options
        else:
            options = {"from_logits": from_logits} | ({"axis": ()} if name.startswith("Binary") else {})
            yield draw(rng, domain.y_true, shape), y_pred, options
            yield draw(rng, domain.y_true, shape)[::-1].copy(), y_pred, options


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", keras_xent.DOMAIN)
def test_defined_on_all_of_it(rng, name, mode):
    every_case = list(cases(rng, name))
    for y_true, y_pred, options in every_case if mode == "eager" else every_case[:: len(every_case) - 1]:
        case = Case(FUNCTIONS[name], y_true, y_pred, **options)
        loss = case.loss(reduction="none")
        targets = y_true if y_true.dtype.kind == "i" else tensor(y_true, "float32")
        losses, gradient = value_and_gradient(
            lambda x, loss=loss, targets=targets: loss(targets, x), tensor(y_pred, "float32"), mode
        )
        expected, expected_gradient = case.expected()
        assert not np.isnan(expected).any() and np.isfinite(expected_gradient).all()
        finite = y_pred[np.isfinite(y_pred)]
        terms, span = y_pred.size, np.ptp(finite) if options["from_logits"] else 0.0
        if name == "DistillationLoss" and not options["from_logits"]:
            span = 17.0  # their logarithms, down to that of 1e-7, are its logits
        assert error_in_bounds(losses, expected, "float32", terms, span, floor=1.0) <= 1, options
        floor = np.abs(expected_gradient).max(axis=-1, keepdims=True)  # a row without a large element has a small error
        ratio = [
            error_in_bounds(row, expected_row, "float32", terms, span, floor=max(1e-30, row_floor.item()))
            for row, expected_row, row_floor in zip(gradient, expected_gradient, floor, strict=True)
        ]
        assert max(ratio) <= 1, (options, int(np.argmax(ratio)))


def test_what_lies_outside_is_found():
    probs = np.array([[0.2, 0.8], [0.2, 0.9], [-0.1, 1.1], [np.nan, 1.0]])
    assert PROBS.violations(probs).tolist() == [[False, False], [True, True], [True, True], [True, True]]
    assert SCORES.violations(probs).tolist() == [[False, False], [False, False], [True, False], [True, False]]
    assert YES_PROBS.violations([0.0, 1.0, 1.1, -1e-9, np.nan]).tolist() == [False, False, True, True, True]
    assert CLASS_IDS.violations([0, 2, 3, -1, 0.5], num_classes=3).tolist() == [False, False, True, True, True]
    with pytest.raises(ValueError, match="pass `num_classes`"):
        CLASS_IDS.violations([0, 1])
    logits = np.array([[1.0, -np.inf], [-np.inf, -np.inf], [1.0, np.inf]])
    assert LOGITS.violations(logits).tolist() == [[False, False], [True, True], [False, True]]
    assert not YES_LOGITS.violations([np.inf, -np.inf, 0.0]).any()
    channels_first = np.moveaxis(probs[:1, :, None], 0, 0)
    assert not PROBS.violations(channels_first, axis=1).any() and PROBS.violations(channels_first).all()


@pytest.mark.parametrize("name", [name for name, domain in keras_xent.DOMAIN.items() if domain.logits is LOGITS])
def test_the_open_end_is_open(name):
    """A softmax cannot tell infinite logits apart: no plausible number comes out."""
    function = FUNCTIONS[name]
    y_true = np.array([1]) if keras_xent.DOMAIN[name].y_true is CLASS_IDS else np.array([[0.25, 0.75]])
    options = {"targets": "probs"} if name == "DistillationLoss" else {"q": 0.5} if "generalized" in function else {}
    loss = LOSS_CLASSES[function](from_logits=True, reduction="none", **options)
    assert not np.isfinite(float(loss(y_true, tensor([[np.inf, 0.0]], "float32"))[0]))

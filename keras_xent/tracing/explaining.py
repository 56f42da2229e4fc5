"""`explain`: a loss on given numbers, with all that happens on the way."""

from typing import Any

import numpy as np
from keras import ops

from .. import _reduction
from ..findings.meaning import spelled_out
from ..parity.bounds import relative_bound
from ..parity.running import BACKEND, array, having
from .beside import compared
from .definition import case_of, checked
from .gradients import formula_of
from .inputs import Inputs, joined
from .listening import Listener
from .numbers import Collected, Summary
from .programs import answered
from .subjects import Subject, subject
from .trace import Trace


def explain(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Trace:
    """How a loss is computed: each step with its formula and its numbers, down to the loss itself and its gradient.

    loss = Σ_i w_i loss_i / N in nats, the loss's own: the steps are those that it takes, heard as it takes them.

    Args:
        loss: A loss object of this package; or one of Keras's, which is explained by its twin here, with Keras's own number and
            the known difference beside it where the two differ. Or a function of either, perhaps a `functools.partial` with
            its arguments, which neither weighs nor reduces. Or the name of a loss, which stands for what
            `compile(loss=name)` makes of it.
        y_true: The targets, as the loss takes them.
        y_pred: The predictions, as the loss takes them; Keras's mask on them is seen.
        sample_weight: The weights, as the loss takes them.

    Returns:
        A `Trace`, which prints as text, is shown by notebooks and by `rich`, and has `to_markdown()`, `to_dict()` and `plot()`.
        Of arrays of more than 65,536 numbers it holds summaries; above 2**20 predictions, blocks of rows are computed one after
        the other, as far as the first axis has no classes.

    Raises:
        ValueError: Something that is no such loss; and whatever the loss itself refuses.
        AssertionError: Steps that do not end in the loss, which would be an error of this package.

    Differs from Keras:
        Keras has nothing like it.

    Example:
        >>> trace = keras_xent.explain("sparse_categorical_crossentropy", [1, 2], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
        >>> [step.name for step in trace.steps]
        ['renormalize', 'pick', 'clip', 'log', 'negate', 'sum_losses', 'number_of_losses', 'divide']
        >>> trace.losses.astype(float).round(5).tolist(), round(float(trace.value), 5)
        ([0.05129, 2.30259], 1.17694)
        >>> trace.definition.agrees
        True

    Source:
        The steps: `keras_xent.steps`; the definition that value and gradient are checked against: `keras_xent.reference`.
    """
    inputs = Inputs.of(y_true, y_pred, sample_weight)
    if not all(hasattr(each, "shape") for each in (inputs.y_true, inputs.y_pred)):
        subject(loss, y_pred).loss(y_true, y_pred, sample_weight)  # which says what is wrong with them
    told = subject(spelled_out(loss, inputs.y_true.shape, inputs.y_pred.shape), inputs.y_pred)
    with having(told.loss.dtype):
        return traced(told, inputs)


def traced(told: Subject, inputs: Inputs) -> Trace:
    """Every block of rows once with a listener, once as it is; then the reduction of all."""
    listener, parts, answers, gradient = Listener(), [], [], Collected()
    blocks = inputs.blocks(told.loss)
    block = next(blocks)
    whole = block.rows is None
    asked = told if whole else told.unreduced()
    first = None
    while block is not None:
        block = block.with_tensor(told.loss)
        listener.block(block.begin, block.rows)
        parts.append(told.loss._unreduced(block.y_true, block.y_pred, block.sample_weight, block.mask, listener))
        answer = answered(asked, asked.called if not told.is_keras else asked.loss, block)
        answers.append(answer[0])
        gradient.add(answer[1], block.rows)
        if first is None:
            first = block, answer, their_answer(asked, block) if told.is_keras else None
        block = next(blocks, None)
    listener.end()
    number = inputs.y_pred.shape[0] if len(inputs.y_pred.shape) else 1
    losses, weights, counts = (joined(each, number) for each in zip(*parts, strict=True))
    reduced = array(_reduction.reduce(losses, weights, counts, told.loss.reduction, told.loss.dtype, listener))
    steps = listener.steps()
    value, slopes = answers[0] if whole else reduced, gradient.result()
    if whole:
        assert_same(reduced, value, told)
    else:
        unreduced = _reduction.reduce(losses, weights, counts, "none", told.loss.dtype)
        assert_same(array(unreduced), np.concatenate(answers), told)
        slopes = scaled(slopes, pull_of_total(steps))
    assert first is not None
    block, answer, theirs = first
    case = case_of(asked.loss, block)
    mask = parts[0][2]
    if mask is not None:
        mask = np.broadcast_to(array(mask), np.zeros(case.y_pred.shape).sum(axis=case.axis).shape)
    return Trace(
        loss=told.name,
        backend=BACKEND,
        dtype=told.loss.dtype,
        computed_in=ops.dtype(losses),
        inputs=inputs,
        steps=steps,
        losses=shown(losses),
        value=value if np.ndim(value) else value.item(),
        gradient=slopes,
        gradient_formula=formula_of(told.loss),
        reduction=told.loss.reduction or "none",
        definition=checked(case, mask, answer, block.rows),
        keras=None if theirs is None else compared(case, answer, theirs),
        subject=told.loss,
    )


def their_answer(asked, block):
    """Keras's own, or the error that it raises."""
    try:
        return answered(asked, asked.called, block)
    except Exception as error:  # whatever Keras raises
        return error


def assert_same(reduced, value, told):
    """The steps end in what the loss gives."""
    value, reduced = np.asarray(value, "float64"), np.asarray(reduced, "float64")
    allowed = 8.0 * relative_bound(told.loss.dtype, max(value.size, 1))
    same = reduced.shape == value.shape and np.allclose(reduced, value, rtol=allowed, atol=1e-37, equal_nan=True)
    if not same and not np.isfinite(value).all():
        raise ValueError(
            f"The loss is {value}, but its steps end in {reduced}: `y_pred` or `y_true` holds what {told.name} does not take. "
            f"Expected for `y_pred`: {told.loss.domain.y_pred(told.loss.from_logits).words}."
        )
    if not same:
        raise AssertionError(f"The steps of {told.name} end in {reduced}, but the loss is {value}: an error of keras_xent.")


def pull_of_total(steps):
    """What the reduction multiplies the sum of the losses with, which the gradient of a block does not know."""
    made = {step.gives: float(step.value) for step in steps if step.gives in ("total", "denominator", "loss")}
    if "loss" not in made:
        return 1.0
    return made["loss"] / made["total"] if made["total"] and np.isfinite(made["total"]) else 1.0 / max(made["denominator"], 1.0)


def scaled(slopes, factor):
    """A gradient, or its summary, times a number."""
    return slopes.times(factor) if isinstance(slopes, Summary) else slopes * np.asarray(factor, slopes.dtype)


def shown(losses):
    """The losses as an array, or a summary."""
    collected = Collected()
    collected.add(array(losses if ops.is_tensor(losses) else ops.convert_to_tensor(losses)))
    return collected.result()

"""Losses as a user writes them: two right ones, and wrong ones, each by one mistake. Copied into the projects that tests make."""

import keras
from keras import ops

import keras_xent


def right(y_true, y_pred, from_logits=False, axis=-1):
    """Cross-entropy as in a textbook; where it clips, the gradient is that of the logarithm."""
    if from_logits:
        return expected(y_true, ops.log_softmax(y_pred, axis=axis), axis)
    return expected(y_true, clipped_log(renormalized(y_pred, axis)), axis)


def expected(y_true, log_probs, axis):
    return -ops.sum(ops.where(y_true == 0, 0.0, y_true * log_probs), axis=axis)


def renormalized(probs, axis):
    total = ops.sum(probs, axis=axis, keepdims=True)
    probs = probs / ops.stop_gradient(ops.where(total == 0, 1.0, total))  # the gradient of a quotient squares its divisor
    total = ops.sum(probs, axis=axis, keepdims=True)
    return probs / ops.where(total == 0, 1.0, total)


def clipped_log(probs):
    log_probs = ops.log(ops.where(probs > 0, probs, 1.0))
    return log_probs + ops.stop_gradient(ops.log(clipped(probs)) - log_probs)


def clipped(probs):
    epsilon = keras.config.epsilon()
    return ops.clip(probs, epsilon, 1.0 - epsilon)


def times(y_true, y_pred, factor, from_logits=False, axis=-1):
    return factor * right(y_true, y_pred, from_logits, axis)


def overflowing(y_true, y_pred, from_logits=False, axis=-1):
    """Right but for logits above 88, of which the exponential is infinite."""
    if from_logits:
        y_pred = ops.exp(y_pred)
    return right(y_true, y_pred, axis=axis)


def divided_by_nothing(y_true, y_pred, from_logits=False, axis=-1):
    """Right but for a row of zero probabilities."""
    return right(y_true, y_pred if from_logits else y_pred / ops.sum(y_pred, axis=axis, keepdims=True), from_logits, axis)


class FirstIgnored(keras_xent.SparseCategoricalCrossentropy):
    """Of several classes to ignore it ignores the first."""

    def __init__(self, ignore_class=None, **options):
        super().__init__(ignore_class=ignore_class[0] if isinstance(ignore_class, list) else ignore_class, **options)


def weighed(y_true, y_pred, from_logits=False, axis=-1, table=None):
    """Right, if its own argument arrives as it was given."""
    return right(y_true, y_pred, from_logits, axis) * (1.0 if table == {0: (3.0,)} else 2.0)


def scaled(y_true, y_pred, from_logits=False, axis=-1):
    return (1.0 + 1e-4) * right(y_true, y_pred, from_logits, axis)


def along_the_batch(y_true, y_pred, from_logits=False):
    return right(y_true, y_pred, from_logits, axis=0)


def not_renormalized(y_true, y_pred):
    return expected(y_true, clipped_log(y_pred), -1)


def with_a_dead_gradient(y_true, y_pred):
    return expected(y_true, ops.log(clipped(renormalized(y_pred, -1))), -1)


def averaged(y_true, y_pred, from_logits=False):
    return right(y_true, y_pred, from_logits) / ops.shape(y_pred)[-1]


def right_of_ids(y_true, y_pred):
    return right(ops.one_hot(y_true, y_pred.shape[-1], dtype=y_pred.dtype), y_pred, from_logits=True)


def of_ids_cast_to_float(y_true, y_pred):
    labels = ops.cast(ops.cast(y_true, y_pred.dtype), "int32")
    return right(ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype), y_pred, from_logits=True)


class Right(keras.losses.Loss):
    """The same as a class."""

    def __init__(self, from_logits=False, **options):
        super().__init__(**options)
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        return right(y_true, y_pred, self.from_logits)


class SummedForAMean(Right):
    def __call__(self, y_true, y_pred, sample_weight=None):
        loss = super().__call__(y_true, y_pred, sample_weight)
        return loss * ops.cast(ops.shape(y_pred)[0], loss.dtype) if self.reduction == "sum_over_batch_size" else loss


class WeightsDropped(Right):
    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred)


def broken(y_true, y_pred):
    raise KeyError("no such thing")

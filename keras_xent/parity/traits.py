"""What cases are like: the questions by which `regions` tells where Keras's built-in losses differ."""

import keras
import numpy as np

from .cases import KINDS, softmax
from .difference import BINARY, BINARY_FOCAL, CATEGORICAL, CATEGORICAL_FOCAL, GENERALIZED, KL, SPARSE
from .running import rounded

HALF = ("float16", "bfloat16")
LARGEST_HALF = 65504.0  # of float16
STEEP_HALF = 2.0**-12  # a probability below which the gradient of a logarithm is bounded in float16
NEXT_BELOW_1 = 2.0**-24  # what is nearer to 1 rounds to it in float32
SQUARES = 2.0**-126, 2.0**126  # of float32: their inverses are normal numbers too


def over_classes(case):
    """Whether it is a cross-entropy over classes, focal or not."""
    return KINDS[case.loss] in ("dense", "ids") and case.loss != GENERALIZED


def is_focal(case):
    """Whether it is a focal loss."""
    return "Focal" in case.loss


def from_probs(case):
    """Whether its predictions are probabilities."""
    return not case.arguments["from_logits"]


def ignored(case):
    """Which labels are those of a class that is ignored."""
    return np.isin(case.y_true, case.arguments.get("ignore_class", ()))


def losses_shape(case):
    """The shape of the losses."""
    return np.zeros(case.y_pred.shape).sum(axis=case.axis).shape


def totals(case):
    """What the predictions add up to, example by example."""
    return case.y_pred.sum(axis=case.axis, keepdims=True)


@np.errstate(all="ignore")
def probs_of(case):
    """The probabilities that a built-in loss takes logarithms or powers of; none where it takes logits as they are."""
    if from_probs(case):
        return case.y_pred / np.where(totals(case) == 0, 1.0, totals(case)) if over_classes(case) else case.y_pred
    if not is_focal(case):
        return np.zeros(0)
    return 1.0 / (1.0 + np.exp(-case.y_pred)) if case.loss == BINARY_FOCAL else softmax(case.y_pred, case.axis)


def clipped(probs):
    """Which probabilities Keras clips."""
    return (probs < keras.config.epsilon()) | (probs > 1.0 - keras.config.epsilon())


# ----------------------------------------------------------------------------------------- what this package does not take


def labels_are_no_class(case):
    """Whether a label is not one of 0, 1, ... num_classes - 1, nor ignored."""
    if KINDS[case.loss] != "ids":
        return False
    fits = (case.y_true == np.floor(case.y_true)) & (case.y_true >= 0) & (case.y_true < case.y_pred.shape[case.axis])
    return not (fits | ignored(case)).all()


def has_one_class(case):
    """Whether there is one class only."""
    return over_classes(case) and case.y_pred.shape[case.axis] == 1


def targets_do_not_fit(case):
    """Whether the targets have a shape that Keras broadcasts, though they are not one per prediction or example."""
    if case.loss == GENERALIZED:
        return case.y_true.shape != losses_shape(case)
    return case.loss in (KL, CATEGORICAL_FOCAL) and case.y_true.shape != case.y_pred.shape


def argument_out_of_range(case):
    """Whether a number makes a loss of another meaning, or none."""
    shares = [case.arguments.get("label_smoothing", 0.0)]
    if case.arguments.get("apply_class_balancing"):
        shares.append(case.arguments.get("alpha", 0.25))
    temperature = case.arguments.get("temperature", 1.0)
    return not (all(0.0 <= share <= 1.0 for share in shares) and np.isfinite(temperature) and temperature > 0.0)


# ----------------------------------------------------------------------------------------------------------- axes


def along_another_axis(case):
    """Whether classes lie elsewhere than last."""
    return isinstance(case.axis, int) and case.axis not in (-1, case.y_pred.ndim - 1)


def classes_counted_last(case):
    """Whether an argument is about classes, which Keras looks for in the last axis."""
    if not over_classes(case) or not along_another_axis(case):
        return False
    smoothed = bool(case.arguments.get("label_smoothing")) and case.y_pred.shape[case.axis] != case.y_pred.shape[-1]
    return smoothed or isinstance(case.arguments.get("alpha"), list)


def images_of_probs(case):
    """Whether the classes of images are moved to where PyTorch wants them, which leaves memory in another order."""
    if case.loss != SPARSE or not from_probs(case) or case.y_pred.ndim != 4:
        return False
    return not np.moveaxis(np.empty(case.y_pred.shape), case.axis, 1).flags.c_contiguous


# ------------------------------------------------------------------------------------------------------ weights and NaN


def weights_lack_axes(case):
    """Whether weights have fewer axes than the losses, which Keras aligns with the last ones."""
    return case.sample_weight is not None and 0 < np.ndim(case.sample_weight) < len(losses_shape(case))


def nan_without_weight(case):
    """Whether predictions are NaN, and none of these counts."""
    unknown = np.isnan(case.y_pred).any(axis=case.axis)
    if not unknown.any():
        return False
    try:
        return not (case.pull(np.zeros(unknown.shape))[unknown] != 0).any()
    except ValueError:  # weights that do not fit
        return False


def ignores_probs(case):
    """Whether probabilities have a label that is ignored."""
    return case.loss == SPARSE and from_probs(case) and bool(ignored(case).any())


# ---------------------------------------------------------------------------------------------------------- logits


def certain_classes(case):
    """Whether every example is right, and the probability of its class rounds to 1."""
    taken = case.loss in (CATEGORICAL, SPARSE) and not from_probs(case) and not case.arguments.get("label_smoothing")
    if not taken or case.y_pred.size == 0 or not np.isfinite(case.y_pred).all():
        return False
    ids = KINDS[case.loss] == "ids"
    if not ids and (case.y_true.max(axis=case.axis) != case.y_true.sum(axis=case.axis)).any():
        return False
    others = 1.0 - softmax(case.y_pred, case.axis).max(axis=case.axis)
    right = np.array_equal(case.y_true if ids else case.y_true.argmax(axis=case.axis), case.y_pred.argmax(axis=case.axis))
    return right and bool((others < NEXT_BELOW_1).all())


def certain_answers(case):
    """Whether every answer is right, and its probability rounds to 1."""
    if case.loss != BINARY or from_probs(case) or case.y_pred.size == 0 or case.arguments.get("label_smoothing"):
        return False
    margins = np.where(case.y_true == 1, case.y_pred, np.where(case.y_true == 0, -case.y_pred, 0.0))
    return bool((margins > -np.log(NEXT_BELOW_1)).all())


def logits_are_a_softmax(case):
    """Whether what is said to be logits are probabilities."""
    sums_to_1 = (case.y_pred >= 0).all() and np.allclose(totals(case), 1.0, rtol=0.0, atol=1e-6)
    return not from_probs(case) and case.y_pred.size > 0 and bool(sums_to_1)


def infinite_logits(case):
    """Whether a logit is infinite."""
    return not from_probs(case) and bool(np.isinf(case.y_pred).any())


# -------------------------------------------------------------------------------------------------------- probabilities


def next_to_0_or_1(case):
    """Whether a probability lies where Keras clips it or rounds it off."""
    probs = probs_of(case)
    if case.loss == GENERALIZED:  # which clips nothing
        return bool((probs == 0).any())
    rounded_off = from_probs(case) and case.loss == BINARY and bool((probs < 10.0 * keras.config.epsilon()).any())
    return rounded_off or bool(clipped(probs).any())


def has_zero_row(case):
    """Whether probabilities of all classes are 0."""
    return from_probs(case) and over_classes(case) and bool((totals(case) == 0).any())


def clipped_before_the_sum(case):
    """Whether probabilities are clipped that, made to sum to 1, would be others."""
    return case.loss == SPARSE and from_probs(case) and bool((clipped(case.y_pred) & (np.abs(totals(case) - 1.0) > 1e-3)).any())


@np.errstate(all="ignore")
def squares_of_sums(case):
    """Whether the square of a sum of probabilities, or its inverse, is no number of float32."""
    squares = totals(case) ** 2
    return from_probs(case) and over_classes(case) and bool(((squares < SQUARES[0]) | (squares > SQUARES[1]))[squares > 0].any())


def targets_miss_1(case):
    """Whether targets of logits do not add up to 1."""
    return case.loss == CATEGORICAL and not from_probs(case) and bool((abs(case.y_true.sum(axis=case.axis) - 1.0) > 1e-3).any())


# --------------------------------------------------------------------------------------------------------------- dtypes


def labels_are_rounded(case):
    """Whether half precision makes other classes of class ids."""
    return KINDS[case.loss] == "ids" and case.dtype in HALF and bool((rounded(case.y_true, case.dtype) != case.y_true).any())


def beyond_float16(case):
    """Whether what is made on the way passes the largest float16: a softmax's sum, a quotient, a sum of losses."""
    if case.dtype != "float16":
        return False
    if not from_probs(case) and over_classes(case):
        powers = np.exp(case.y_pred - case.y_pred.max(axis=case.axis, keepdims=True))
        return bool((powers.sum(axis=case.axis) > LARGEST_HALF).any())
    if case.loss == KL:  # d log(t / p) / d p is made of p / t and t / p²
        y_true, y_pred = (np.maximum(each, keras.config.epsilon()) for each in (case.y_true, case.y_pred))
        return bool((np.maximum(y_pred / y_true, y_true / y_pred**2) > LARGEST_HALF).any())
    if case.reduction == "none":
        return False
    return bool(case.with_(reduction="sum", sample_weight=None).definition()[0] > LARGEST_HALF)


def small_in_half(case):
    """Whether a probability is small for half precision: its inverse, of which gradients are made, is coarse or infinite."""
    return case.dtype in HALF and from_probs(case) and bool((case.y_pred < STEEP_HALF).any())


def inexact(numbers):
    """Whether float32 rounds a number, or one of several."""
    return bool((np.asarray(numbers, "float32") != np.asarray(numbers, "float64")).any())


def mean_is_rounded(case):
    """Whether a mean in float64 is taken."""
    return case.dtype == "float64" and KINDS[case.loss] == "answers"


def alphas_are_rounded(case):
    """Whether there is a factor per class that float32 rounds."""
    alpha = case.arguments.get("alpha")
    return case.dtype == "float64" and case.loss == CATEGORICAL_FOCAL and isinstance(alpha, list) and inexact(alpha)


def numbers_are_rounded(case):
    """Whether a number that float32 rounds goes into a power, a product or a clip."""
    clips = case.loss == KL and bool((np.minimum(case.y_true, case.y_pred) < keras.config.epsilon()).any())
    return case.dtype == "float64" and (clips or any(inexact(case.arguments.get(name, 1.0)) for name in ("q", "gamma", "alpha")))

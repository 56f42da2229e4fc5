"""What the model's outputs are, against what the loss takes them for."""

import keras
import numpy as np

from .meaning import ANSWERS, TEACHER
from .situation import in_range, share, short

LOGITS_DISTILLATION = "keras.distillation.LogitsDistillation takes logits"
LOOKED_BEHIND = "CategoricalCrossentropy", "SparseCategoricalCrossentropy", "BinaryCrossentropy", "BinaryFocalCrossentropy"
FEW = 8  # rows of logits may happen to sum to 1
DEAD_SHARE = 0.01  # of the examples, from which on it is worth a word


def from_logits(meaning):
    """How to tell a loss that it is given logits."""
    if not meaning.ours and meaning.name in ("KLDivergence", "CategoricalGeneralizedCrossEntropy"):
        return f"use `keras_xent.{meaning.name}(from_logits=True)`: Keras's has no such argument"
    return "pass `from_logits=True` to the loss"


def activated_twice(situation):
    """Probabilities that a loss takes for logits."""
    meaning, head, rows = situation.meaning, situation.head, situation.rows
    if not meaning.from_logits or not rows.size:
        return
    by_chance = head.certain and head.activation == "linear" and len(rows) < FEW
    if meaning.over_classes and situation.are_probs and not by_chance:
        classes, kerases = situation.num_classes, meaning.options.get("keras")
        top = 1 / (1 + (classes - 1) * np.exp(-1 / meaning.options.get("temperature", 1.0)))
        plain = meaning.name in ("CategoricalCrossentropy", "SparseCategoricalCrossentropy")
        cost = f", so that a perfect prediction still costs {short(-np.log(top))}" if plain else ""
        yield situation.found(
            "double-softmax",
            f"{head} is already a distribution over the {classes} classes: its numbers lie between "
            f"{short(rows.min())} and {short(rows.max())}, and all {len(rows):,} rows sum to 1. "
            f"{LOGITS_DISTILLATION if kerases else 'The loss has from_logits=True'} and applies softmax once more, after which "
            f"no class has more than {short(top)}{cost}.",
            f"Take the softmax out of the last layer (`activation=None`){'' if kerases else ', or pass `from_logits=False`'}.",
        )
    if meaning.kind == ANSWERS and head.activation == "sigmoid" and in_range(rows):
        yield situation.found(
            "double-sigmoid",
            f"{head} lies between {short(rows.min())} and {short(rows.max())}. The loss has from_logits=True and applies the "
            "sigmoid once more, after which everything lies between 0.5 and 0.7311: a sure no comes out as a half.",
            "Take the sigmoid out of the last layer (`activation=None`), or pass `from_logits=False`.",
        )


def not_probabilities(situation):
    """Numbers that a loss takes for probabilities, though they are none."""
    meaning, head, rows = situation.meaning, situation.head, situation.rows
    finite = rows[np.isfinite(rows)]
    if meaning.from_logits or not finite.size or (meaning.over_classes and situation.num_classes < 2):
        return
    if meaning.options.get("keras"):  # of Keras's distillation, see there
        return
    if not in_range(finite, situation.tolerance):
        outside = (finite < -situation.tolerance) | (finite > 1 + situation.tolerance)
        seen = f"{share(outside)} numbers lie outside of 0 to 1 (from {short(finite.min())} to {short(finite.max())})"
    elif head.activation == "linear" and head.certain and not (meaning.over_classes and situation.are_probs):
        seen = f"nothing keeps it between 0 and 1 (it lies between {short(finite.min())} and {short(finite.max())} now)"
    else:
        yield from not_normalized(situation)
        return
    yield situation.found(
        "logits-as-probs",
        f"{head} is no probability: {seen}. The loss has from_logits=False, so it clips such numbers, and their gradients are "
        "gone or wrong.",
        f"If they are logits, {from_logits(meaning)}. If they are meant to be probabilities, give the last "
        f"layer `activation={'sigmoid' if meaning.kind == ANSWERS else 'softmax'!r}`.",
    )


def not_normalized(situation):
    """Numbers between 0 and 1 whose rows are no distributions."""
    meaning, head, rows = situation.meaning, situation.head, situation.rows
    if not meaning.over_classes:
        one_hot = situation.targets is not None and (situation.y_true.sum(-1) == 1).all()
        if head.activation == "softmax" and head.certain and situation.num_classes > 2 and one_hot:
            yield situation.found(
                "softmax-with-binary",
                f"{head} is a distribution over {situation.num_classes} classes and every target is one-hot, but "
                f"{meaning.name} judges each class by itself and averages over them.",
                "Use `CategoricalCrossentropy`. For labels that do not exclude each other, use `activation='sigmoid'`.",
            )
        return
    sums = rows.sum(-1)
    wrong = (np.abs(sums - 1) > situation.tolerance) & (sums != 0)
    if not wrong.any():
        return
    seen = f"{share(wrong)} rows of {head} do not sum to 1 over axis {situation.axis} (sums from {short(np.nanmin(sums))} to "
    seen += f"{short(np.nanmax(sums))})"
    if head.activation == "softmax" and head.certain:
        yield situation.found(
            "softmax-axis",
            f"{seen}, although it is a softmax: it ran over another axis than the loss's class axis.",
            "Give the softmax (`keras.layers.Softmax(axis=...)`) and the loss (`axis=...`) the same axis.",
        )
    elif head.activation in ("sigmoid", "hard_sigmoid") or in_range(rows):
        yield situation.found(
            "sigmoid-with-categorical",
            f"{seen}: as independent sigmoids they say nothing about which one class it is. {meaning.name} "
            + (
                "takes them as they are."
                if meaning.name in ("KLDivergence", "CategoricalGeneralizedCrossEntropy")
                else "divides by the sum."
            ),
            "For one class per example use `activation='softmax'`. For labels that do not exclude each other use "
            "`BinaryCrossentropy`.",
        )


def one_column(situation):
    """A single class, which has nothing to be told apart from."""
    meaning, head = situation.meaning, situation.head
    if situation.num_classes != 1:
        return
    always_1 = np.abs(situation.rows - 1) <= situation.tolerance  # some processors' softmax of one number misses it by a bit
    softmax = head.activation == "softmax" and (head.certain or bool(always_1.all()))
    if softmax or (meaning.over_classes and meaning.name != "KLDivergence"):
        seen = f"the softmax of one number is always 1 ({head})" if softmax else f"{meaning.name} sees one class ({head})"
        yield situation.found(
            "one-column-softmax",
            f"{seen}: y_pred has shape {situation.y_pred.shape}, and the loss is a constant without a gradient.",
            "For yes or no use one unit with `activation='sigmoid'` and `BinaryCrossentropy`; for K classes use K units.",
        )


def not_finite(situation):
    """NaN and infinity; a class that is ruled out by a logit of -inf is none of it."""
    rows, meaning = situation.rows, situation.meaning
    wrong = np.isnan(rows) | (rows == np.inf)
    if not meaning.from_logits:
        wrong |= rows == -np.inf
    elif meaning.over_classes and rows.ndim == 2:
        wrong |= (rows == -np.inf).all(-1, keepdims=True)
    if wrong.any():
        yield situation.found(
            "non-finite-predictions",
            f"{share(wrong)} numbers of {situation.head} are NaN or infinite where they count.",
            "Look for the first layer that holds some: inputs with NaN, a learning rate that is too high, or half precision.",
        )


def zero_rows(situation):
    """Probabilities that are all zero."""
    rows, meaning = situation.rows, situation.meaning
    if meaning.over_classes and not meaning.from_logits and rows.ndim == 2 and rows.size and situation.num_classes > 1:
        zero = (rows == 0).all(-1)
        if zero.any():
            yield situation.found(
                "zero-rows",
                f"{share(zero)} rows of {situation.head} are all zero: no distribution, and NaN in Keras's loss, which divides "
                "by the sum.",
                "Let the last layer end in a softmax, and pass no rows that are padding, or mask them.",
            )


def saturated(situation):
    """Predictions that are wrong, and so sure of it that nothing tells them."""
    meaning, rows = situation.meaning, situation.rows
    if meaning.kind == TEACHER or not rows.size or (situation.num_classes == 1 and situation.head.activation == "softmax"):
        return
    clip = meaning.options.get("epsilon") or keras.config.epsilon()
    generalized = meaning.name == "CategoricalGeneralizedCrossEntropy"  # which clips nothing
    bar = clip if meaning.options["saturated_gradient"] == "zero" and not generalized else 0.0
    if situation.behind and meaning.name in LOOKED_BEHIND:
        return
    if meaning.from_logits:  # whose gradients are exact, but where a softmax is clipped
        if meaning.ours or "Focal" not in meaning.name or (meaning.kind == ANSWERS and keras.backend.backend() == "tensorflow"):
            return
        rows = np.exp(-np.logaddexp(0, -rows)) if meaning.kind == ANSWERS else np.exp(rows - rows.max(-1, keepdims=True))
    elif not in_range(rows, situation.tolerance) or situation.head.activation == "linear":
        return
    if meaning.kind == ANSWERS:
        targets = situation.targets
        if targets is None or targets.shape != rows.shape:
            return
        dead = ((targets > 0.5) & (rows <= bar)) | ((targets < 0.5) & (rows >= 1.0 - bar))
    else:
        right, sums = situation.right, rows.sum(-1)
        if right is None or situation.num_classes < 2:
            return
        given = np.take_along_axis(rows, np.maximum(right, 0)[:, None], -1)[:, 0]
        dead = (right >= 0) & (sums > 0) & (given <= bar * sums)
    if dead.any() and dead.mean() >= DEAD_SHARE:
        how_small = f"at most ε = {short(clip)}, where {meaning.name} clips" if bar else "exactly 0"
        yield situation.found(
            "saturated",
            f"{share(dead)} predictions are wrong, and their right answer has a probability of {how_small}: nothing is learned "
            f"from them, as their gradient is {'NaN' if generalized and not meaning.ours else '0 or next to it'}.",
            f"Compute from logits: let the last layer have no activation, and {from_logits(meaning)}"
            + ("." if meaning.ours or not bar else ", or use `keras_xent`'s loss, which lets the gradient flow at the clip."),
        )


CHECKS = activated_twice, not_probabilities, one_column, not_finite, zero_rows, saturated

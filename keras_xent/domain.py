"""DOMAIN: what the inputs of each loss may be, by the name of its class.

Losses check shapes, dtypes, arguments and class ids. Other values they do not scan, which would cost every step; whatever looks
at a loss from outside, such as a test or a tool that explains it, asks here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

INFINITY = float("inf")
TOLERANCE = 1e-3  # by which a row of probabilities may miss 1: half precision, summed over many classes


@dataclass(frozen=True)
class Values:
    """What an array may hold: numbers between two bounds that belong to them, unless a bound is said to be open.

    Args:
        words: The same for people.
        low: The least number.
        high: The largest number; None for the last class id.
        open_high: Whether `high` itself is left out.
        whole: Whether whole numbers alone are meant.
        total: What a row adds up to along the class axis, give or take 1e-3; None for anything.
        some_finite: Whether at least one class of each row has to be finite.

    Example:
        >>> keras_xent.DOMAIN["KLDivergence"].probs.words
        'probabilities that add up to 1; they are not renormalised'

    Source:
        The definitions: `keras_xent.reference`.
    """

    words: str
    low: float
    high: float | None  # None: the last class id
    open_high: bool = False
    whole: bool = False  # whole numbers alone
    total: float | None = None  # what a row adds up to along the class axis
    some_finite: bool = False  # one class of each row at least

    def violations(self, values, axis=-1, num_classes=None):
        """Where an array holds something else.

        Args:
            values: The numbers.
            axis: The class axis.
            num_classes: The number of classes, which class ids end at.

        Returns:
            A bool array of the shape of `values`; a rule about rows marks the whole row.

        Raises:
            ValueError: Class ids without `num_classes`.

        Example:
            >>> keras_xent.DOMAIN["KLDivergence"].y_true.violations([[0.5, 0.5], [0.5, 0.6]]).tolist()
            [[False, False], [True, True]]
        """
        values, high = np.asarray(values, "float64"), self.high
        if high is None:
            if num_classes is None:
                raise ValueError(
                    "Class ids end at `num_classes` - 1: pass `num_classes`, the size of the class axis of `y_pred`."
                )
            high = num_classes - 1
        wrong = ~((values >= self.low) & (values < high if self.open_high else values <= high))
        if self.whole:
            wrong |= values != np.floor(values)
        if self.total is not None:
            wrong |= ~(np.abs(values.sum(axis=axis, keepdims=True) - self.total) <= TOLERANCE)
        if self.some_finite:
            wrong |= ~np.isfinite(values).any(axis=axis, keepdims=True)
        return wrong


@dataclass(frozen=True)
class Domain:
    """What one loss takes, as `Values`.

    Args:
        y_true: Its targets; a mapping by the argument `targets`, where a loss has that.
        probs: Its predictions, as probabilities.
        logits: Its predictions, as logits.

    Example:
        >>> keras_xent.SparseCategoricalCrossentropy.domain.y_true.words
        'class ids: whole numbers from 0 to num_classes - 1'

    Source:
        `keras_xent.DOMAIN`, which has one for each loss.
    """

    y_true: Values | Mapping[str, Values]
    probs: Values
    logits: Values

    def y_pred(self, from_logits):
        """Its predictions: `logits` if `from_logits`, else `probs`."""
        return self.logits if from_logits else self.probs


CLASS_IDS = Values("class ids: whole numbers from 0 to num_classes - 1", 0, None, whole=True)
TARGETS = Values("weights of the classes, at least 0; of a distribution they add up to 1", 0, INFINITY, open_high=True)
ANSWERS = Values("no (0), yes (1), or in between", 0, 1)
TARGET_PROBS = Values("probabilities that add up to 1", 0, 1, total=1.0)
PROBS = Values("probabilities that add up to 1; they are not renormalised", 0, 1, total=1.0)
SCORES = Values("probabilities, or other numbers from 0, which are renormalised", 0, INFINITY, open_high=True)
YES_PROBS = Values("the probability of a yes", 0, 1)
LOGITS = Values("logits; -inf rules a class out, though not all of a row", -INFINITY, INFINITY, open_high=True, some_finite=True)
YES_LOGITS = Values("the logit of a yes; -inf and inf are certain", -INFINITY, INFINITY)
PAIRS = Values("pairs of a class id and its log-probability, at most 0; -inf lists nothing", -INFINITY, INFINITY, open_high=True)

DOMAIN = {
    "CategoricalCrossentropy": Domain(TARGETS, SCORES, LOGITS),
    "SparseCategoricalCrossentropy": Domain(CLASS_IDS, SCORES, LOGITS),
    "BinaryCrossentropy": Domain(ANSWERS, YES_PROBS, YES_LOGITS),
    "CategoricalFocalCrossentropy": Domain(TARGETS, SCORES, LOGITS),
    "SparseCategoricalFocalCrossentropy": Domain(CLASS_IDS, SCORES, LOGITS),
    "BinaryFocalCrossentropy": Domain(ANSWERS, YES_PROBS, YES_LOGITS),
    "KLDivergence": Domain(TARGET_PROBS, PROBS, LOGITS),
    "CategoricalGeneralizedCrossEntropy": Domain(CLASS_IDS, PROBS, LOGITS),
    "DistillationLoss": Domain({"logits": LOGITS, "log_probs": LOGITS, "probs": SCORES, "top_k": PAIRS}, SCORES, LOGITS),
}

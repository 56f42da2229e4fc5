"""A teacher's numbers, temperatures, and who teaches whom."""

import numpy as np

from .. import reference
from .asking import numbers
from .meaning import DISTRIBUTIONS, TEACHER
from .situation import are_distributions, short

LOGITS = "keras.distillation.LogitsDistillation"


def taught_rows(situation):
    """The teacher's numbers with the classes last, where they are one per class."""
    if situation.meaning.options.get("targets") == "top_k":
        return None
    return situation.all_targets if situation.all_targets is not None and situation.all_targets.size else None


def raw_logits(situation):
    """Logits where probabilities are meant."""
    meaning, rows = situation.meaning, taught_rows(situation)
    if rows is None or situation.num_classes < 2:
        return
    if meaning.kind == DISTRIBUTIONS and (rows < 0).any():
        yield situation.found(
            "raw-logits-distilled",
            f"y_true holds negative numbers (from {short(rows.min())} to {short(rows.max())}), as a teacher's logits do, where "
            f"{meaning.name} takes a distribution.",
            "Use `keras_xent.DistillationLoss(targets='logits')`, or pass the softmax of the teacher's logits.",
        )
    if meaning.kind != TEACHER or meaning.options.get("targets") != "probs":
        return
    if meaning.options.get("keras"):
        yield from keras_raw_logits(situation)
    elif not are_distributions(rows):
        yield situation.found(
            "raw-logits-distilled",
            f"targets='probs', but {whose(situation)} numbers are no distributions: they lie between {short(rows.min())} and "
            f"{short(rows.max())}, and the first row sums to {short(rows[0].sum())}.",
            "If they are logits, pass `targets='logits'`; if log-probabilities, `targets='log_probs'`.",
        )


def keras_raw_logits(situation):
    """Keras's default: a loss that wants probabilities is given logits divided by the temperature."""
    meaning, temperature = situation.meaning, situation.meaning.options["temperature"]
    number = len(situation.y_pred)
    teacher, student = situation.targets, situation.rows
    if are_distributions(teacher / temperature, 1e-2):
        return
    with np.errstate(all="ignore"):
        scaled = [
            np.asarray(values, "float32") / np.float32(temperature) for values in (situation.y_true[:number], situation.y_pred)
        ]
        actual = float(numbers(meaning.per_example(*scaled)).mean())
        meant = reference.distillation_loss(teacher, student, temperature, targets="logits").mean()
    yield situation.found(
        "raw-logits-distilled",
        f"{LOGITS} hands {getattr(meaning.loss, '__name__', meaning.name)!r} the teacher's outputs divided by "
        f"{short(temperature)}, without softmax and without T²: the loss is {short(actual)}, where "
        f"T² KL(teacher ‖ student) is {short(meant)}.",
        "Pass `loss=keras.losses.KLDivergence()` (an object, not a name), or "
        "`keras_xent.distill.KerasDistillation(keras_xent.DistillationLoss(targets='logits'))`.",
    )


def whose(situation):
    """Whose numbers they are."""
    return "the teacher's" if situation.live else "the"


def probs_as_logits(situation):
    """Probabilities where logits, or their logarithms, are meant."""
    rows, options = taught_rows(situation), situation.meaning.options
    if situation.meaning.kind != TEACHER or rows is None or options.get("targets") not in ("logits", "log_probs"):
        return
    if are_distributions(rows, 1e-2 if situation.true_dtype in ("float16", "bfloat16") else 1e-3):
        classes = rows.shape[-1]
        where = f"{LOGITS} takes logits" if options.get("keras") else f"targets={options['targets']!r}"
        yield situation.found(
            "teacher-probs-as-logits",
            f"{where}, but {whose(situation)} numbers are probabilities: all {len(rows):,} rows sum to 1. After a "
            f"second softmax at temperature {short(options['temperature'])} no class has more than "
            f"{short(1 / (1 + (classes - 1) * np.exp(-1 / options['temperature'])))}.",
            "Let the teacher end in its logits, without softmax."
            if options.get("keras")
            else "Pass `targets='probs'`, or let the teacher end in its logits, without softmax.",
        )


def unscaled(situation):
    """A temperature whose square is missing."""
    options = situation.meaning.options
    if situation.meaning.kind != TEACHER or options.get("scale_by_temperature_squared", True):
        return
    temperature = options["temperature"]
    if temperature != 1 and options.get("label_weight", 0.0) < 1:
        yield situation.found(
            "temperature-not-squared",
            f"at temperature {short(temperature)} the teacher's gradients are about {short(temperature**2)} times smaller, and "
            "scale_by_temperature_squared=False leaves it at that: beside a label loss the teacher hardly counts.",
            "Leave `scale_by_temperature_squared` at True.",
        )


def swapped(situation):
    """A teacher that guesses, and a student that knows."""
    right, taught = situation.right, situation.taught
    if taught is None or right is None or taught.shape[:-1] != situation.y_pred.shape[:-1] or not (right >= 0).any():
        return
    known = right >= 0
    taught = np.moveaxis(taught, situation.axis, -1)[situation.counts[: len(situation.y_pred)]]
    teacher, student = ((rows.argmax(-1) == right)[known].mean() for rows in (taught, situation.rows))
    # No more often right than whoever always says the commonest class might be by luck, three standard deviations of it.
    number = int(known.sum())
    guess = max(1 / situation.num_classes, np.bincount(right[known]).max() / number)
    luck = 3 * np.sqrt(guess * (1 - guess) / number)
    if teacher <= guess + luck < student and student > teacher + luck:
        sizes = [f"{model.count_params():,}" for model in (situation.model.teacher, situation.model.student)]
        yield situation.found(
            "teacher-student-swapped",
            f"the teacher ({sizes[0]} parameters) is right on {short(100 * teacher)} % of {number:,} labels, no more than by "
            f"guessing; the student ({sizes[1]} parameters) on {short(100 * student)} %.",
            "Pass the trained model as `teacher`, and the one that is to learn as `student`.",
        )


CHECKS = raw_logits, probs_as_logits, unscaled, swapped

"""What is worth a word about a step: where it clipped, saturated, ignored or weighed."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from keras import ops

from ..domain import TOLERANCE
from ..parity.running import array

PLACES = 3  # so many are named
NEXT_TO_NOTHING = 2.0**-24  # what is added to 1 and is lost in float32


@dataclass
class Note:
    """Something that happened at some places of an array."""

    words: str
    number: int = 0  # of places where it happened
    total: int = 0  # of places where it could have; 0: it is about no places
    places: list[tuple[int, ...]] = field(default_factory=list)  # the first few

    def __str__(self):
        """In words, with the first places."""
        if self.total <= 1:
            return self.words
        named = ", ".join(str(list(place)) for place in self.places)
        more = ", …" if self.number > len(self.places) else ""
        return f"{self.words}: {self.number:,} of {self.total:,}, at {named}{more}"

    @property
    def is_worth_it(self):
        """Whether it happened."""
        return bool(self.number or not self.total)

    def followed_by(self, other, rows):
        """The same note about more rows."""
        places = self.places + [(place[0] + rows, *place[1:]) for place in other.places if place]
        return Note(self.words, self.number + other.number, self.total + other.total, places[:PLACES])


def noted(words, where):
    """A note about the places where a bool array is true, of which there may be none."""
    where = np.asarray(where)
    number = int(where.sum())
    places = [tuple(map(int, place)) for place in np.argwhere(where)[:PLACES]] if number else []
    return [Note(words, number, where.size, places)] if where.size else []


def notes_on(step, value, taken):
    """The notes about a step that made `value` of what it took."""
    about = NOTES.get(step.name)
    notes = about(value, **taken) if about else []
    return notes + noted("not finite", ~np.isfinite(value)) if value.dtype.kind == "f" else notes


def hosted(about):
    """Lets a function of arrays take tensors."""

    def on_arrays(value, **taken):
        return about(value, **{name: array(one) if ops.is_tensor(one) else one for name, one in taken.items()})

    return on_arrays


def clipped(name):
    """Of a clip of the quantity `name`."""

    def about(value, epsilon, **taken):
        high = "1 - ε" if name == "probs" else "1"
        return [
            *noted(f"clipped up to ε = {epsilon:g}", value > taken[name]),
            *noted(f"clipped down to {high}", value < taken[name]),
        ]

    return about


def clipped_low(value, probs, epsilon):
    """Of a clip to [ε, 1]."""
    return [*noted(f"clipped up to ε = {epsilon:g}", value > probs), *noted("clipped down to 1", value < probs)]


def renormalized(value, probs, axis):
    """Of probabilities that are made to sum to 1."""
    del value
    total = probs.sum(axis=axis, dtype="float64")
    off = ~(np.abs(total - 1.0) <= TOLERANCE)
    return [*noted("the row does not sum to 1", off & (total != 0)), *noted("a row of zeros stays one", total == 0)]


def saturated(value, clipped, probs, saturated_gradient, slope_floor):
    """Of the logarithm of a clipped probability."""
    del value, slope_floor
    binds = clipped != probs
    if saturated_gradient == "zero":
        return noted('saturated: no gradient where the clip binds (saturated_gradient="zero")', binds)
    words = 'saturated: the value is that of the clip, the gradient that of log p (saturated_gradient="flow")'
    return [*noted(words, binds & (probs != 0)), *noted("saturated: no gradient at p = 0", binds & (probs == 0))]


def possible(value, target_prob, slope_floor):
    """Of the logarithm of what is not clipped."""
    del value, slope_floor
    return noted("no gradient at p = 0", target_prob == 0)


def confident(value, **taken):
    """Of the logarithm of a denominator without its own 1: what is left for the others."""
    del taken
    return noted("saturated: the probability rounds to 1 in float32, its loss does not round to 0", value < NEXT_TO_NOTHING)


def underflown(value, **taken):
    """Of probabilities from logits."""
    del taken
    return noted("the probability underflows to 0", value == 0)


def ruled_out(depth):
    """Of a sum over classes that leaves out what has target 0 and costs infinitely much; `depth` is what it costs."""

    def about(value, targets, **taken):
        del value
        return noted("ruled out, with target 0: contributes 0", (targets == 0) & np.isinf(taken[depth]))

    return about


def weighed(name):
    """Of weights that are not all 1."""

    def about(value, **taken):
        del value
        weights = np.asarray(taken[name], "float64")
        if not weights.size or (weights == 1).all():
            return []
        same = weights.min() == weights.max()
        words = f"weighed by {weights.min():g}" if same else f"weighed by {weights.min():g} to {weights.max():g}"
        return [Note(words), *noted("weight 0", weights == 0)]

    return about


def removed(value, kept, **taken):
    """Of what stands in for predictions that do not count."""
    del value, taken
    return noted("masked, ignored, or unusable and without weight: 1 stands in", ~kept)


def uncounted(value, **taken):
    """Of which losses count."""
    del taken
    return noted("masked or ignored: neither in the sum nor in N", value == 0)


def unweighed(value, losses, unweighed):
    """Of what has no weight, and costs infinitely much."""
    del value
    return noted("infinite or NaN, but without weight", unweighed & ~np.isfinite(losses))


def divided(value, total, denominator):
    """Of the mean."""
    del value, total
    return [Note("nothing counts: the loss is 0")] if not denominator else []


NOTES: dict[str, Callable] = {
    "clip": clipped("probs"),
    "clip_low": clipped_low,
    "clip_targets": clipped("targets"),
    "renormalize": renormalized,
    "log": saturated,
    "log_complement": saturated,
    "log_unclipped": possible,
    "log_denominator": confident,
    "log_top_denominator": confident,
    "softmax": underflown,
    "share": underflown,
    "expect_loss": ruled_out("depths"),
    "cost": ruled_out("log_probs"),
    "weigh": weighed("class_weight"),
    "weigh_loss": weighed("class_weight"),
    "balance": weighed("alpha"),
    "weigh_losses": weighed("weights"),
    "blank": removed,
    "count": uncounted,
    "drop_unweighed": unweighed,
    "divide": divided,
}
NOTES = {name: hosted(about) for name, about in NOTES.items()}

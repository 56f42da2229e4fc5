"""Who listens to a loss: the steps, with what each made."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from ..parity.running import array
from .notes import notes_on
from .numbers import Collected, Summary


@dataclass(frozen=True)
class Step:
    """One step of a loss, as it was taken.

    Args:
        name: What is done.
        formula: The same as a formula.
        gives: The name of what it makes.
        takes: The names of what it makes it of.
        value: What it made: an array, or a `Summary` of a large one.
        dtype: Its dtype.
        notes: Where it clipped, saturated, ignored or weighed, in words.

    Example:
        >>> trace = keras_xent.explain("CategoricalCrossentropy", [[0, 1]], [[0.0, 1.0]])
        >>> trace.steps[1].name, trace.steps[1].formula, trace.steps[1].notes[0]
        ('clip', 'q_k = min(max(p_k, ε), 1 - ε)', 'clipped up to ε = 1e-07: 1 of 2, at [0, 0]')

    Source:
        `keras_xent.explain`, which hears of it from the loss; the function that was called: `keras_xent.steps`.
    """

    name: str
    formula: str
    gives: str
    takes: tuple[str, ...]
    value: np.ndarray | Summary
    dtype: str
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its value."""
        return self.value.shape


class Listener:
    """Hears of every step, block of rows by block of rows."""

    def __init__(self):
        self.heard, self.next, self.begin, self.rows = [], 0, 0, None

    def block(self, begin, rows):
        """What follows is about the rows from `begin` on; None: about all at once."""
        self.next, self.begin, self.rows = 0, begin, rows

    def __call__(self, step, value, taken):
        """A step was taken. One that not all blocks take stands where it was first taken."""
        places = (place for place in range(self.next, len(self.heard)) if self.heard[place].step is step)
        place = next(places, None)
        if place is None:
            place = self.next
            self.heard.insert(place, Heard(step))
        self.heard[place].add(value, taken, self.begin, self.rows)
        self.next = place + 1

    def end(self):
        """What follows comes after all that was heard."""
        self.next, self.begin, self.rows = len(self.heard), 0, None

    def steps(self):
        """The steps in order."""
        return tuple(heard.result() for heard in self.heard)


class Heard:
    """One step, of all blocks."""

    def __init__(self, step):
        self.step, self.collected, self.notes, self.dtype = step, Collected(), {}, ""

    def add(self, value: Any, taken, begin, rows):
        """What it made of one block."""
        if ops.is_tensor(value):
            self.dtype = keras.backend.standardize_dtype(value.dtype)
            value = array(value)
        else:
            self.dtype, value = type(value).__name__, np.asarray(value)
        self.collected.add(value, rows)
        for note in notes_on(self.step, value, taken):
            before = self.notes.get(note.words)
            self.notes[note.words] = note if before is None else before.followed_by(note, begin)

    def result(self):
        """The step with all that it made."""
        step = self.step
        return Step(
            step.name,
            step.formula,
            step.gives,
            tuple(step.takes.values()),
            self.collected.result(),
            self.dtype,
            tuple(str(note) for note in self.notes.values() if note.is_worth_it),
        )

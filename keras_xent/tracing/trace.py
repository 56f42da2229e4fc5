"""`Trace`: what `explain` returns, and the forms that it takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from ..domain import Values
from ..parity.running import array
from . import as_html, as_text
from .beside import Beside
from .definition import Check
from .document import Document, Entry, Section
from .inputs import Inputs
from .listening import Step
from .notes import noted
from .numbers import KEPT, Summary, as_json, written


class Shown:
    """What is a document, in all its forms."""

    def document(self) -> Document:
        """What there is to show."""
        raise NotImplementedError

    def __str__(self):
        """Plain text."""
        return as_text.text(self.document())

    def __rich__(self):
        """Tables for a terminal."""
        return as_text.table(self.document())

    def _repr_html_(self):
        """HTML for a notebook."""
        return as_html.html(self.document())

    def to_markdown(self) -> str:
        """Markdown, with a table for each part."""
        return as_text.markdown(self.document())

    def to_html(self) -> str:
        """A whole page, which needs nothing else."""
        return as_html.page(self.document())


@dataclass(frozen=True)
class Trace(Shown):
    """A loss on given numbers, with all that happens on the way: what `explain` returns.

    value = the loss, in nats; the steps end in it, which is checked whenever one is made.

    Args:
        loss: The loss, as code.
        backend: The backend that computed it.
        dtype: The dtype of the loss, and ...
        computed_in: ... that of its steps.
        inputs: What it was given.
        steps: The steps in order: each a `Step` with `name`, `formula`, `gives`, `value`, `dtype`, `shape` and `notes`.
        losses: One loss per example, neither weighed nor reduced.
        value: The loss: a number, or an array without reduction.
        gradient: The gradient of its sum by `y_pred`, by the backend's autodiff.
        gradient_formula: That of one loss, and what weights and reduction make of it.
        reduction: The name of the reduction.
        definition: How far value and gradient are from `keras_xent.reference`, in float64.
        keras: For a loss of Keras, its own answer and the known difference; else None.
        subject: The loss object of this package that took the steps.

    Returns:
        An object that prints as text, as a table with `rich.print`, as HTML in notebooks.

    Raises:
        ImportError: By `plot`, where matplotlib is not installed, and by `rich`'s forms where that is not.

    Differs from Keras:
        Keras has nothing like it.

    Example:
        >>> trace = keras_xent.explain(keras_xent.BinaryCrossentropy(from_logits=True), [[1.0]], [[0.0]])
        >>> print(str(trace).splitlines()[-1])
        loss = 0.693147 / 1 = 0.693147
        >>> trace.to_dict()["steps"][1]["formula"]
        'softplus(-z)'

    Source:
        `keras_xent.explain`.
    """

    loss: str
    backend: str
    dtype: str
    computed_in: str
    inputs: Inputs
    steps: tuple[Step, ...]
    losses: np.ndarray | Summary
    value: Any
    gradient: np.ndarray | Summary
    gradient_formula: tuple[str, str]
    reduction: str
    definition: Check
    keras: Beside | None
    subject: Any = field(repr=False)

    def __repr__(self):
        """What it is, in one line."""
        return f"<Trace of {self.loss}: {len(self.steps)} steps to {written(self.value)}>"

    def __getitem__(self, name: str) -> Any:
        """The value of the last step that gives a quantity of that name."""
        for step in reversed(self.steps):
            if step.gives == name:
                return step.value
        raise KeyError(f"no step gives {name!r}; there are: {', '.join(dict.fromkeys(step.gives for step in self.steps))}")

    def document(self) -> Document:
        """What there is to show."""
        entries = tuple(
            Entry(f"{number}. {step.name} → {step.gives}", step.formula, kind(step), written(step.value), step.notes)
            for number, step in enumerate(self.steps, 1)
        )
        computed = "" if self.dtype == self.computed_in else f"; the result is rounded to {self.dtype}"
        sections = [
            Section("What it is given", tuple(self.given())),
            Section("The steps", entries, f"Computed in {self.computed_in}{computed}."),
            Section("The losses", (Entry("losses", "one per example", kind_of(self.losses), written(self.losses)),)),
            Section("The gradient", self.slopes()),
        ]
        if self.keras is not None:
            sections.append(Section("Keras", self.theirs()))
        return Document(self.loss, f"On {self.backend}, in nats.", tuple(sections), self.conclusion)

    def slopes(self):
        """The gradient."""
        of_one, of_all = self.gradient_formula
        said = self.definition.said
        if self.definition.rows is not None:
            said = f"of the first {self.definition.rows} rows, unreduced: {said}"
        return (Entry("gradient", f"{of_one};  in the result {of_all}", kind_of(self.gradient), written(self.gradient), (said,)),)

    def theirs(self):
        """What Keras's own loss gives."""
        assert self.keras is not None
        number = "" if self.keras.value is None else written(self.keras.value)
        entries = (Entry("Keras's own loss", "", "", number, tuple(self.keras.lines())),)
        if "gradient" not in self.keras.differs:
            return entries
        return (*entries, Entry("Keras's own gradient", "", kind_of(self.keras.gradient), written(self.keras.gradient)))

    @property
    def conclusion(self):
        """The last line: the loss, and what it is made of."""
        made = {step.gives: step.value for step in self.steps}
        if "total" not in made:
            return f"loss = {written(self.value)}".replace("\n", " ")
        quotient = f" / {written(made['denominator'])}" if "denominator" in made else ""
        return f"loss = {written(made['total'])}{quotient} = {written(self.value)}"

    def given(self):
        """What the loss was given, and what of it lies outside of what the loss takes."""
        targets = self.subject.domain.y_true
        if isinstance(targets, Mapping):  # packed with labels, they are several things at once
            targets = None if self.subject.labels else targets[self.subject.targets]
        yield from (
            self.input("y_true", self.inputs.y_true, targets),
            self.input("y_pred", self.inputs.y_pred, self.subject.domain.y_pred(self.subject.from_logits)),
        )
        for name, values in (("sample_weight", self.inputs.sample_weight), ("mask", self.inputs.mask)):
            if values is not None:
                yield self.input(name, values, None)

    def input(self, name, values, domain):
        """One of the arguments; a large tensor is not looked at as a whole."""
        shape = tuple(values.shape)
        size, large = math.prod(shape), math.prod(shape) > KEPT
        numbers = array(values[:1]) if large else array(values)
        words, notes = "", []
        if isinstance(domain, Values):
            words = domain.words
            notes = [] if large else outside(domain, numbers, self.inputs.y_pred.shape, getattr(self.subject, "axis", -1))
        told = f"{size:,} numbers; the first row {written(numbers[0])}" if large else written(numbers)
        return Entry(name, words, f"{keras.backend.standardize_dtype(values.dtype)} {shape}", told, tuple(map(str, notes)))

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it; numbers that are not finite as text."""
        return {
            "loss": self.loss,
            "backend": self.backend,
            "dtype": self.dtype,
            "inputs": {
                entry.name: {"kind": entry.kind, "numbers": entry.numbers, "notes": list(entry.notes)} for entry in self.given()
            },
            "steps": [
                {
                    "name": step.name,
                    "formula": step.formula,
                    "gives": step.gives,
                    "takes": list(step.takes),
                    "dtype": step.dtype,
                    "shape": list(step.shape),
                    "value": as_json(step.value),
                    "notes": list(step.notes),
                }
                for step in self.steps
            ],
            "losses": as_json(self.losses),
            "reduction": self.reduction,
            "value": as_json(self.value),
            "gradient": {"value": as_json(self.gradient), "formula": list(self.gradient_formula)},
            "definition": {"value": as_json(np.asarray(self.definition.value)), "said": self.definition.said},
            "keras": None if self.keras is None else self.keras.to_dict(),
        }

    def plot(self, path: Any = None) -> Any:
        """Pictures of the first examples; written to `path`, if there is one.

        Predictions beside targets; each class's share of the loss; the loss by the probability of the true class, with the clip
        marked; for distillation teacher and student at T = 1 and at the temperature.

        Returns:
            A figure of matplotlib.
        """
        from .pictures import picture

        return picture(self, path)


def outside(domain, numbers, shape, axis):
    """What is outside of a loss's domain, as notes."""
    axis = axis if isinstance(axis, int) else -1
    if domain.total is not None and np.ndim(numbers) == 0:
        return []
    with np.errstate(all="ignore"):
        wrong = domain.violations(numbers, axis, num_classes=shape[axis] if len(shape) else 1)
    return [note for note in noted(f"not {domain.words}", wrong) if note.is_worth_it]


def kind(step):
    """Its dtype and shape."""
    return f"{step.dtype} {tuple(step.shape)}"


def kind_of(values):
    """The same of an array."""
    return f"{getattr(values, 'dtype', 'of shape')} {tuple(values.shape)}"

"""What a temperature does to a softmax, and to the loss between a teacher and its student."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import reference
from ..reference import _arithmetic as a
from .document import Document, Entry, Section
from .numbers import as_json, written
from .trace import Shown

TEACHER, STUDENT = [[6.0, 3.0, 1.0, -2.0]], [[4.0, 2.5, 0.0, -1.0]]  # an example, where none is given


@dataclass(frozen=True)
class Softening:
    """One temperature: the distributions, their entropy, and what a student has of it."""

    temperature: float
    teacher: np.ndarray
    student: np.ndarray
    entropy: np.ndarray  # of the teacher, in nats
    divergence: np.ndarray  # of each row, in nats
    slope: np.ndarray  # the largest gradient of T² D by the student's logits, row by row


class Temperatures(Shown):
    """What each of several temperatures makes of a teacher's and a student's logits (float64, classes last)."""

    def __init__(self, temperatures, teacher: Any = None, student: Any = None):
        self.teacher = np.atleast_2d(np.asarray(TEACHER if teacher is None else teacher, "float64"))
        self.student = np.atleast_2d(np.asarray(STUDENT if teacher is None and student is None else student, "float64"))
        if student is None and teacher is not None:
            self.student = np.zeros_like(self.teacher)  # a student that knows nothing
        if self.teacher.shape != self.student.shape or self.teacher.shape[-1] < 2:
            raise ValueError(
                "The logits of teacher and student must have the same shape, with two or more classes last. Received: "
                f"{self.teacher.shape} and {self.student.shape}."
            )
        self.told_student = not (student is None and teacher is not None)
        self.softenings = [self.soften(temperature) for temperature in temperatures]

    def soften(self, temperature):
        """One of them."""
        if not 0 < temperature < float("inf"):
            raise ValueError(f"A temperature must be above 0 and finite. Received: {temperature:g}.")
        logs = [a.log_softmax(logits / temperature, -1) for logits in (self.teacher, self.student)]
        given = (self.teacher, self.student, temperature)
        divergence = reference.distillation_loss(*given, targets="logits", scale_by_temperature_squared=False)
        gradient = reference.distillation_loss_gradient(*given, targets="logits")
        p, q = map(np.exp, logs)
        return Softening(temperature, p, q, -a.product(p, logs[0]).sum(-1), divergence, np.abs(gradient).max(-1))

    def document(self):
        """What there is to show."""
        sections = []
        for one in self.softenings:
            t = one.temperature
            unscaled = one.slope / t**2
            entries = [Entry("teacher", f"softmax(z / {t:g})", "", written(one.teacher))]
            entries += [Entry("student", f"softmax(z / {t:g})", "", written(one.student))] if self.told_student else []
            entries += [
                Entry("entropy of the teacher", "-Σ_k p_k log p_k", "nats", written(one.entropy)),
                Entry("divergence", "D = Σ_k p_k log(p_k / q_k)", "nats", written(one.divergence)),
                Entry("distillation loss", "T² D", "nats", written(t**2 * one.divergence)),
                Entry("largest gradient", "of T² D by the student's logits", "", written(one.slope)),
                Entry("the same without T²", "", "", written(unscaled)),
            ]
            sections.append(Section(f"T = {t:g}", tuple(entries)))
        student = "" if self.told_student else "The student is taken to know nothing: all its logits are 0."
        words = (
            "Above 1 a temperature softens the distributions and brings out how the teacher ranks wrong classes; towards 0 it "
            "leaves the largest class alone. D and its gradient fall with 1 / T² as T grows: therefore the factor T²."
        )
        logits = (("teacher", self.teacher), ("student", self.student))
        given = Section("Logits", tuple(Entry(name, "z", "", written(values)) for name, values in logits), student)
        return Document("What a temperature does", words, (given, *sections))

    def to_dict(self):
        """As JSON can hold it."""
        rows = [{name: as_json(value) for name, value in vars(one).items()} for one in self.softenings]
        return {"teacher": as_json(self.teacher), "student": as_json(self.student), "temperatures": rows}

    def plot(self, path=None):
        """Teacher and student of the first row at each temperature: a figure of matplotlib."""
        from .pictures import BARS, draw_bars, new_figure

        columns, lines = min(len(self.softenings), 4), -(-len(self.softenings) // 4)
        shown = [np.sort(np.argsort(-self.teacher[0], kind="stable")[:BARS])]
        with new_figure(max(4.0, 3.2 * columns), 3.0 * lines, path) as figure:
            parts = figure.subfigures(lines, columns, squeeze=False).ravel()
            for part, one in zip(parts, self.softenings, strict=False):
                draw_bars(part, f"T = {one.temperature:g}", one.teacher, one.student, ("teacher", "student"), shown)
            highest = max(axes.get_ylim()[1] for axes in figure.axes)
            for axes in figure.axes:  # of one height: what flattens looks flatter
                axes.set_ylim(0.0, highest)
        return figure

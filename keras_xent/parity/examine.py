"""One case, put to two implementations: what is found."""

import traceback
from dataclasses import dataclass
from typing import Any

from .cases import Case
from .compare import Error, between, errors
from .implementations import Implementation, IncomparableError
from .regions import region_of
from .running import BACKEND, USUAL
from .text import printable

EQUAL, KNOWN, DIFFERENT, FAILED = "equal", "known", "different", "failed"  # verdicts


@dataclass(frozen=True)
class Finding:
    """What came of a case."""

    case: Case
    mode: str
    subject: str
    reference: str
    verdict: str  # one of the four; `KNOWN`: apart where the reference is known to be; `FAILED`: one of the two raised an error
    value: Error | None = None
    gradient: Error | None = None
    region: str | None = None  # of a known difference
    message: str = ""  # of an error
    answers: tuple[Any, Any] | None = None  # what the two gave

    @property
    def kind(self):
        """What tells one disagreement from another: the error that was raised, or which quantities are off, or not finite."""
        broken = [error and not error.within and ("infinite" if error.error == float("inf") else "off") for error in self.errors]
        return self.verdict, self.message.split(": ")[:2], *broken  # of a message who raised what

    @property
    def errors(self):
        """Of value and gradient."""
        return self.value, self.gradient

    @property
    def ok(self):
        """Whether nothing speaks against the subject."""
        return self.verdict in (EQUAL, KNOWN)


class Answers:
    """What one implementation gives for one case, asked once: its arrays, or the error that it raises."""

    def __init__(self, implementation: Implementation, case: Case, mode: str):
        self.result, self.message = None, ""
        self.name, self.reduced_by_keras = implementation.name, implementation.reduced_by_keras
        try:
            self.result = implementation.answer(case, mode)
        except IncomparableError:
            raise
        except Exception as error:  # whatever a loss raises is a finding
            self.message = f"{implementation.name}: {last_lines(error)}"


def last_lines(error):
    """An error in words: its type, what it says, and where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(printable(str(error)).split())
    return f"{type(error).__name__}: {said[:300]}{'…' if len(said) > 300 else ''} ({frame.name}, line {frame.lineno})"


def examine(subject, references, case, modes, strict=False):
    """Findings about one subject in each mode, against each reference that has something like the case.

    `strict`: the subject is to be as exact as this package's losses where the reference is the definition; else as exact as the
    textbook, which takes logits from their log-sum-exp and half precision for what it is.
    """
    given = {mode: asked(subject, case, mode) for mode in modes}
    for reference in references:
        in_any_mode = None if reference.in_modes else asked(reference, case, USUAL)
        for mode in modes:
            one, other = given[mode], asked(reference, case, mode) if reference.in_modes else in_any_mode
            if one is None or other is None or (one.message and other.message):  # both refuse the case
                continue
            yield compare(case, mode, one, other, exact=strict and reference.exact, in_half=not strict)


def asked(implementation, case, mode):
    """Its answers; None if it has nothing like the case."""
    try:
        return Answers(implementation, case, mode)
    except IncomparableError:
        return None


def compare(case, mode, given, expected, exact, in_half):
    """The finding about two answers."""
    common = {"case": case, "mode": mode, "subject": given.name, "reference": expected.name}
    region = region_of(case, BACKEND) if expected.name == "Keras" or given.reduced_by_keras else None
    if expected.name != "Keras" and region is not None and not region.of_the_reduction:
        region = None
    if given.message or expected.message:
        if given.message and not (region and region.of_the_reduction):
            region = None  # an error of the subject's own
        return Finding(
            **common,
            verdict=FAILED if region is None else KNOWN,
            region=region and region.name,
            message=given.message or expected.message,
        )
    value, gradient = errors(case, given.result, expected.result, other_rounds=not exact, in_half=in_half)
    if value.within and gradient.within:
        region, verdict = None, EQUAL
    else:
        if region is not None and not given.reduced_by_keras and not between_keras_and_definition(case, given, expected, in_half):
            region = None
        verdict = DIFFERENT if region is None else KNOWN
    return Finding(
        **common,
        verdict=verdict,
        value=value,
        gradient=gradient,
        region=region and region.name,
        answers=(given.result, expected.result),
    )


def between_keras_and_definition(case, given, expected, in_half):
    """Whether a difference from Keras is Keras's own: what is given lies between the two, give or take the rounding."""
    try:
        defined = case.definition()
    except (AssertionError, IndexError, ValueError):  # by which NumPy refuses what is no input
        return True
    nearest = tuple(map(between, given.result, expected.result, defined))
    return all(error.within for error in errors(case, given.result, nearest, other_rounds=True, in_half=in_half))

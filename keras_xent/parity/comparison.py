"""Two things that are compared, and the cases for it."""

import dataclasses
from collections.abc import Callable

import numpy as np

from .bounds import EPSILON
from .cases import Case
from .choose import modes_of, varied
from .corpus import GROUPS
from .corpus import corpus as corpus_cases
from .examine import Answers, Finding, examine
from .fitting import Fitting, cannot_be_made
from .implementations import Implementation, IncomparableError, UsageError
from .named import corpus_of, found, implementation
from .running import MODES, USUAL, rounded
from .shrink import shrunk


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two things to compare, and the cases for it."""

    subject: Implementation
    reference: Implementation
    cases: list[tuple[Case, tuple[str, ...]]]  # each with its modes
    strict: bool = False
    fits: Callable[[Case], bool] = lambda case: True  # whether a case, made smaller, is still one for the two

    def findings(self):
        """One after the other, each case in its modes."""
        for case, modes in self.cases:
            yield from examine(self.subject, [self.reference], case, modes, self.strict)

    def smallest(self, finding: Finding) -> Finding:
        """The same disagreement on the smallest input that still shows it."""

        def again(case):
            return next(iter(examine(self.subject, [self.reference], case, (finding.mode,), self.strict)), None)

        def fails(case):
            other = again(case) if self.fits(case) else None
            return other is not None and other.kind == finding.kind

        return again(shrunk(finding.case, fails)) or finding

    def why_nothing(self):
        """Why nothing was compared, in words: no case fits both, or both refuse the only one."""
        if len(self.cases) != 1:
            return "No case fits both: see `arguments`, `corpus` and `groups`."
        ((case, (mode, *_)),) = self.cases
        try:
            refusals = [Answers(each, case, mode).message for each in (self.reference, self.subject)]
        except IncomparableError as error:
            return f"The two cannot be compared on this input: {error}."
        return f"Both refuse the input. {refusals[-1]}"


def prepared(loss, reference, *, corpus, arguments, cases, seed, groups, strict, one_case=None, mode=None):
    """The comparison that is asked for; an error that says what of it cannot be."""
    arguments = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in (arguments or {}).items()}
    things = [found(thing) if isinstance(thing, str) else thing for thing in (loss, reference)]
    inputs = corpus_of(*reversed(things), named=corpus)
    cases, seed = (each.item() if isinstance(each, np.integer) else each for each in (cases, seed))
    if cases is not None and not (isinstance(cases, int) and cases >= 1):
        raise UsageError(f"`cases` must be a whole number from 1, or None for all, not {cases!r}.")
    if not (isinstance(seed, int) and seed >= 0):
        raise UsageError(f"`seed` must be a whole number from 0, not {seed!r}.")
    if mode is not None and mode not in MODES:
        raise UsageError(f"`mode` must be one of {', '.join(MODES)} here, not {mode!r}.")
    groups = [groups] if isinstance(groups, str) else groups
    unknown = set(groups) - set(GROUPS)
    if unknown:
        raise UsageError(f"There is no group {', '.join(sorted(unknown))}; choose from {', '.join(GROUPS)}.")
    fitting = Fitting(things, inputs, arguments)
    subject, other = (implementation(thing, arguments) for thing in things)
    if one_case:
        drawn = [the_case(inputs, arguments, fitting, **one_case)]
        modes = (mode or USUAL,)
    else:
        every = filter(None, map(fitting.fit, corpus_cases(inputs, seed, groups)))
        drawn = varied((case for case in every if subject.takes(case) and other.takes(case)), cases)
        modes = None if mode is None else (mode,)
    for each in (subject, other):
        troubles = [each.trouble(case) for case in drawn if each.takes(case)]
        if troubles and all(troubles):
            raise UsageError(cannot_be_made(each.name, troubles[0]))
    with_modes = [(case, modes_of(place, modes)) for place, case in enumerate(drawn)]
    return Comparison(subject, other, with_modes, strict, fitting.unchanged)


def the_case(inputs, arguments, fitting, y_true, y_pred, sample_weight, reduction, dtype):
    """The case that a user spells out."""
    if dtype not in EPSILON:
        raise UsageError(f"`dtype` must be one of {', '.join(EPSILON)}, not {dtype!r}.")
    y_true, hard_labels = y_true if arguments.get("labels") else (y_true, None)
    given = {k: v for k, v in arguments.items() if k not in fitting.own}
    case = Case(
        inputs,
        "given",
        "the given input",
        np.asarray(y_true),
        rounded(np.asarray(y_pred, "float64"), dtype),
        {"from_logits": False, "axis": -1} | fitting.settled | given,
        dtype,
        reduction or fitting.reduction or "none",
        None if sample_weight is None else np.asarray(sample_weight, "float64"),
        None if hard_labels is None else np.asarray(hard_labels),
        fitting.own,
    )
    if not fitting.unchanged(case):
        raise UsageError("The loss object was made with another `dtype`, reduction or other arguments than are asked for.")
    return case

"""What a child process can be asked to do; each task yields what it finds, as JSON."""

from . import known_check, precision_measure
from .assertion import ParityError, assert_parity
from .choose import modes_of, varied
from .comparison import Comparison, prepared
from .corpus import corpus
from .disagreement import said, snippet
from .examine import examine
from .implementations import DEFINITION, KERAS, OURS, NotHereError, UsageError
from .known import KNOWN_DIFFERENCES
from .peers import peers
from .running import USUAL


def losses(names, cases, seed, groups, one_mode, known):
    """Every loss of this package against the definition, Keras and the libraries that are installed."""
    references = (DEFINITION, KERAS, *peers())
    drawn = {loss: varied(corpus(loss, seed, groups), cases) for loss in names}
    yield {"total": sum(map(len, drawn.values())) + (len(KNOWN_DIFFERENCES) if known else 0)}
    comparisons = {reference.name: Comparison(OURS, reference, [], strict=True) for reference in references}
    for loss in names:
        shown = set()
        for place, case in enumerate(drawn[loss]):
            for finding in examine(OURS, references, case, modes_of(place, (USUAL,) if one_mode else None), strict=True):
                yield from reported(finding, loss, shown, comparisons[finding.reference])
            yield {"done": 1}
    for difference in KNOWN_DIFFERENCES if known else ():
        yield {"known": known_check.check(difference).as_json()}
        yield {"done": 1}


def custom(loss, reference, arguments, corpus, cases, seed, groups, one_mode, strict):
    """A user's loss against any other."""
    try:
        comparison = prepared(
            loss,
            reference,
            corpus=corpus,
            arguments=arguments,
            cases=cases,
            seed=seed,
            groups=groups,
            mode=USUAL if one_mode else None,
            strict=strict,
        )
    except NotHereError as error:
        yield {"missing": str(error)}
        return
    except UsageError as error:
        yield {"usage": str(error)}
        return
    yield {"total": len(comparison.cases)}
    shown, number = set(), 0
    for case, modes in comparison.cases:
        for finding in examine(comparison.subject, [comparison.reference], case, modes, strict):
            number += 1
            yield from reported(finding, loss, shown, comparison, reference)
        yield {"done": 1}
    if not number:
        yield {"usage": f"No case fits both {loss} and {reference}: see --arg, --corpus and --groups."}


def reported(finding, loss, shown, comparison, reference=None):
    """A finding, and, the first time that a reference is not met, the smallest input that shows it."""
    yield {"finding": as_json(finding, loss)}
    if not finding.ok and finding.reference not in shown:
        shown.add(finding.reference)
        finding = comparison.smallest(finding)
        code = snippet(finding, repr(loss), repr(reference or finding.reference), comparison.strict)
        yield {"disagreement": {"loss": loss, "reference": finding.reference, "said": said(finding), "snippet": code}}


def as_json(finding, loss):
    """A finding without its arrays."""
    errors = {
        quantity: error and {"error": error.error, "bound": error.bound}
        for quantity, error in (("value", finding.value), ("gradient", finding.gradient))
    }
    return errors | {
        "loss": loss,
        "reference": finding.reference,
        "mode": finding.mode,
        "what": f"{finding.case.group}: {finding.case.what}",
        "dtype": finding.case.dtype,
        "verdict": finding.verdict,
        "region": finding.region,
        "message": finding.message,
    }


def assertion(**arguments):
    """What `assert_parity` says."""
    try:
        yield {"number": assert_parity(**arguments)}
    except (ParityError, UsageError) as error:
        yield {"error": type(error).__name__, "said": str(error)}


TASKS = {"losses": losses, "custom": custom, "assertion": assertion, "precision": precision_measure.measured}

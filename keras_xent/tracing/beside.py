"""What Keras's own loss gives beside its twin, and the known difference where that is something else."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..parity.compare import Error, errors
from ..parity.difference import KnownDifference
from ..parity.examine import last_lines
from ..parity.known import KNOWN_DIFFERENCES, results
from ..parity.regions import Region, region_of
from ..parity.running import BACKEND
from .numbers import as_json, written

NAMED = 3  # so many known differences are shown
COLUMN = {"tensorflow": 0, "jax": 1, "torch": 2}[BACKEND]


@dataclass(frozen=True)
class Beside:
    """Keras's own answer.

    Args:
        value, gradient: Its value and gradient; None if it raised an error.
        error: The error that it raised, in words.
        differs: What is not the same: `"value"`, `"gradient"`, both, or nothing.
        region: The region of inputs where Keras is known to differ (`keras-xent parity --known`), if it does.
        known: The named differences of this loss in that region.
    """

    value: Any
    gradient: Any = None
    error: str = ""
    differs: tuple[str, ...] = ()
    region: Region | None = None
    known: tuple[KnownDifference, ...] = ()

    def lines(self):
        """What is to be said, line by line."""
        if self.error:
            said = [f"Keras's loss raises an error on {BACKEND}: {self.error}."]
        elif not self.differs:
            return ["the same, in value and gradient, as far as rounding explains"]
        else:
            said = [f"another {' and another '.join(self.differs)}, beyond rounding"]
        if self.region is None:
            return [*said, "This is none of the known differences (`keras-xent parity --known`)."]
        said.append(f"Known to differ for: {self.region.words}.")
        for known in self.known[:NAMED]:
            *theirs, ours = results(known)
            said.append(f"Known: {known.what}: Keras gives {theirs[COLUMN]} on {BACKEND}, the definition {ours}: {known.why}.")
            said += [f"Reported: {known.upstream}"] if known.upstream else []
        return said

    def to_dict(self):
        """As JSON holds it."""
        return {
            "value": as_json(self.value) if self.value is None or isinstance(self.value, float) else written(self.value),
            "error": self.error,
            "differs": list(self.differs),
            "region": self.region.words if self.region else None,
            "known": [{"what": known.what, "why": known.why, "upstream": known.upstream} for known in self.known],
        }


def compared(case, ours, theirs):
    """What there is to say about two answers (value and gradient); in place of Keras's there may be an error."""
    if isinstance(theirs, Exception):
        return named(case, None, None, last_lines(theirs), ("value",))
    # what textbook formulas lose of a small loss is rounding to them; where it is known, it is said
    rounds = region_of(case, BACKEND) is None
    off: tuple[Error, ...] = errors(case, theirs, ours, other_rounds=rounds, in_half=True)
    differs = tuple(name for name, error in zip(("value", "gradient"), off, strict=True) if not error.within)
    value = float(theirs[0]) if not np.ndim(theirs[0]) else np.asarray(theirs[0])
    return named(case, value, theirs[1], "", differs)


def named(case, value, gradient, error, differs):
    """With the region and the named differences that are known, those of what differs first."""
    region = region_of(case, BACKEND) if differs else None
    known = [each for each in KNOWN_DIFFERENCES if region and each.region == region.name and each.loss == case.loss]
    known = [each for each in known if each.compared in ("value", "gradient") and results(each)[COLUMN] != results(each)[-1]]
    known.sort(key=lambda each: (each.compared not in differs, each.dtype != case.dtype, each.activation is not None))
    return Beside(value, gradient, error, differs, region, tuple(known))

"""How large the inputs are: N x V logits, or N x H features with a kernel of H x V."""

import re
from dataclasses import dataclass, replace

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
SMALL = 100_000  # so few logits take less time than the calls around them
STEPS = (16, 4)  # by which a size is divided to see growth


@dataclass(frozen=True, order=True)
class Size:
    """N rows of V classes, out of H features where there is a kernel."""

    rows: int
    classes: int
    hidden: int | None = None

    def __str__(self):
        """As on the command line."""
        return "x".join(str(number) for number in (self.rows, self.hidden, self.classes) if number is not None)

    @property
    def logits(self):
        """How many there are, whether they are held or not."""
        return self.rows * self.classes

    @property
    def small(self):
        """Whether a loss of this size is its overhead."""
        return self.logits <= SMALL


def parse(text):
    """A size out of NxV or NxHxV; a `ValueError` says what was expected."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", text):
        raise ValueError(f"{text}: expected NxV, or NxHxV for linear losses, such as 2048x32000 or 2048x256x128000")
    rows, *hidden, classes = map(int, text.split("x"))
    if classes < 2:
        raise ValueError(f"{text}: expected two classes or more")
    return Size(rows, classes, *hidden)


def growing(size):
    """The size, and smaller ones: first in classes, then in rows."""
    fewer_classes = [replace(size, classes=max(2, size.classes // step)) for step in STEPS]
    fewer_rows = [replace(size, rows=max(1, size.rows // step)) for step in STEPS]
    return list(dict.fromkeys([*fewer_classes, *fewer_rows, size]))

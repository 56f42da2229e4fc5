"""Numbers to show: small arrays as they are, large ones as a summary that is made as they come."""

from dataclasses import dataclass

import numpy as np

KEPT = 2**16  # numbers of an array; of a larger one a summary is kept
SHOWN = 64  # numbers that are written out; of more, the ends of each axis
FIRST = 4  # numbers of a summary's beginning
DIGITS, FEWER = 6, 5  # of a number alone, and of one among many
COLUMNS = 112


@dataclass(frozen=True)
class Summary:
    """What is kept of a large array: of one of more than 65,536 numbers.

    Args:
        shape: Its shape.
        minimum, maximum, mean: Of its finite numbers; NaN if there are none.
        finite: How many numbers are finite.
        zeros: How many are 0.
        first: Its first numbers.

    Example:
        >>> trace = keras_xent.explain("BinaryCrossentropy", np.zeros((300, 300)), np.full((300, 300), 0.5))
        >>> summary = trace.steps[0].value
        >>> type(summary).__name__, summary.shape, summary.mean
        ('Summary', (300, 300), 1.0)

    Source:
        `keras_xent.explain`, which makes them.
    """

    shape: tuple[int, ...]
    minimum: float
    maximum: float
    mean: float
    finite: int
    zeros: int
    first: tuple[float, ...]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(np.prod(self.shape))

    @classmethod
    def of(cls, values: np.ndarray) -> "Summary":
        """The summary of an array."""
        finite = np.isfinite(values)
        few, many = values[finite], int(finite.sum())
        low, high, mean = (few.min(), few.max(), few.mean(dtype="float64")) if many else (np.nan,) * 3
        first = tuple(values.ravel()[:FIRST].astype("float64").tolist())
        return cls(values.shape, float(low), float(high), float(mean), many, int((values == 0).sum()), first)

    def followed_by(self, other: "Summary") -> "Summary":
        """The summary of both, one behind the other along the first axis."""
        finite = self.finite + other.finite
        total = sum(each.mean * each.finite for each in (self, other) if each.finite)
        return Summary(
            (self.shape[0] + other.shape[0], *self.shape[1:]),
            float(np.fmin(self.minimum, other.minimum)),
            float(np.fmax(self.maximum, other.maximum)),
            total / finite if finite else float("nan"),
            finite,
            self.zeros + other.zeros,
            self.first,
        )

    def times(self, factor: float) -> "Summary":
        """The summary of so many times the array; `factor` is at least 0."""
        first = tuple(factor * number for number in self.first)
        low, high, mean = (factor * number for number in (self.minimum, self.maximum, self.mean))
        return Summary(self.shape, low, high, mean, self.finite, self.zeros, first)

    def __str__(self):
        """In one line."""
        words = [f"{self.minimum:.{FEWER}g} to {self.maximum:.{FEWER}g}, mean {self.mean:.{FEWER}g}"] if self.finite else []
        words += [f"{self.zeros:,} of them 0"] if self.zeros else []
        words += [f"{self.size - self.finite:,} not finite"] if self.finite < self.size else []
        return f"{self.size:,} numbers: {'; '.join(words)}; first {' '.join(f'{number:.{FEWER}g}' for number in self.first)}, …"


class Collected:
    """An array that comes in blocks of rows: kept while it is small, summarised once it is not."""

    def __init__(self):
        self.parts, self.summary, self.in_rows = [], None, True

    def add(self, values: np.ndarray, rows: int | None = None):
        """The next block, of so many rows; what has no rows, such as one number per class, is the same for all blocks."""
        if self.parts or self.summary is not None:
            if not self.in_rows:
                return
        else:
            self.in_rows = rows is not None and values.ndim > 0 and values.shape[0] == rows
        if self.summary is None and sum(part.size for part in self.parts) + values.size <= KEPT:
            self.parts.append(values)
            return
        for part in (*self.parts, values):
            summary = Summary.of(part)
            self.summary = summary if self.summary is None else self.summary.followed_by(summary)
        self.parts = []

    def result(self) -> "np.ndarray | Summary":
        """All of it."""
        if self.summary is not None:
            return self.summary
        return np.concatenate(self.parts) if len(self.parts) > 1 else self.parts[0]


def written(values) -> str:
    """Numbers as text, in as many lines as there are rows."""
    if isinstance(values, Summary):
        return str(values)
    values = np.asarray(values)
    if not values.ndim:
        return f"{values.item():.{DIGITS}g}" if values.dtype.kind == "f" else str(values.item())
    values = values + 0.0 if values.dtype.kind == "f" else values  # no -0
    values = values.astype("int8") if values.dtype.kind == "b" else values
    text = np.array2string(
        values,
        threshold=SHOWN,
        edgeitems=3,
        max_line_width=COLUMNS,
        formatter={"float_kind": lambda number: f"{number:.{FEWER}g}"},
    )
    return aligned(text) if values.dtype.kind == "f" else text


def aligned(text):
    """Columns of the same width, if no row is broken over lines."""
    lines = [line.replace("[", " [ ").replace("]", " ] ").split() for line in text.splitlines()]
    numbers = [[word for word in line if word not in "[]"] for line in lines]
    if len({len(line) for line in numbers if line}) != 1:
        return text
    widths = [max(map(len, column)) for column in zip(*(line for line in numbers if line), strict=True)]
    rows = []
    for line, words in zip(text.splitlines(), numbers, strict=True):
        if not words:
            rows.append(line)
            continue
        opening = line[: len(line) - len(line.lstrip(" ["))]
        closing = line[len(line.rstrip("]")) :]
        rows.append(opening + " ".join(word.ljust(width) for word, width in zip(words, widths, strict=True)).rstrip() + closing)
    return "\n".join(rows)


def as_json(values):
    """Numbers that JSON can hold: those that are not finite as text."""
    if isinstance(values, Summary):
        return {"summary": {name: as_json(value) for name, value in vars(values).items()}}
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, (list, tuple)):
        return [as_json(value) for value in values]
    if isinstance(values, float) and not np.isfinite(values):
        return "nan" if values != values else "inf" if values > 0 else "-inf"
    return values

"""What was measured, and how to say it: as a dictionary, as JSON, as a table."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from ..parity.formats import markdown_table
from ..parity.processes import BACKENDS
from .contenders import BASELINE
from .growth import growth
from .sizes import BYTES, parse

OURS = "keras_xent"


@dataclass
class Measurement:
    """What was measured of one contender on one loss, size and mode: a row of the table of `Results`.

    Medians with quartiles are `{"median", "low", "high"}`; what was not measured is None.

    Args:
        loss, size, call, backend, mode, contender, dtype, device: What was measured: a loss by its name, a size such as
            `"128x10"`, through the `"function"` or the `"object"`, by whom (`"keras_xent"`, `"Keras"`, or a peer) and on what.
        first_seconds: Seconds of the first call, which compiles.
        seconds: Seconds of one call for loss and gradient.
        ratio: The same as a multiple of Keras's, in the same round.
        copies: The same as a multiple of one pass over the logits.
        rounds: How many rounds there were.
        value_error, gradient_error: The largest relative error against `keras_xent.reference`.
        memory: The peak in bytes beside the inputs, and ...
        memory_copies, memory_ratio: ... as a multiple of the logits' bytes, and of Keras's peak.
        problem: Why there is no time.

    Example:
        >>> one = keras_xent.bench.Measurement("sparse", "128x10", "function", "jax", "jit", "optax", problem="not installed")
        >>> one.place  # what is compared with each other
        ('sparse', '128x10', 'function', 'jax', 'jit')
        >>> one.seconds is None, one.problem
        (True, 'not installed')

    Source:
        `keras_xent.bench.run`, which makes them.
    """

    loss: str
    size: str
    call: str
    backend: str
    mode: str
    contender: str
    dtype: str = "float32"
    device: str = "cpu"
    first_seconds: float | None = None  # of the first call, which compiles
    seconds: dict[str, float] | None = None
    ratio: dict[str, float] | None = None  # to Keras's, of the same round
    copies: dict[str, float] | None = None  # to one pass over the logits
    rounds: int = 0
    value_error: float | None = None  # relative, against the definition
    gradient_error: float | None = None
    memory: int | None = None  # bytes at most, beside the inputs
    memory_copies: float | None = None
    memory_ratio: float | None = None
    problem: str | None = None  # why there is no time

    @property
    def place(self):
        """What its peers share."""
        return self.loss, self.size, self.call, self.backend, self.mode


@dataclass
class Results:
    """What `keras_xent.bench.run` found: prints as a table, and has `to_dict()` and `exit_status`.

    Args:
        command: The command that measures the same.
        machine: The machine: processor, cores, memory in GB, system, and the load before it began.
        settings: By backend: versions and the device.
        measurements: A `Measurement` for each contender, loss, size and mode.
        notes: What was left out, and why.
        crashes: Processes that ended without an answer.

    Example:
        >>> times = {"seconds": {"median": 2e-3}, "first_seconds": 0.5, "ratio": {"median": 0.5, "low": 0.4, "high": 0.6}}
        >>> one = keras_xent.bench.Measurement("sparse", "128x10", "function", "jax", "jit", "keras_xent", **times)
        >>> results = keras_xent.bench.Results("keras-xent bench", machine={}, measurements=[one])
        >>> heads, rows = results.table()
        >>> dict(zip(heads, rows[0]))["ratio to Keras"], results.exit_status
        ('0.50 (0.40 to 0.60)', 0)

    Source:
        `keras_xent.bench.run`, which makes them.
    """

    command: str
    machine: dict[str, Any]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)  # by backend: versions, device
    measurements: list[Measurement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)

    @property
    def exit_status(self):
        """1 where this package's own loss or Keras's could not be measured, or a process crashed; else 0."""
        failed = any(one.problem and one.contender.startswith((OURS, BASELINE)) for one in self.measurements)
        return int(bool(failed or self.crashes or not self.measurements))

    def add_memory(self, size, number, **which):
        """The peak of one contender; None where it cannot be told."""
        if number is None:
            return
        copies = number / parse(size).logits
        for one in self.measurements:
            if one.size == size and all(getattr(one, name) == value for name, value in which.items()):
                one.memory, one.memory_copies = number, copies / BYTES[one.dtype]

    def compare_memory(self):
        """The ratios to Keras's, once all peaks are known."""
        peaks = {one.place: one.memory for one in self.measurements if one.contender == BASELINE}
        for one in self.measurements:
            baseline = peaks.get(one.place)
            if one.memory is not None and baseline:
                one.memory_ratio = one.memory / baseline

    def growth(self):
        """How time and memory grow with N and with V: exponents, where there are sizes to tell."""
        return growth(self.measurements)

    def header(self):
        """Lines that say on what was measured."""
        machine = self.machine
        yield (
            f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']:g} GB, {machine['system']}; "
            f"load {machine['load']:.1f} before"
        )
        for backend, setting in self.settings.items():
            versions = ", ".join(f"{name} {version}" for name, version in setting["versions"].items())
            yield f"{BACKENDS[backend]}: {versions}; on {setting['device']}"
        dtypes = dict.fromkeys(one.dtype for one in self.measurements)
        yield f"Loss and gradient of the mean, {', '.join(dtypes) or 'nothing measured'}; medians of rounds (and quartiles)."

    def table(self):
        """Heads and rows."""
        heads = ("loss", "size", "backend", "mode", "by", "ms", "ratio to Keras", "copies", "extra memory", "first call, s")
        return heads, [self.row(one) for one in self.measurements]

    def row(self, one):
        """The cells of one contender."""
        backend = BACKENDS[one.backend] + (", GPU" if one.device == "gpu" else "")
        loss = one.loss if one.call == "function" else f"{one.loss}, object"
        cells = (loss, one.size, backend, one.mode, one.contender)
        if one.problem:
            return *cells, "", one.problem, "", "", ""
        seconds, memory = one.seconds or {"median": float("nan")}, ""
        if one.memory is not None:
            memory = f"{one.memory / 1e6:,.0f} MB, {one.memory_copies:.2f} copies"
        return (
            *cells,
            f"{1e3 * seconds['median']:.3g}",
            spread(one.ratio) if one.contender != BASELINE else "1",
            f"{one.copies['median']:.3g}" if one.copies else "",
            memory,
            f"{one.first_seconds:.2g}",
        )

    def growth_table(self):
        """Heads and rows; no rows where only one size was measured."""
        heads = ("loss", "backend", "mode", "by", "time by N", "time by V", "memory by N", "memory by V")
        rows = [
            (
                one["loss"],
                BACKENDS[one["backend"]],
                one["mode"],
                one["contender"],
                *(power(one[what][of], of) for what in ("time", "memory") for of in "NV"),
            )
            for one in self.growth()
        ]
        return heads, rows

    def to_dict(self) -> dict[str, Any]:
        """All of it."""
        return {
            "command": self.command,
            "exit_status": self.exit_status,
            "machine": self.machine,
            "settings": self.settings,
            "measurements": [dataclasses.asdict(one) for one in self.measurements],
            "growth": self.growth(),
            "notes": self.notes,
            "crashes": self.crashes,
        }

    def to_json(self) -> str:
        """The same, for programs."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """A table, and on what it was measured."""
        growths = markdown_table(*self.growth_table())
        lines = [*self.header(), *self.notes, *self.crashes]
        parts = [markdown_table(*self.table()), growths, "\n".join(f"- {line}" for line in lines)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        from html import escape

        heads, rows = self.table()
        lines = ["".join(f"<th>{escape(head)}</th>" for head in heads)]
        lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
        said = "<br>".join(map(escape, [*self.header(), *self.notes, *self.crashes]))
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table><p>{said}</p>"


def spread(numbers):
    """A median and its quartiles."""
    if numbers is None:
        return "?"
    return f"{numbers['median']:.2f} ({numbers['low']:.2f} to {numbers['high']:.2f})"


def power(exponent, of):
    """In words."""
    return "" if exponent is None else f"{of}^{exponent:.2f}"

"""What a run found, added up: per place, loss and reference."""

import collections
from dataclasses import dataclass, field
from typing import Any

from .processes import BACKENDS


@dataclass
class Row:
    """One loss against one reference in one place."""

    loss: str
    reference: str
    number: int = 0  # of comparisons
    error: float = 0.0  # the worst for its bound, in ε; of known differences none
    bound: float = 0.0
    where: str = ""  # the worst is, and ...
    dtype: str = ""  # ... in which dtype
    known: collections.Counter[str] = field(default_factory=collections.Counter)  # by region
    different: int = 0
    failed: int = 0
    modes: dict[str, None] = field(default_factory=dict)

    def add(self, finding):
        """One more comparison."""
        self.number += 1
        self.modes[finding["mode"]] = None
        if finding["verdict"] == "known":
            self.known[finding["region"]] += 1
            return
        self.different += finding["verdict"] == "different"
        self.failed += finding["verdict"] == "failed"
        for quantity in ("value", "gradient"):
            error = finding[quantity]
            if error and (not self.bound or error["error"] / error["bound"] > self.error / self.bound):
                self.error, self.bound = error["error"], error["bound"]
                self.where, self.dtype = f"{finding['what']}, {quantity}, {finding['mode']}", finding["dtype"]

    @property
    def ok(self):
        """Whether all is within bounds, or known."""
        return not self.different and not self.failed

    @property
    def verdict(self):
        """In words."""
        bad = [f"{self.different} DIFFERENT"] if self.different else []
        bad += [f"{self.failed} FAILED"] if self.failed else []
        return ", ".join(bad) or ("equal" if sum(self.known.values()) < self.number else "known to differ")


@dataclass
class Place:
    """One process: a backend on a device, with a version of Keras."""

    backend: str
    device: str = "cpu"
    keras: str = "installed"
    setting: dict[str, Any] = field(default_factory=dict)
    missing: str | None = None  # why nothing was run
    crash: str | None = None
    usage: str | None = None
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    disagreements: list[dict[str, str]] = field(default_factory=list)
    known_checked: int = 0
    known_changed: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self):
        """For people: what tells it apart."""
        version = "" if self.keras == "installed" else f", Keras {self.setting.get('versions', {}).get('Keras', self.keras)}"
        return f"{BACKENDS[self.backend]}{'' if self.device == 'cpu' else ', GPU'}{version}"

    def add(self, answer):
        """What the process says, whatever it is; returns how many cases it is done with."""
        if "setting" in answer:
            self.setting, self.missing = answer["setting"], answer["missing"]
        elif "finding" in answer:
            finding = answer["finding"]
            key = finding["loss"], finding["reference"]
            self.rows.setdefault(key, Row(*key)).add(finding)
        elif "disagreement" in answer:
            self.disagreements.append(answer["disagreement"])
        elif "known" in answer:
            self.known_checked += 1
            if not answer["known"]["holds"]:
                self.known_changed.append(answer["known"])
        elif "missing" in answer:
            self.missing = answer["missing"]
        elif "usage" in answer:
            self.usage = answer["usage"]
        return answer.get("done", 0)

    @property
    def ok(self):
        """Whether nothing speaks against anything here."""
        return not self.crash and not self.known_changed and all(row.ok for row in self.rows.values())


@dataclass
class Report:
    """Everything that a run found, and how to say it."""

    command: str
    places: list[Place]
    regions: dict[str, str]  # in words
    notes: list[str] = field(default_factory=list)  # such as that there is no GPU

    @property
    def number(self):
        """Of comparisons."""
        return sum(row.number for place in self.places for row in place.rows.values())

    @property
    def exit_status(self):
        """0: all within bounds; 1: a disagreement, or a process that crashed; 2: wrong usage, or nothing was run.

        What is wrong usage in one place alone speaks against that place: the others have their say.
        """
        if any(not place.ok for place in self.places):
            return 1
        if not self.number:
            return 2
        return 1 if any(place.usage for place in self.places) else 0

    def table(self):
        """Heads and rows: loss, place, reference, comparisons, worst error, bound, known differences, verdict."""
        heads = ("loss", "backend", "reference", "comparisons", "worst error, ε", "bound, ε", "known", "verdict")
        rows = [
            (
                row.loss,
                place.name,
                row.reference,
                f"{row.number:,}",
                f"{row.error:.3g} ({row.dtype})" if row.bound else "",
                f"{row.bound:.3g}" if row.bound else "",
                str(sum(row.known.values()) or ""),
                row.verdict,
            )
            for place in self.places
            for row in place.rows.values()
        ]
        return heads, sorted(rows, key=lambda row: (row[0], [place.name for place in self.places].index(row[1])))

    def known(self):
        """Heads and rows: the regions in which Keras was found to differ, and how often in each place."""
        met = collections.defaultdict(collections.Counter)
        for place in self.places:
            for row in place.rows.values():
                for region, number in row.known.items():
                    met[region][place.name] += number
        heads = ("known difference", "inputs", *(place.name for place in self.places if place.rows))
        rows = [
            (region, self.regions.get(region, ""), *(str(met[region][name] or "") for name in heads[2:]))
            for region in sorted(met)
        ]
        return heads, rows

    def settings(self):
        """A line per place: versions, device, precision of matrix products; or why nothing was run."""
        for place in self.places:
            if place.setting and not place.missing:
                versions = ", ".join(f"{name} {version}" for name, version in place.setting["versions"].items())
                yield f"{place.name}: {versions}; on {place.setting['device']}; {place.setting['precision']}"
            elif place.missing:
                yield f"{place.name}: not run: {place.missing}"
        yield from self.notes

    def failures(self):
        """Title and text of everything that speaks against something."""
        for place in self.places:
            if place.crash:
                yield f"{place.name}: crashed", place.crash
            if place.usage:
                yield f"{place.name}: nothing was run", place.usage
            for one in place.disagreements:
                yield f"{place.name}: {one['loss']} against {one['reference']}", f"{one['said']}\n\n{one['snippet']}"
            for one in place.known_changed:
                yield f"{place.name}: a known difference has changed: {one['name']}", one["said"]

    def summary(self):
        """One line."""
        known = sum(sum(row.known.values()) for place in self.places for row in place.rows.values())
        ran = [place.name for place in self.places if place.rows]
        bad = sum(row.different + row.failed for place in self.places for row in place.rows.values())
        changed, crashed = sum(len(place.known_changed) for place in self.places), sum(bool(place.crash) for place in self.places)
        words = [
            f"{self.number:,} comparisons on {listed(ran) or 'nothing'}",
            *([f"{bad:,} outside of their bounds" if bad else "all within bounds"] if ran else []),
        ]
        words += [f"{known:,} of them known differences from Keras"] if known else []
        checked = sum(place.known_checked for place in self.places)
        words += (
            [f"{changed} of {checked} named differences changed" if changed else f"all {checked} named differences as stated"]
            if checked
            else []
        )
        words += [f"{crashed} crashed"] if crashed else []
        return "; ".join(words) + "."


def listed(words):
    """A, b and c."""
    *most, last = words or [""]
    return f"{', '.join(most)} and {last}" if most else last

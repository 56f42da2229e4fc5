"""What there is to show, before it takes a form: sections of entries, each a name, a formula, numbers and notes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One quantity."""

    name: str
    formula: str = ""
    kind: str = ""  # its dtype and shape
    numbers: str = ""  # in as many lines as there are rows
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A headed list of quantities."""

    title: str
    entries: tuple[Entry, ...]
    words: str = ""


@dataclass(frozen=True)
class Document:
    """All of it."""

    title: str
    words: str
    sections: tuple[Section, ...]
    conclusion: str = ""

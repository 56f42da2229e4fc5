"""Findings, and how they are shown."""

import html
from dataclasses import dataclass

from .codes import CODES


@dataclass(frozen=True)
class Finding:
    """One thing that `keras_xent.diagnose` found.

    Each code has one severity: `"error"` (what is computed is not what is meant), `"warning"` (it trains, but probably not as
    meant) or `"note"` (a number that may surprise).

    Args:
        code: What it is, as one of the stable codes that `keras_xent.diagnose` lists.
        severity: `"error"`, `"warning"` or `"note"`.
        evidence: What was seen, with numbers.
        remedy: What to do.

    Returns:
        When printed: all of it, in three lines or so.

    Raises:
        Nothing.

    Differs from Keras:
        Keras has nothing of the kind.

    Example:
        >>> finding = keras_xent.Finding("zero-rows", "warning", "2 of 8 rows of `y_true` are all zero.", "Leave them out.")
        >>> print(finding)
        warning: zero-rows
          2 of 8 rows of `y_true` are all zero.
          Remedy: Leave them out.

    Source:
        The codes: `keras_xent/findings/codes.py`.
    """

    code: str
    severity: str
    evidence: str
    remedy: str

    def __str__(self):
        """All of it."""
        return f"{self.severity}: {self.code}\n  {self.evidence}\n  Remedy: {self.remedy}"


def found(code, evidence, remedy):
    """A finding with the severity of its code."""
    return Finding(code, CODES[code].severity, evidence, remedy)


HEADS = ("code", "severity", "evidence", "remedy")
NONE = "Nothing was found."
# Colours are the surroundings' own, so that it is readable in the dark too; on a telephone long words of the sentences may break,
# but those of code and severity may not.
STYLE = "text-align:left;vertical-align:top;padding:.3em .4em;border-bottom:1px solid #8888"
SENTENCES = f"{STYLE};overflow-wrap:anywhere;min-width:6em"
STYLES = {"code": STYLE, "severity": STYLE, "evidence": SENTENCES, "remedy": SENTENCES}


def cell_of_table(head, words):
    """One cell, below its head."""
    return f'<td style="{STYLES[head]}">{html.escape(words)}</td>'


class Findings(list):
    """A list of `Finding` that prints well: as text, in a notebook, and as a table by `rich.print`.

    Args:
        findings: Any number of them, as for a list.

    Example:
        >>> findings = keras_xent.findings.Findings()
        >>> print(findings)
        Nothing was found.
        >>> findings == [], bool(findings)  # in all else it is a list
        (True, False)

    Source:
        `keras_xent.diagnose`, which returns them.
    """

    def __str__(self):
        """One after the other."""
        return "\n\n".join(str(finding) for finding in self) or NONE

    def _rows(self):
        return [[getattr(finding, head) for head in HEADS] for finding in self]

    def _repr_html_(self):
        if not self:
            return f"<p>{NONE}</p>"
        heads = "".join(f'<th style="{STYLES[head]}">{head}</th>' for head in HEADS)
        rows = "".join("<tr>" + "".join(map(cell_of_table, HEADS, row)) + "</tr>" for row in self._rows())
        return f'<table style="border-collapse:collapse"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'

    def __rich__(self):
        """A table."""
        if not self:
            return NONE
        from rich.table import Table
        from rich.text import Text

        table = Table(*HEADS, show_lines=True)
        for row in self._rows():
            table.add_row(*(Text(cell) for cell in row))  # evidence may hold brackets, which are no markup
        return table

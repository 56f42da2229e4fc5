"""A report on a terminal, as Markdown, as JSON and as JUnit's XML."""

import json
import math
import re
from xml.etree import ElementTree

from .report import Report


def to_terminal(report: Report, console):
    """Tables, failures and a last line, with rich."""
    from rich.syntax import Syntax
    from rich.table import Table

    for title, (heads, rows) in (("", report.table()), ("Known differences from Keras that were met", report.known())):
        if rows:
            table = Table(*heads, title=title or None, title_justify="left")
            for row in rows:
                style = "bold red" if "DIFFERENT" in row[-1] or "FAILED" in row[-1] else None
                table.add_row(*row, style=style)
            console.print(table)
    for title, text in report.failures():
        console.print(f"\n[bold red]{title}[/]", highlight=False)
        said, _, code = text.partition("\n\nimport os")
        console.print(said, markup=False, highlight=False, soft_wrap=True)
        if code:
            console.print(Syntax(f"import os{code}", "python", background_color="default", word_wrap=False))
    console.print()
    for line in report.settings():
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(report.summary(), style="bold" if report.exit_status == 0 else "bold red", highlight=False, soft_wrap=True)


def to_markdown(report: Report) -> str:
    """A summary fit for a page of a CI job."""
    mark = {0: "✅", 1: "❌"}.get(report.exit_status, "⚠️")
    parts = [f"## {mark} `{report.command}`", report.summary()]
    for title, text in report.failures():
        fence = "`" * max(3, 1 + max(map(len, re.findall("`*", text))))  # longer than any in the text
        parts.append(f"### {title}\n\n{fence}\n{text.strip()}\n{fence}")
    parts.append(markdown_table(*report.table()))
    heads, rows = report.known()
    if rows:
        details = markdown_table(heads, rows)
        parts.append(f"<details><summary>Known differences from Keras that were met</summary>\n\n{details}\n\n</details>")
    parts.append("\n".join(f"- {line}" for line in report.settings()))
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(heads, rows):
    """Rows of text as a table."""
    if not rows:
        return ""
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def to_json(report: Report) -> str:
    """All of it, for programs; what is infinite is null."""
    places = [
        {
            "backend": place.backend,
            "device": place.device,
            "setting": place.setting,
            "missing": place.missing,
            "crash": place.crash,
            "wrong_usage": place.usage,
            "losses": [
                {
                    "loss": row.loss,
                    "reference": row.reference,
                    "comparisons": row.number,
                    "modes": list(row.modes),
                    "worst_error": finite(row.error),
                    "bound": row.bound,
                    "worst_case": row.where,
                    "worst_dtype": row.dtype,
                    "known_differences": dict(sorted(row.known.items())),
                    "different": row.different,
                    "failed": row.failed,
                    "ok": row.ok,
                }
                for row in place.rows.values()
            ],
            "disagreements": place.disagreements,
            "named_differences_checked": place.known_checked,
            "named_differences_changed": place.known_changed,
        }
        for place in report.places
    ]
    whole = {
        "command": report.command,
        "exit_status": report.exit_status,
        "summary": report.summary(),
        "notes": report.notes,
        "places": places,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def finite(number):
    """JSON has no infinity."""
    return number if math.isfinite(number) else None


def to_junit(report: Report) -> str:
    """A suite per place, a test per loss and reference, as CI systems read it."""
    suites = ElementTree.Element("testsuites", name="keras-xent parity")
    for place in report.places:
        suite = ElementTree.SubElement(suites, "testsuite", name=place.name)
        texts = {(one["loss"], one["reference"]): one for one in place.disagreements}
        for key, row in place.rows.items():
            test = ElementTree.SubElement(
                suite, "testcase", classname=f"parity.{place.backend}", name=f"{row.loss} = {row.reference}"
            )
            if not row.ok:
                said = texts.get(key, {"said": "", "snippet": ""})
                ElementTree.SubElement(test, "failure", message=row.verdict).text = f"{said['said']}\n\n{said['snippet']}"
        for one in place.known_changed:
            test = ElementTree.SubElement(suite, "testcase", classname=f"parity.{place.backend}", name=f"known: {one['name']}")
            ElementTree.SubElement(test, "failure", message="changed").text = one["said"]
        if place.crash or place.usage or place.missing:
            test = ElementTree.SubElement(suite, "testcase", classname=f"parity.{place.backend}", name="process")
            wrong = place.crash or place.usage
            kind, said = ("error", wrong) if wrong else ("skipped", place.missing)
            ElementTree.SubElement(test, kind, message=str(said).splitlines()[0]).text = said
        for count, kind in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(count, str(len([*suite.iter(kind)])))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"

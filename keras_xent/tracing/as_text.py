"""A document as plain text, as a table for a terminal and as Markdown."""

import textwrap

WIDTH = 100  # of prose


def text(document):
    """Plain text."""
    lines = [document.title, *wrapped(document.words, "")]
    for section in document.sections:
        lines += ["", section.title, "-" * len(section.title), *wrapped(section.words, "")]
        for entry in section.entries:
            head = entry.name if not entry.formula else f"{entry.name}:  {entry.formula}"
            lines += wrapped(head, "")
            lines += [f"    {entry.kind}"] if entry.kind else []
            lines += [f"    {line}" for line in entry.numbers.splitlines()]
            for note in entry.notes:
                lines += wrapped(f"! {note}", "    ")
    return "\n".join([*lines, *(["", document.conclusion] if document.conclusion else [])])


def wrapped(words, indent):
    """A paragraph in lines."""
    if not words:
        return []
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def table(document):
    """Tables of `rich`, which draws them as wide as the terminal is."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts = [Text(document.title, style="bold"), Text(document.words)]
    for section in document.sections:
        title = f"{section.title}. {section.words}" if section.words else section.title
        drawn = Table(title=title, title_justify="left", expand=True)
        drawn.add_column("", ratio=3)
        drawn.add_column("formula, meaning", ratio=5)
        drawn.add_column("numbers", ratio=7)
        for entry in section.entries:
            name = Text(entry.name)
            name.append(f"\n{entry.kind}" if entry.kind else "", style="dim")
            numbers = Text(entry.numbers)
            for note in entry.notes:
                numbers.append(f"\n! {note}" if numbers.plain else f"! {note}", style="yellow")
            drawn.add_row(name, Text(entry.formula), numbers, end_section=True)
        parts += [Text(""), drawn]
    return Group(*parts, Text(document.conclusion, style="bold"))


def markdown(document):
    """Markdown: a table for each section."""
    lines = [f"### {escaped(document.title)}", "", escaped(document.words)]
    for section in document.sections:
        lines += ["", f"#### {escaped(section.title)}", ""]
        lines += [escaped(section.words), ""] if section.words else []
        lines += ["| what | formula, meaning | dtype, shape | numbers | notes |", "| --- | --- | --- | --- | --- |"]
        for entry in section.entries:
            numbers = " ".join(entry.numbers.split())
            cells = (
                escaped(entry.name),
                code(entry.formula),
                escaped(entry.kind),
                code(numbers),
                "<br>".join(map(escaped, entry.notes)),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *(["", f"**{escaped(document.conclusion)}**"] if document.conclusion else [])])


def escaped(words):
    """Text in which nothing is Markdown."""
    for sign in "\\|_*[]<>`":
        words = words.replace(sign, f"\\{sign}")
    return words


def code(words):
    """Text as code in a cell of a table."""
    return f"`{words.replace('|', chr(92) + '|').replace('`', chr(39))}`" if words else ""

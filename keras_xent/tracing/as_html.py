"""A document as HTML that needs nothing else: no script, no font, no network; for wide and narrow pages, light and dark."""

from html import escape

STYLE = """
.keras-xent { --ink: #1b1f24; --soft: #57606a; --page: #ffffff; --band: #f3f5f8; --line: #d5dae1; --mark: #8a4b00; --act: #0b57d0;
  color: var(--ink); background: var(--page); font: 14px/1.5 system-ui, sans-serif; max-width: 72rem; padding: .5rem .75rem;
  overflow-wrap: anywhere; box-sizing: border-box; text-align: left; }
@media (prefers-color-scheme: dark) { .keras-xent { --ink: #e6e9ed; --soft: #a2abb6; --page: #14171b; --band: #1e2329;
  --line: #3a424d; --mark: #ffb868; --act: #8ab4f8; } }
[data-jp-theme-light="true"] .keras-xent { --ink: #1b1f24; --soft: #57606a; --page: #ffffff; --band: #f3f5f8; --line: #d5dae1;
  --mark: #8a4b00; --act: #0b57d0; }
[data-jp-theme-light="false"] .keras-xent, html[theme="dark"] .keras-xent, .vscode-dark .keras-xent { --ink: #e6e9ed;
  --soft: #a2abb6; --page: #14171b; --band: #1e2329; --line: #3a424d; --mark: #ffb868; --act: #8ab4f8; }
.keras-xent h3 { font-size: 1.15em; margin: .2em 0 .4em; color: var(--ink); }
.keras-xent h4 { font-size: 1em; margin: 1.3em 0 .3em; color: var(--act); }
.keras-xent p { margin: .3em 0; }
.keras-xent p.end { margin: 1em 0 .5em; font-weight: 600; }
.keras-xent ol { list-style: none; margin: 0; padding: 0; border: 1px solid var(--line); border-radius: 6px; }
.keras-xent li { display: grid; grid-template-columns: minmax(9rem, 1fr) minmax(0, 2fr) minmax(0, 3fr); gap: .2rem 1rem;
  padding: .5rem .75rem; margin: 0; border-top: 1px solid var(--line); }
.keras-xent li:first-child { border-top: 0; }
.keras-xent li:nth-child(odd) { background: var(--band); }
.keras-xent small { display: block; color: var(--soft); font-size: .85em; }
.keras-xent code, .keras-xent pre { font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; color: var(--ink); background: none;
  margin: 0; padding: 0; border: 0; }
.keras-xent code { white-space: pre-wrap; }
.keras-xent pre { white-space: pre; overflow-x: auto; }
.keras-xent .note { color: var(--mark); font-size: .92em; }
.keras-xent .note::before { content: "\\25B8\\00A0"; }
@media (max-width: 44rem) { .keras-xent li { grid-template-columns: minmax(0, 1fr); } }
"""


def html(document):
    """A part of a page, such as the output of a notebook's cell."""
    parts = [f'<div class="keras-xent"><style>{STYLE}</style>', f"<h3>{escape(document.title)}</h3>", paragraph(document.words)]
    for section in document.sections:
        parts += [f"<h4>{escape(section.title)}</h4>", paragraph(section.words), "<ol>"]
        parts += [item(entry) for entry in section.entries]
        parts.append("</ol>")
    parts.append(f'<p class="end">{escape(document.conclusion)}</p>' if document.conclusion else "")
    return "".join([*parts, "</div>"])


def item(entry):
    """One quantity."""
    kind = f"<small>{escape(entry.kind)}</small>" if entry.kind else ""
    formula = f"<code>{escape(entry.formula)}</code>" if entry.formula else ""
    numbers = f'<pre tabindex="0">{escape(entry.numbers)}</pre>' if entry.numbers else ""
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in entry.notes)
    return f"<li><div><strong>{escape(entry.name)}</strong>{kind}</div><div>{formula}</div><div>{numbers}{notes}</div></li>"


def paragraph(words):
    """A paragraph; nothing of no words."""
    return f"<p>{escape(words)}</p>" if words else ""


def page(document):
    """A whole page."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><meta name="color-scheme" content="light dark"><title>{escape(document.title)}</title>'
        '<link rel="icon" href="data:,"><style>body { margin: 0; } @media (prefers-color-scheme: dark) { body { background: '
        f"#14171b; }} }}</style></head><body>{html(document)}</body></html>\n"
    )

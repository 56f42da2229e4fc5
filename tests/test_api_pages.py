"""The pages of `docs/api.py` hold every public name, with all that its docstring says."""

import html
import importlib
import re

import pytest

import keras_xent

from .examples import ROOT, run_example
from .test_public_surface import DOCUMENTED, SECTIONS

ROOMS = ("bench", "distill", "findings", "fused", "parity", "reference", "tracing")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The text of each page."""
    directory = tmp_path_factory.mktemp("api")
    finished = run_example("", "--output", directory, launcher=[ROOT / "docs" / "api.py"], strict=True)
    assert finished.returncode == 0, finished.stderr
    return {path.stem: path.read_text(encoding="utf-8") for path in directory.rglob("*.html")}


def section(page, name):
    """What a page says of a name."""
    found = re.search(rf'<section id="{name}">(.*?)</section>', page, re.S)
    assert found, f"nothing is said of {name}"
    return html.unescape(re.sub(r"<[^>]+>", "", found[1]))


@pytest.mark.parametrize("room", ["keras_xent", *ROOMS])
def test_every_public_name_has_its_place(pages, room):
    module = keras_xent if room == "keras_xent" else importlib.import_module(f"keras_xent.{room}")
    names = [name for name in module.__all__ if name not in ROOMS]
    assert names
    for name in names:
        assert section(pages[room], name).strip(), name


def test_every_section_of_a_docstring_is_shown(pages):
    for documented in DOCUMENTED:
        shown = [section(page, documented.__name__) for page in pages.values() if f'<section id="{documented.__name__}">' in page]
        assert shown, documented
        for title in ("Arguments:", *SECTIONS[1:]):
            assert title in shown[0], f"{documented.__name__} has no {title}"
        assert ">>> " in shown[0]


def test_examples_are_code(pages):
    """Not quotations, which `>>>` is in Markdown."""
    assert "<blockquote>\n<blockquote>" not in "".join(pages.values())

"""The pages of `docs/api.py` hold every public name, with all that its docstring says."""

import html
import importlib
import re

import pytest

import keras_xent

from .examples import ROOT, run_example
from .test_public_surface import DOCUMENTED, HANDED_OUT, OF_HANDED_OUT, ROOMS, SECTIONS


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


def module_of(room):
    return keras_xent if room == "keras_xent" else importlib.import_module(f"keras_xent.{room}")


@pytest.mark.parametrize("room", ["keras_xent", *ROOMS])
def test_every_public_name_has_its_place(pages, room):
    names = [name for name in module_of(room).__all__ if name not in ROOMS]
    assert names
    for name in names:
        assert section(pages[room], name).strip(), name


@pytest.mark.parametrize("room", ["keras_xent", *ROOMS, "domain"])
def test_every_section_of_a_docstring_is_shown(pages, room):
    there = vars(module_of(room)).values()
    known = {each: SECTIONS for each in DOCUMENTED} | {each: OF_HANDED_OUT for each in HANDED_OUT}
    documented = [each for each in known if any(each is one for one in there)]
    assert documented
    for each in documented:
        shown = section(pages[room], each.__name__)
        for title in known[each]:
            title = "Arguments:" if title == "Args:" else title
            assert title in shown or (title == "Arguments:" and "Args:" not in each.__doc__), f"{each.__name__} has no {title}"
        assert ">>> " in shown


def test_examples_are_code(pages):
    """Not quotations, which `>>>` is in Markdown."""
    assert "<blockquote>\n<blockquote>" not in "".join(pages.values())

"""The pictures in README.md are those that the gallery draws."""

import re

import matplotlib.image
import pytest

from .examples import ROOT, names_in, run_example

KEPT = ROOT / "docs" / "images"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """What the script says, and where it drew."""
    directory = tmp_path_factory.mktemp("gallery") / "made"
    finished = run_example("gallery.py", "--output", directory, strict=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, directory


def test_every_picture_is_drawn(drawn):
    printed, directory = drawn
    names = {f"{name}.png" for name in names_in("gallery.py")["PICTURES"]}
    assert {path.name for path in directory.iterdir()} == names
    assert all(str(directory / name) in printed for name in names)
    for path in directory.iterdir():
        pixels = matplotlib.image.imread(path)[..., :3]
        assert min(pixels.shape[:2]) > 200
        assert 0.01 < (pixels.min(axis=-1) < 0.9).mean() < 0.5  # neither empty nor black
        assert (pixels[0] > 0.9).all() and (pixels[:, 0] > 0.9).mean() > 0.9  # white all the way, on dark pages too


def test_the_readme_shows_what_is_drawn(drawn):
    names = {path.name for path in drawn[1].iterdir()}
    shown = re.findall(r"!\[([^]]+)\]\(docs/images/([^)]+)\)", (ROOT / "README.md").read_text())
    assert {name for _, name in shown} == names and all(words for words, _ in shown)
    assert {path.name for path in KEPT.iterdir()} == names
    for path in KEPT.iterdir():
        assert 2_000 < path.stat().st_size <= 60_000
        shapes = [matplotlib.image.imread(each).shape for each in (path, drawn[1] / path.name)]
        assert shapes[0] == shapes[1]


def test_help_and_a_wrong_argument():
    assert "--output DIR" in run_example("gallery.py", "--help").stdout
    finished = run_example("gallery.py", "--colour", "red")
    assert finished.returncode == 2 and "unrecognized arguments: --colour red" in finished.stderr

"""A trace as text, table, Markdown, HTML, JSON and pictures."""

import html.parser
import io
import json
import pathlib
import re

import numpy as np
import pytest

import keras_xent
from keras_xent.tracing.numbers import Summary, written
from keras_xent.tracing.temperatures import Temperatures

VOID = {"meta", "link", "br"}


@pytest.fixture(scope="module")
def trace():
    """With weights, a clip, a known difference, and what markup has to escape."""
    return keras_xent.explain("categorical_crossentropy", [[0, 1], [1, 0]], [[0.05, 0.95], [1e-9, 1.0]], [1.0, 0.5])


def test_text(trace):
    text = str(trace)
    for words in (
        "y_pred",
        "q_k = min(max(p_k, ε), 1 - ε)",
        "! clipped up to ε = 1e-07: 1 of 4, at [1, 0]",
        "16.118",
        "gradient",
    ):
        assert words in text
    assert text.splitlines()[-1] == "loss = 8.11034 / 2 = 4.05517"
    assert max(map(len, text.splitlines())) <= 120
    assert repr(trace) == "<Trace of keras.losses.CategoricalCrossentropy(): 9 steps to 4.05517>"


def test_the_readme_shows_what_is_printed():
    """Line by line."""
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text().partition("## How is it computed?")[2]
    shown = readme.partition("```text\n")[2].partition("```")[0].splitlines()
    printed = str(keras_xent.explain("categorical_crossentropy", [[0, 1], [1, 0]], [[0.05, 0.95], [1e-9, 1.0]])).splitlines()
    assert len(shown) > 20 and set(shown) <= set(printed), set(shown) - set(printed)


def test_table(trace):
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=140).print(trace)
    assert "q_k = min(max(p_k, ε), 1 - ε)" in out.getvalue() and "loss = 8.11034 / 2 = 4.05517" in out.getvalue()


def test_markdown(trace):
    lines = trace.to_markdown().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
    assert any("2. clip → clipped" in row and "`q_k = min(max(p_k, ε), 1 - ε)`" in row for row in rows)
    assert lines[-1] == "**loss = 8.11034 / 2 = 4.05517**"
    z = keras_xent.explain(keras_xent.BinaryCrossentropy(), [[1.0]], [[0.5]])
    assert r"\_" in z.to_markdown()


class Page(html.parser.HTMLParser):
    """Well-formed, and with nothing from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.tags = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert name not in ("src", "srcset", "action", "onclick"), (tag, name)
            assert name != "href" or value == "data:,"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["style"]:
            assert "url(" not in data and "@import" not in data
        else:
            self.words.append(data)


def test_html(trace):
    for text in (trace._repr_html_(), trace.to_html()):
        page = Page(text)
        assert "script" not in page.tags and "http" not in text.replace("https://github.com", "")
        said = " ".join(page.words)
        for words in ("renormalize", "q_k = p_k / Σ_j p_j", "[[0.05  0.95]", "loss = 8.11034 / 2 = 4.05517"):
            assert words in said
        assert "prefers-color-scheme: dark" in text and "max-width" in text
    assert 'name="viewport"' in trace.to_html()


def test_html_escapes():
    loss = keras_xent.BinaryCrossentropy(name="<b>&", dtype="float64")
    shown = keras_xent.explain(loss, [[1.0]], [[0.5]]).document()
    from keras_xent.tracing.as_html import html as as_html
    from keras_xent.tracing.document import Document

    text = as_html(Document("<script>alert(1)</script>", "a & b", shown.sections))
    assert "<script" not in text and "&lt;script&gt;" in text and "a &amp; b" in text
    Page(text)


def test_json(trace):
    told = json.loads(json.dumps(trace.to_dict(), allow_nan=False))
    assert told["value"] == pytest.approx(trace.value) and told["steps"][1]["name"] == "clip"
    assert told["gradient"]["value"] == trace.gradient.tolist() and told["keras"]["differs"] == ["gradient"]
    infinite = keras_xent.explain(keras_xent.CategoricalCrossentropy(from_logits=True), [[1, 0]], [[-np.inf, 0.0]])
    told = json.loads(json.dumps(infinite.to_dict(), allow_nan=False))
    assert told["value"] == "inf" and told["steps"][-1]["value"] == "inf"


def test_pictures(trace, rng, tmp_path):
    z = rng.normal(size=(4, 20))
    probs = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    top_k = keras_xent.distill.top_k_targets(z, 3, temperature=2.0)
    traces = [
        trace,
        keras_xent.explain(keras_xent.SparseCategoricalFocalCrossentropy(label_smoothing=0.1), [1, 2, 3, 4], probs),
        keras_xent.explain(keras_xent.BinaryFocalCrossentropy(from_logits=True, axis=()), probs > 0.1, z),
        keras_xent.explain(keras_xent.BinaryCrossentropy(axis=0), probs > 0.1, probs),
        keras_xent.explain(keras_xent.KLDivergence(), probs[::-1].copy(), probs),
        keras_xent.explain(keras_xent.CategoricalGeneralizedCrossEntropy(from_logits=True), [1, 2, 3, 4], z),
        keras_xent.explain(keras_xent.CategoricalCrossentropy(axis=1), np.eye(20)[:2].T[None], probs[:2].T[None]),
        keras_xent.explain(keras_xent.DistillationLoss(2.0, targets="top_k", divergence="jsd"), top_k, z[::-1].copy()),
        keras_xent.explain(keras_xent.DistillationLoss(targets="probs", from_logits=False), probs, probs[::-1].copy()),
    ]
    for number, one in enumerate(traces):
        path = tmp_path / f"{number}.png"
        figure = one.plot(path)
        assert path.read_bytes().startswith(b"\x89PNG")
        titles = [part._suptitle.get_text() for part in figure.subfigs]
        assert len(titles) == 3
        told = " ".join(titles)
        assert ("at T = " in told) == ("Distillation" in one.loss) and ("The loss by the probability" in told) != ("T = " in told)


def test_what_pictures_draw(trace):
    """The bars are the numbers, the shares add up to the losses, and the clip stands where it binds."""
    figure = trace.plot()
    bars, shares, curve = (part.axes for part in figure.subfigs)
    assert [bar.get_height() for bar in bars[1].containers[1]] == pytest.approx([1e-9, 1.0])
    sums = [sum(bar.get_height() for bar in axes.containers[0]) for axes in shares]
    assert sums == pytest.approx(trace.losses.tolist(), rel=1e-5)
    assert curve[0].lines[1].get_xdata()[0] == pytest.approx(1e-7)
    assert any("clip: ε = 1e-07, loss 16.118" in text.get_text() for text in curve[0].texts)
    from_logits = keras_xent.explain(keras_xent.CategoricalCrossentropy(from_logits=True), [[1, 0]], [[1.0, 2.0]]).plot()
    assert "nothing is clipped" in from_logits.subfigs[2].axes[0].get_xlabel()


def test_pictures_of_many_classes(rng):
    """They take the memory of a few rows, not the square of one: 8 GB here."""
    loss = keras_xent.SparseCategoricalFocalCrossentropy(from_logits=True, label_smoothing=0.1)
    trace = keras_xent.explain(loss, [31_999, 2], rng.normal(size=(2, 32_000)))
    shares = trace.plot().subfigs[1].axes
    assert [axes.get_title() for axes in shares] == [f"example {i}: {loss:.5g}" for i, loss in enumerate(trace.losses)]
    top = max(bar.get_height() for bar in shares[0].containers[0])
    assert 0.9 * trace.losses[0] * 0.89 < top < trace.losses[0]


def test_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="the batch is empty"):
        keras_xent.explain("categorical_crossentropy", np.zeros((0, 3)), np.zeros((0, 3))).plot()


@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "jsd", "crossentropy"])
def test_shares_of_distillation_add_up(rng, divergence):
    loss = keras_xent.DistillationLoss(3.0, targets="logits", divergence=divergence)
    trace = keras_xent.explain(loss, rng.normal(size=(2, 5)), rng.normal(size=(2, 5)))
    shares = trace.plot().subfigs[1].axes
    sums = [sum(bar.get_height() for bar in axes.containers[0]) for axes in shares]
    assert sums == pytest.approx(trace.losses.tolist(), rel=1e-4)


def test_pictures_bring_their_paper(trace, tmp_path):
    """In a dark notebook, and under a dark or transparent style, they are the same: dark on white."""
    formatters = pytest.importorskip("IPython.core.formatters")
    style = pytest.importorskip("matplotlib.style")
    shown, _ = formatters.DisplayFormatter().format(trace.plot(tmp_path / "light.png"))
    with style.context(["dark_background", {"savefig.transparent": True, "figure.facecolor": "none"}]):
        dark, _ = formatters.DisplayFormatter().format(Temperatures([1.0]).plot())
        in_the_dark = trace.plot(tmp_path / "dark.png")._repr_png_()
    assert shown["image/png"] == in_the_dark
    assert (tmp_path / "dark.png").read_bytes() == (tmp_path / "light.png").read_bytes()
    for picture in (in_the_dark, dark["image/png"]):
        pixels = pytest.importorskip("matplotlib.image").imread(io.BytesIO(picture))
        assert (pixels[0, 0] == 1.0).all()  # white, and not transparent
        assert (pixels[..., :3].sum(-1) < 0.2).any()  # and there is dark writing


def test_pictures_need_matplotlib(trace, monkeypatch):
    modules = __import__("sys").modules
    monkeypatch.setitem(modules, "matplotlib.figure", None)
    monkeypatch.delitem(modules, "keras_xent.tracing.figures", raising=False)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        trace.plot()


def test_numbers_in_rows():
    assert written(np.array([[1.0, 0.25], [-0.0, np.nan]])) == "[[1 0.25]\n [0 nan]]"
    assert written(np.array([True, False])) == "[1 0]"
    assert written(np.float32(0.1)) == "0.1" and written(3) == "3"
    assert "..." in written(np.zeros((100, 100)))
    summary = Summary.of(np.array([0.0, 2.0, np.inf]))
    assert str(summary) == "3 numbers: 0 to 2, mean 1; 1 of them 0; 1 not finite; first 0 2 inf, …"


def test_temperatures():
    shown = Temperatures([1.0, 4.0])
    one, four = shown.softenings
    np.testing.assert_allclose(one.teacher.sum(), 1.0)
    assert four.entropy > one.entropy and four.teacher.max() < one.teacher.max()
    loss = keras_xent.DistillationLoss(4.0, targets="logits")
    assert float(loss(shown.teacher, shown.student)) == pytest.approx(16 * four.divergence[0], rel=1e-4)
    assert "T = 4" in str(shown) and "softmax(z / 4)" in shown.to_markdown()
    Page(shown.to_html())
    json.dumps(shown.to_dict(), allow_nan=False)
    parts = shown.plot().subfigs
    assert len(parts) == 2 and parts[0].axes[0].get_ylim() == parts[1].axes[0].get_ylim()
    alone = Temperatures([2.0], [3.0, 1.0, 0.0])
    assert "student is taken to know nothing" in str(alone)
    with pytest.raises(ValueError, match="same shape"):
        Temperatures([1.0], [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="above 0"):
        Temperatures([0.0])

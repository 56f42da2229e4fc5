"""What a run found, added up and written in each form."""

import io
import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from keras_xent.parity import formats
from keras_xent.parity.report import Place, Report
from keras_xent.parity.text import printable

SETTING = {"backend": "jax", "versions": {"Keras": "3.15.1", "JAX": "0.10.2"}, "device": "CPU", "precision": "default"}
SAID = {
    "loss": "KLDivergence",
    "reference": "Keras",
    "said": "one | is not the other",
    "snippet": "import os\nassert_parity(...)",
}


def finding(verdict="equal", error=3.0, reference="definition", **changes):
    """As a process reports it."""
    errors = None if verdict == "failed" else {"error": error, "bound": 80.0}
    return {
        "finding": {
            "value": errors,
            "gradient": errors and {"error": 1.0, "bound": 80.0},
            "loss": "KLDivergence",
            "reference": reference,
            "mode": "eager",
            "what": "ordinary: logits",
            "dtype": "float32",
            "verdict": verdict,
            "region": None,
            "message": "",
            **changes,
        }
    }


def report(*answers, **place):
    """What comes of the answers of one process."""
    where = Place("jax", **place)
    done = [where.add(answer) for answer in ({"setting": SETTING, "missing": None}, *answers)]
    assert sum(done) == sum(answer.get("done", 0) for answer in answers)
    return Report("keras-xent parity", [where], {"half precision": "float16 and bfloat16"}, ["no GPU"])


EQUAL = finding(), finding(error=5.0), {"done": 1}
KNOWN = finding("known", 1e6, "Keras", region="half precision"), finding("equal", 7.0, "Keras")
DIFFERENT = finding("different", 1e3, "Keras"), {"disagreement": SAID}
CHANGED = {"known": {"holds": False, "name": "sparse: label -1", "said": "stated [0.0], now an error"}}


def test_rows():
    heads, rows = report(*EQUAL, *KNOWN).table()
    assert len({len(heads), *map(len, rows)}) == 1
    assert rows[0] == ("KLDivergence", "JAX", "definition", "2", "5 (float32)", "80", "", "equal")
    assert rows[1] == ("KLDivergence", "JAX", "Keras", "2", "7 (float32)", "80", "1", "equal")
    assert report(*EQUAL, *KNOWN).known()[1] == [("half precision", "float16 and bfloat16", "1")]
    assert report(KNOWN[0]).table()[1][0][-1] == "known to differ"


@pytest.mark.parametrize(
    ("answers", "status", "verdict"),
    [
        (EQUAL, 0, "equal"),
        ((*EQUAL, *KNOWN), 0, "equal"),
        (DIFFERENT, 1, "1 DIFFERENT"),
        ((finding("failed"), finding("different", 1e3)), 1, "1 DIFFERENT, 1 FAILED"),
        ((*EQUAL, CHANGED), 1, "equal"),
        ((), 2, None),
        (({"usage": "no such module"},), 2, None),
    ],
)
def test_exit_status(answers, status, verdict):
    made = report(*answers)
    assert made.exit_status == status
    rows = made.table()[1]
    assert (rows[0][-1] if rows else None) == verdict
    assert json.loads(formats.to_json(made))["exit_status"] == status


def test_a_crash_counts_and_the_others_are_shown():
    made = report(*EQUAL)
    made.places.append(Place("torch", crash="the process of PyTorch crashed (killed by SIGKILL)\nlast line"))
    assert made.exit_status == 1
    for form in (formats.to_markdown, formats.to_json, formats.to_junit, printed):
        text = form(made)
        assert "SIGKILL" in text and "KLDivergence" in text
    assert made.summary() == "2 comparisons on JAX; all within bounds; 1 crashed."


def test_what_was_not_run_is_said():
    made = Report("keras-xent parity", [Place("torch", "gpu", missing="PyTorch sees no GPU here")], {}, [])
    assert made.exit_status == 2
    assert [*made.settings()] == ["PyTorch, GPU: not run: PyTorch sees no GPU here"]
    assert ElementTree.fromstring(formats.to_junit(made)).find(".//skipped") is not None


def test_the_worst_error_is_the_one_nearest_to_its_bound():
    far = finding(error=70.0)
    far["finding"]["value"]["bound"] = 1000.0
    row = report(far, finding(error=9.0, what="the worst")).places[0].rows["KLDivergence", "definition"]
    assert (row.error, row.bound) == (9.0, 80.0) and row.where == "the worst, value, eager"


def printed(made):
    console = Console(file=io.StringIO(), width=160)
    formats.to_terminal(made, console)
    return console.file.getvalue()


def test_on_a_terminal():
    text = printed(report(*EQUAL, *DIFFERENT, *KNOWN, CHANGED))
    for phrase in (
        "one | is not the other",
        "assert_parity(...)",
        "1 DIFFERENT",
        "half precision",
        "a known difference has changed: sparse: label -1",
        "Keras 3.15.1, JAX 0.10.2; on CPU; default",
        "no GPU",
        "5 comparisons on JAX; 1 outside of their bounds; 1 of them known differences from Keras; "
        "1 of 1 named differences changed.",
    ):
        assert phrase in text, phrase


def test_markdown():
    text = formats.to_markdown(report(*EQUAL, *DIFFERENT, *KNOWN))
    assert text.startswith("## ❌ `keras-xent parity`\n\n5 comparisons on JAX; 1 outside of their bounds")
    assert "### JAX: KLDivergence against Keras\n\n```\none | is not the other" in text
    table = [line for line in text.splitlines() if line.startswith("| KLDivergence")]
    assert len(table) == 2 and {line.count(" | ") for line in table} == {7}
    assert formats.to_markdown(report(*EQUAL)).startswith("## ✅ ")
    assert "&#124;" in formats.markdown_table(("a",), [("b|c",)])


def test_json_is_json():
    """Also of errors that are infinite."""
    made = json.loads(formats.to_json(report(finding("different", float("inf")))), parse_constant=pytest.fail)
    (place,) = made["places"]
    assert place["setting"] == SETTING
    assert place["losses"][0]["worst_error"] is None and place["losses"][0]["different"] == 1 and not place["losses"][0]["ok"]


def test_junit():
    suites = ElementTree.fromstring(formats.to_junit(report(*EQUAL, *DIFFERENT, *KNOWN, CHANGED)))
    (suite,) = suites
    assert suite.attrib == {"name": "JAX", "tests": "3", "failures": "2", "errors": "0", "skipped": "0"}
    equal, different, changed = suite
    assert equal.get("name") == "KLDivergence = definition" and not len(equal)
    assert different.find("failure").get("message") == "1 DIFFERENT" and "assert_parity" in different.find("failure").text
    assert changed.get("name") == "known: sparse: label -1"


def test_what_others_wrote_breaks_no_form():
    """Colours of a terminal, characters that XML has not, and fences of Markdown."""
    said = {**SAID, "said": printable("\x1b[1mbad\x1b[0m \x00 ```"), "snippet": "```"}
    found = report(finding("failed", reference="Keras"), {"disagreement": said})
    assert "bad \N{REPLACEMENT CHARACTER}" in ElementTree.fromstring(formats.to_junit(found)).find(".//failure").text
    assert "\n````\nbad" in formats.to_markdown(found)


def test_wrong_usage_in_one_place_speaks_against_it():
    wrong = Place("torch", usage="there is no such module")
    both = report(*EQUAL)
    both.places.append(wrong)
    assert both.exit_status == 1 and Report("", [wrong], {}).exit_status == 2
    assert ("PyTorch: nothing was run", wrong.usage) in both.failures()
    assert json.loads(formats.to_json(both))["places"][1]["wrong_usage"] == wrong.usage
    assert "there is no such module" in formats.to_junit(both)

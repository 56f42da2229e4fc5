"""`keras-xent bench`: usage, output, exit status."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import keras_xent
from keras_xent import bench, cli
from keras_xent.bench import command, plan
from keras_xent.bench.plot import plot
from keras_xent.bench.results import Measurement, Results
from keras_xent.bench.subjects import SUBJECTS
from keras_xent.parity.implementations import UsageError
from keras_xent.parity.processes import BACKENDS

from ..backends import BACKEND

OTHER = "torch" if BACKEND == "tensorflow" else "tensorflow"
README = Path(__file__).parents[2] / "README.md"
MODE = plan.USUAL[BACKEND][0]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(arguments, capsys):
    """What is said, in one line, of arguments that are wrong."""
    with pytest.raises(SystemExit) as raised:
        command.main(arguments)
    assert raised.value.code == 2
    out, said = capsys.readouterr()
    assert not out.strip() and said.count("\n") == 1 and said.startswith("keras-xent bench: ")
    return said


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        ("--loss hinge", "there is no loss hinge: choose from sparse, dense, binary"),
        ("--backend numpy", "there is no backend numpy: choose from tensorflow, jax, torch"),
        ("--mode fast", "there is no mode fast: choose from graph, xla, eager, jit, compile"),
        ("--dtype float8", "there is no dtype float8: choose from float32, bfloat16, float16"),
        ("--device tpu", "there is no device tpu: choose from cpu, gpu"),
        ("--size 2048", "size 2048: expected NxV, or NxHxV for linear losses, such as 2048x32000"),
        ("--size 8x1", "size 8x1: expected two classes or more"),
        ("--loss linear --size 8x9", "no size for the loss linear: it needs one of the form NxHxV"),
        ("--loss sparse --size 8x4x9", "no size for the loss sparse: it needs one of the form NxV"),
        ("--repeats 0", "--repeats 0: expected a number from 1"),
        ("--repeats x", "--repeats x: expected a number from 1"),
        ("--json nowhere/bench.json", "nowhere/bench.json cannot be written: No such file or directory"),
        ("--plot nowhere/bench.png", "nowhere/bench.png cannot be written: No such file or directory"),
        ("--plot bench", "--plot bench: expected a name that ends in .png, .pdf or .svg"),
        ("--nonsense", "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_usage(arguments, phrase, capsys, here):
    assert phrase in refused(arguments.split(), capsys)


def test_a_mode_of_another_backend(capsys, here):
    mode = {"torch": "jit", "jax": "xla", "tensorflow": "jit"}[BACKEND]
    said = refused(["--mode", mode, "--backend", BACKEND], capsys)
    assert f"there is no such mode on {BACKENDS[BACKEND]} (modes: {BACKENDS[BACKEND]}: {MODE}" in said


def test_a_backend_without_the_mode_is_named(monkeypatch):
    monkeypatch.setattr(plan, "installed", lambda backend: True)
    own = {"torch": "compile", "jax": "jit", "tensorflow": "graph"}[BACKEND]
    planned = plan.planned(["sparse"], backends=[BACKEND, OTHER], modes=[own])
    assert planned.modes == {BACKEND: (own,)}
    (said,) = [said for said in planned.absent() if "no such mode" in said]
    assert said == f"{BACKENDS[OTHER]}: not run: it has no such mode (modes: {', '.join(plan.MODES[OTHER])})"


def test_what_is_not_installed(monkeypatch, capsys, here):
    monkeypatch.setattr(command, "installed", lambda module: module != "matplotlib")
    assert "matplotlib, which --plot needs, is not installed: pip install 'keras_xent[bench]'" in refused(
        ["--plot", "a.png"], capsys
    )
    monkeypatch.setattr(command, "installed", lambda module: module != "rich")
    assert "rich is not installed: pip install 'keras_xent[cli]'" in refused([], capsys)
    monkeypatch.undo()
    monkeypatch.setattr(plan, "installed", lambda module: module == BACKEND)
    assert f"{BACKENDS[OTHER]} is not installed: pip install 'keras_xent[{OTHER}]'" in refused(["--backend", OTHER], capsys)
    notes = [*plan.planned(quick=True).absent()]
    assert f"{BACKENDS[OTHER]}: not run: pip install 'keras_xent[{OTHER}]'" in notes


def test_a_gpu_that_is_not_there(monkeypatch, capsys, here):
    monkeypatch.setattr(plan, "gpu_possible", lambda: False)
    assert "nothing to run: there is no GPU here" in refused(["--device", "gpu"], capsys)


def test_from_python_usage_is_a_value_error():
    with pytest.raises(ValueError, match="there is no loss hinge"):
        bench.run("hinge")
    with pytest.raises(UsageError, match="repeats=0: expected a number from 1"):
        bench.run(repeats=0)


def test_plans():
    """Of everything; of a minute; of growth."""
    whole = plan.planned(backends=[BACKEND])
    groups = whole.groups(BACKEND)
    assert {group["loss"] for group in groups} == set(SUBJECTS)
    assert {group["mode"] for group in groups} == set(plan.USUAL[BACKEND])
    assert {(group["size"], group["call"]) for group in groups if group["loss"] == "sparse"} == {
        ("2048x32000", "function"),
        ("128x10", "object"),
    }
    assert {peak["loss"] for peak in whole.peaks(BACKEND)} == set(SUBJECTS)
    assert plan.planned(backends=[BACKEND], memory=False).peaks(BACKEND) == []
    quick = plan.planned(backends=[BACKEND], quick=True)
    assert quick.losses == plan.QUICK and quick.modes == {BACKEND: (MODE,)}
    assert {(peak["loss"], peak["contender"]) for peak in quick.peaks(BACKEND)} == {("sparse", "keras_xent"), ("sparse", "Keras")}
    assert any("--quick" in note for note in quick.absent())
    growing = plan.planned("sparse", [BACKEND], ["64x3200"], growth=True)
    assert [*map(str, growing.sizes["sparse"])] == ["64x200", "64x800", "4x3200", "16x3200", "64x3200"]
    both = plan.planned(backends=[BACKEND], growth=True, quick=True).sizes
    assert len(both["sparse"]) == 6 and len(both["dense"]) == 2
    both = plan.planned(sizes=["64x3200"], backends=[BACKEND])
    assert "linear" not in both.losses and "sparse" in both.losses  # which has no such size
    compiled = command.parse(["--backend", "torch", "--compile"])[2] if BACKEND == "torch" else None
    assert compiled is None or compiled.modes == {"torch": ("eager", "compile")}


def test_the_whole_of_it(capsys, here):
    """A user's view: one backend, one mode, two sizes, in processes of their own."""
    arguments = ["--backend", BACKEND, "--loss", "sparse", "--quick", "--size", "300x400", "--size", "300x800", "--repeats", "2"]
    arguments += ["--json", "b.json", "--markdown", "b.md", "--plot", "b.png"]
    assert command.main(arguments) == 0
    out, said = capsys.readouterr()
    assert f"{BACKENDS[BACKEND]}: done after" in said
    for phrase in ("ratio to Keras", "copies", "extra memory", f"Keras {keras.__version__}", "300x400", "cores", MODE, "Growth"):
        assert phrase in out
    report = json.loads((here / "b.json").read_text())
    assert report["command"].startswith("keras-xent bench --backend") and report["machine"]["processor"]
    assert report["settings"][BACKEND]["versions"]["keras_xent"] == keras_xent.__version__
    found = {(one["contender"], one["size"]): one for one in report["measurements"]}
    assert {"keras_xent", "Keras"} <= {name for name, _ in found} and {size for _, size in found} == {"300x400", "300x800"}
    for (name, _), one in found.items():
        assert one["rounds"] == 2 and not one["problem"] and one["value_error"] < 1e-4 and one["gradient_error"] < 1e-3
        assert one["first_seconds"] > 0 and one["copies"]["median"] > 0 and one["ratio"]["median"] > 0
        assert sys.platform != "linux" or (one["memory"] is None) == (name not in ("keras_xent", "Keras"))
        assert one["memory"] is None or one["memory"] > 300 * 400 * 4 / 2  # the gradient's at least
    assert found["Keras", "300x400"]["ratio"]["median"] == 1.0
    (growth,) = (one for one in report["growth"] if one["contender"] == "keras_xent")
    assert growth["time"]["V"] is not None and growth["time"]["N"] is None
    assert (here / "b.md").read_text().startswith("| loss | size |")
    assert (here / "b.png").read_bytes().startswith(b"\x89PNG")


def results(**changes):
    """As a run returns them."""
    times = {"seconds": {"median": 0.02, "low": 0.01, "high": 0.03}, "copies": {"median": 2.5, "low": 2.0, "high": 3.0}}
    one = {"loss": "sparse", "size": "2048x32000", "call": "function", "backend": "jax", "mode": "jit", "first_seconds": 0.5}
    keras_one = Measurement(contender="Keras", **one, **times, ratio={"median": 1.0, "low": 1.0, "high": 1.0})
    our_one = Measurement(contender="keras_xent", **one, **times | changes, ratio={"median": 0.5, "low": 0.4, "high": 0.6})
    machine = {"processor": "a <processor>", "cores": 2, "memory_gb": 23, "system": "Linux", "load": 0.1}
    settings = {"jax": {"versions": {"Keras": "3.15.1"}, "device": "CPU"}}
    found = Results("keras-xent bench", machine, settings, [our_one, keras_one], ["a note"])
    which = {"loss": "sparse", "call": "function", "backend": "jax", "mode": "jit"}
    found.add_memory("2048x32000", 262_144_000, contender="keras_xent", **which)
    found.add_memory("2048x32000", 524_288_000, contender="Keras", **which)
    found.compare_memory()
    return found


def test_results():
    found = results()
    heads, (ours, theirs) = found.table()
    row = dict(zip(heads, ours, strict=True))
    assert row["ratio to Keras"] == "0.50 (0.40 to 0.60)" and row["ms"] == "20" and row["copies"] == "2.5"
    assert row["extra memory"] == "262 MB, 1.00 copies" and row["first call, s"] == "0.5"
    assert dict(zip(heads, theirs, strict=True))["ratio to Keras"] == "1"
    assert found.measurements[0].memory_ratio == 0.5 and found.measurements[1].memory_ratio == 1.0
    assert "a <processor>, 2 cores, 23 GB, Linux; load 0.1 before" in found.to_markdown() and "- a note" in found.to_markdown()
    assert "<td>0.50 (0.40 to 0.60)</td>" in found._repr_html_() and "a &lt;processor&gt;" in found._repr_html_()
    assert json.loads(found.to_json()) == json.loads(json.dumps(found.to_dict()))
    assert found.exit_status == 0


def test_what_failed_is_shown(capsys):
    from rich.console import Console

    found = results(problem="computes something else: value off by 1.0%, gradient by 1.0%")
    assert found.exit_status == 1 and "computes something else" in found.to_markdown()
    command.show(found, Console(width=200))
    assert "computes something else" in capsys.readouterr().out
    found.measurements[0].contender = "a peer"  # whose failure is told, and is no failure of ours
    assert found.exit_status == 0
    found.crashes.append("the process of JAX crashed (killed by SIGKILL)")
    assert found.exit_status == 1
    assert Results("", {}).exit_status == 1


def test_a_process_that_crashes(monkeypatch, capsys, here):
    """It is told, and what the others found is shown."""
    monkeypatch.setattr("keras_xent.bench.processes.Child.environment", lambda self: {"KERAS_BACKEND": "nonsense"})
    assert command.main(["--backend", BACKEND, "--loss", "sparse", "--size", "8x5", "--json", "b.json"]) == 1
    assert f"the process of {BACKENDS[BACKEND]} crashed (exit code 1)" in capsys.readouterr().out
    assert "crashed" in json.loads((here / "b.json").read_text())["crashes"][0]


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_plots(tmp_path, name):
    found = results()
    found.measurements += [Measurement("dense", "8x5", "object", "torch", "eager", "Keras", seconds={"median": 1e-5})]
    plot(found, tmp_path / name)
    written = (tmp_path / name).read_bytes()
    assert len(written) > 1000 and (b"<svg" in written or written.startswith(b"\x89PNG"))


def test_the_front_door(capsys):
    assert cli.main(["--help"]) == 0 and "bench" in capsys.readouterr().out
    with pytest.raises(SystemExit) as raised:
        cli.main(["bench", "--help"])
    assert raised.value.code == 0
    out = capsys.readouterr().out
    for phrase in ("examples:", "exit status:", "--quick", "under a minute", "VmHWM", "sparse-focal", "--size NxV"):
        assert phrase in out
    assert all(subject.words in out for subject in SUBJECTS.values())


def test_what_the_readme_and_the_help_say_is_understood(monkeypatch, here):
    """Each line is a plan, on a machine that has it all."""
    monkeypatch.setattr(plan, "gpu_possible", lambda: True)
    monkeypatch.setattr(plan, "installed", lambda module: True)
    lines = [line for text in (README.read_text(), command.EPILOG) for line in re.findall(r"keras-xent (bench .*)", text)]
    lines = [line for line in lines if line.startswith("bench --")]
    assert len(lines) >= 9
    for line in lines:
        assert command.parse(shlex.split(line, comments=True)[1:])[2].losses


def test_training_does_not_import_it():
    code = "import sys, keras_xent; assert not {'keras_xent.bench', 'keras_xent.parity'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

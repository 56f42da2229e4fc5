"""`keras-xent parity`: usage, output, exit status; each run in a process of its own, as a user's."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

import keras_xent
from keras_xent import cli
from keras_xent.parity import command, versions
from keras_xent.parity.known import KNOWN_DIFFERENCES
from keras_xent.parity.processes import BACKENDS, HIDDEN, Child, CrashError
from keras_xent.parity.running import BACKEND

USER_LOSSES = os.path.join(os.path.dirname(__file__), "user_losses.py")
OTHER = "torch" if BACKEND == "tensorflow" else "tensorflow"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory with a user's losses."""
    shutil.copy(USER_LOSSES, tmp_path / "my_losses.py")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(arguments, capsys):
    """What is said, in one line, of arguments that are wrong."""
    with pytest.raises(SystemExit) as raised:
        command.main(arguments)
    assert raised.value.code == 2
    out, said = capsys.readouterr()
    lines = [line for line in said.splitlines() if line.strip() and " after " not in line]
    assert not out.strip() and len(lines) == 1 and lines[0].startswith("keras-xent parity: ")
    return said


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        ("--backend numpy", "invalid choice: 'numpy'"),
        ("--device tpu", "invalid choice: 'tpu'"),
        ("--arg temperature", "--arg temperature: expected KEY=VALUE"),
        ("--arg 1x=2", "--arg 1x=2: expected KEY=VALUE"),
        ("--cases 0", "--cases 0: expected a number from 1, or all"),
        ("--cases many", "expected a number from 1, or all"),
        ("--seed x", "--seed x: expected a number from 0"),
        ("--seed -1", "--seed -1: expected a number from 0"),
        ("--patience 0", "--patience 0: expected a number of seconds above 0"),
        ("--groups odd", "invalid choice: 'odd'"),
        ("--loss Hinge", "there is no keras_xent loss Hinge: choose from CategoricalCrossentropy"),
        ("--loss my:Loss your:Loss", "need exactly one --loss"),
        ("--reference Keras", "need exactly one --loss"),
        ("--json nowhere/report.json", "nowhere/report.json cannot be written: No such file or directory"),
        ("--nonsense", "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_usage(arguments, phrase, capsys, project):
    assert phrase in refused(arguments.split(), capsys)


def test_what_is_not_installed(monkeypatch, capsys, project):
    monkeypatch.setattr(command, "installed", lambda module: module in (BACKEND, "rich"))
    assert f"pip install 'keras_xent[{OTHER}]'" in refused(["--backend", OTHER], capsys)
    monkeypatch.setattr(command, "installed", lambda module: False)
    assert "rich is not installed: pip install 'keras_xent[cli]'" in refused([], capsys)
    monkeypatch.setattr(command, "installed", lambda module: module == "rich")
    assert "nothing to run: GPU: not run" in refused([], capsys) or "no backend is installed" in refused([], capsys)


def test_no_gpu_is_said(monkeypatch, capsys, project):
    monkeypatch.setattr(command, "gpu_possible", lambda: False)
    assert "nothing to run: GPU: not run: there is none here" in refused(["--device", "gpu"], capsys)


def test_a_gpu_that_the_backend_does_not_see(monkeypatch, capsys, project):
    monkeypatch.setattr(command, "gpu_possible", lambda: True)
    monkeypatch.setattr("keras_xent.parity.processes.HIDDEN", HIDDEN)
    for name, value in HIDDEN.items():
        monkeypatch.setenv(name, value)
    said = refused(["--device", "gpu", "--backend", BACKEND], capsys)
    assert f"nothing to run: {BACKENDS[BACKEND]}, GPU: not run: {BACKENDS[BACKEND]} sees no GPU here" in said


def test_names_that_are_not_found(capsys, project):
    """The process finds out, and the command says it in one line; `test_assertion` has all that can be wrong."""
    assert "No module named 'nothing'" in refused(["--loss", "nothing:Here", "--backend", BACKEND], capsys)
    arguments = ["--loss", "my_losses:right", "--corpus", "CategoricalCrossentropy", "--arg", "axis=9", "--backend", BACKEND]
    assert "No case fits both" in refused(arguments, capsys)


def test_our_own_losses(capsys, project):
    """Against everything that is here; a user's view of it."""
    arguments = ["--loss", "KLDivergence", "--cases", "6", "--backend", BACKEND, "--json", "r.json", "--junit", "r.xml"]
    assert command.main([*arguments, "--markdown", "r.md", "--device", "cpu"]) == 0
    out, said = capsys.readouterr()
    assert "KLDivergence" in out and "all within bounds" in out and f"Keras {keras.__version__}" in out
    assert f"{BACKENDS[BACKEND]}: done after" in said
    report = json.loads((project / "r.json").read_text())
    (place,) = report["places"]
    assert place["setting"]["device"] == "CPU" and place["setting"]["versions"]["keras_xent"] == keras_xent.__version__
    found = {row["reference"]: row for row in place["losses"]}
    assert {"definition", "Keras"} < set(found) and all(
        row["ok"] and row["worst_error"] <= row["bound"] for row in found.values()
    )
    assert found["definition"]["comparisons"] >= 6
    assert "testsuite" in (project / "r.xml").read_text() and (project / "r.md").read_text().startswith("## ✅")


def test_a_loss_of_ones_own(capsys, project):
    own = ["--backend", BACKEND, "--corpus", "CategoricalCrossentropy", "--cases", "12", "--loss"]
    assert command.main([*own, "my_losses:right"]) == 0
    assert "my_losses:right" in capsys.readouterr().out
    assert command.main([*own, "my_losses:scaled", "--reference", "my_losses:right", "--arg", "from_logits=True"]) == 1
    out = capsys.readouterr().out
    assert "DIFFERENT" in out and "my_losses:scaled is not my_losses:right" in out and "'my_losses:scaled'," in out


def test_a_process_that_crashes_and_one_that_does_not(capsys, project):
    (project / "crashing.py").write_text(
        "import os, signal, keras\nfrom my_losses import right\n\n\ndef loss(y_true, y_pred):\n"
        f"    if keras.backend.backend() == {OTHER!r}:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return right(y_true, y_pred)\n"
    )
    arguments = ["--loss", "crashing:loss", "--corpus", "CategoricalCrossentropy", "--cases", "3", "--backend", BACKEND, OTHER]
    assert command.main([*arguments, "--json", "r.json"]) == 1
    out = capsys.readouterr().out
    assert f"the process of {BACKENDS[OTHER]} crashed (killed by SIGKILL)" in out
    crashed, ran = sorted(json.loads((project / "r.json").read_text())["places"], key=lambda place: place["backend"] == BACKEND)
    assert crashed["backend"] == OTHER and "SIGKILL" in crashed["crash"]
    assert ran["losses"][0]["ok"] and not ran["crash"]


def test_arguments_arrive_as_they_are(capsys, project):
    """A dictionary keeps the types of its keys, a tuple stays one."""
    arguments = ["--backend", BACKEND, "--quick", "--corpus", "CategoricalCrossentropy", "--arg", "from_logits=True"]
    assert command.main([*arguments, "--loss", "my_losses:weighed", "--arg", "table={0: (3.0,)}"]) == 0
    assert command.main(["--backend", BACKEND, "--quick", "--loss", "BinaryCrossentropy", "--arg", "axis=()"]) == 0


def test_a_module_that_one_backend_alone_can_import(capsys, project):
    """The others have their say."""
    condition = f"import keras\nfrom my_losses import scaled\n\nassert keras.backend.backend() != {OTHER!r}, 'not here'\n"
    (project / "choosy.py").write_text(condition)
    arguments = ["--corpus", "CategoricalCrossentropy", "--quick", "--backend", BACKEND, OTHER]
    assert command.main(["--loss", "choosy:scaled", *arguments, "--json", "r.json", "--junit", "r.xml"]) == 1
    out = capsys.readouterr().out
    assert f"{BACKENDS[OTHER]}: nothing was run" in out and "AssertionError: not here" in out
    assert "my_losses:scaled is not definition" in out
    refusing, ran = sorted(json.loads((project / "r.json").read_text())["places"], key=lambda place: place["backend"] == BACKEND)
    assert "not here" in refusing["wrong_usage"] and not ran["losses"][0]["ok"]
    assert "AssertionError: not here" in refused(
        ["--loss", "choosy:scaled", *arguments[:-2], OTHER, "--json", "new.json"], capsys
    )
    assert not (project / "new.json").exists()


def test_a_library_of_another_backend(capsys, project):
    """It is said where it was not run; where it was, it counts."""
    library = {"tensorflow": "tf_keras", "jax": "optax", "torch": "torch.nn.functional"}[BACKEND]
    arguments = ["--loss", "CategoricalCrossentropy", "--reference", library, "--quick", "--backend"]
    assert command.main([*arguments, BACKEND, OTHER]) == 0
    assert f"{BACKENDS[OTHER]}: not run: {library} is not compared on {BACKENDS[OTHER]}" in capsys.readouterr().out


def test_a_process_that_hangs(project):
    """It is ended when patience is, and when the one that asked ends; a loss that reads from the keyboard reads nothing."""
    (project / "hanging.py").write_text(
        "import os, time\nfrom pathlib import Path\n\n\ndef loss(y_true, y_pred):\n"
        "    Path('pid').write_text(str(os.getpid()))\n    time.sleep(300)\n\n\ndef asking(y_true, y_pred):\n    input()\n"
    )
    task = {"reference": "definition", "arguments": {}, "corpus": "KLDivergence", "cases": 2, "seed": 0, "strict": False}
    task |= {"groups": ["ordinary"], "one_mode": True, "path": [str(project)]}
    with Child(BACKEND, patience=30.0) as child:
        assert "EOFError" in str([*child.ask("custom", loss="hanging:asking", **task)])
        child.patience = 1.0
        with pytest.raises(CrashError, match="ended after 1 s without an answer"):
            [*child.ask("custom", loss="hanging:loss", **task)]
    asking = "import sys\nfrom keras_xent.parity.processes import Child\n" + f"[*Child({BACKEND!r}).ask('custom', **{task!r})]\n"
    asker = subprocess.Popen([sys.executable, "-c", asking.replace("'custom', ", "'custom', loss='hanging:loss', ")], cwd=project)
    (project / "pid").unlink()
    while not (project / "pid").exists() or not (project / "pid").read_text():
        assert asker.poll() is None
        time.sleep(0.1)
    asker.kill()
    asker.wait()
    worker = int((project / "pid").read_text())
    for _ in range(100):
        if not running(worker):
            break
        time.sleep(0.1)
    assert not running(worker)


def running(process):
    """Whether a process is there; one that has ended may wait for its parent."""
    try:
        os.kill(process, 0)
        stat = Path(f"/proc/{process}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False


def test_same_seed_same_report():
    task = {"names": ["KLDivergence"], "cases": 8, "groups": ["ordinary", "extreme"], "one_mode": True, "known": False}
    with Child(BACKEND) as child:
        one, other, third = ([*child.ask("losses", seed=seed, **task)] for seed in (1, 1, 2))
    assert one == other != third


def test_what_no_other_process_can_be_handed():
    with Child(BACKEND) as child, pytest.raises(ValueError, match="An argument cannot be handed to another process"):
        [*child.ask("losses", names=lambda: None)]


def test_a_child_that_cannot_start(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with Child(BACKEND) as child, pytest.raises(CrashError, match="exit code 1"):
        [*child.ask("losses")]


def test_known_differences_are_a_table(capsys):
    assert command.main(["--known"]) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"{len(KNOWN_DIFFERENCES)} named differences.\n")
    assert "keras-team/keras#23551" in out and all(known.name.split()[0] in out for known in KNOWN_DIFFERENCES)


def test_the_command_itself():
    """By its name and as a module; help comes without a backend's doing."""
    for program in (["keras-xent"], [sys.executable, "-m", "keras_xent"]):
        program[0] = shutil.which(program[0], path=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"])
        ran = subprocess.run([*program, "parity", "--help"], capture_output=True, text=True)
        assert ran.returncode == 0
        for phrase in ("--reference NAME", "exit status:", "--markdown FILE", "examples:", "(80 + √n) ε", "under a minute"):
            assert phrase in ran.stdout


def test_the_front_door(capsys):
    assert cli.main(["--help"]) == 0 and "parity" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0 and capsys.readouterr().out == f"keras_xent {keras_xent.__version__}\n"
    for arguments, phrase in (([], "a command is missing"), (["expalin"], "there is no command 'expalin'")):
        assert cli.main(arguments) == 2 and phrase in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["parity", "--cases", "x"])


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ("installed", None),
        ("oldest", "keras==3.12.0"),
        ("newest", "keras"),
        ("3.13.1", "keras==3.13.1"),
        ("3.16.0rc1", "keras==3.16.0rc1"),
        ("./keras-3.16.0-py3-none-any.whl", "./keras-3.16.0-py3-none-any.whl"),
        ("3.16.0.whl", "3.16.0.whl"),
        ("keras-nightly", "keras-nightly"),
    ],
)
def test_versions_of_keras(wanted, asked):
    assert versions.requirement(wanted) == asked


def test_a_keras_that_is_not_there(capsys, project):
    assert "Keras ./nothing.whl cannot be installed" in refused(["--keras", "./nothing.whl", "--backend", BACKEND], capsys)


def test_another_keras(capsys, project):
    """A package that calls itself Keras 9 stands in for one that pip fetches: it is the one that the process imports."""
    source = project / "source" / "keras"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("raise ImportError('this is Keras 9')")
    (project / "source" / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
        '[project]\nname = "keras"\nversion = "9.0"\ndescription = "none"\n'
    )
    assert command.main(["--keras", str(project / "source"), "--backend", BACKEND, "--loss", "KLDivergence"]) == 1
    assert "ImportError: this is Keras 9" in capsys.readouterr().out

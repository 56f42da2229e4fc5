"""Where one backend is installed and none is named, that one is taken."""

import json
import sys

import pytest

from keras_xent import _only_backend


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with some backends, on which Keras is not imported yet; returns what is chosen."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def choose(*backends, named=None, configured=None, imported=False):
        monkeypatch.setattr(_only_backend, "installed", lambda module: module in backends)
        monkeypatch.setattr(sys, "modules", {name: module for name, module in sys.modules.items() if imported or name != "keras"})
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        if named:
            monkeypatch.setenv("KERAS_BACKEND", named)
        if configured is not None:
            (tmp_path / "keras.json").write_text(configured)
        _only_backend.choose()
        return _only_backend.os.environ.get("KERAS_BACKEND")

    return choose


def test_the_only_one(machine):
    assert machine("jax") == "jax"
    assert machine("torch") == "torch"
    assert machine("jax", "torch") == "jax"


def test_what_keras_takes_anyway_is_left_to_keras(machine):
    assert machine("tensorflow", "jax") is None
    assert machine("jax", "torch", configured=json.dumps({"backend": "torch"})) is None


def test_a_file_that_keras_wrote_for_want_of_another(machine):
    assert machine("torch", configured=json.dumps({"backend": "tensorflow"})) == "torch"
    for broken in ("{", "[]", "{}"):
        assert machine("jax", configured=broken) == "jax"


def test_what_is_named_stays(machine):
    assert machine("jax", named="tensorflow") == "tensorflow"


@pytest.mark.parametrize("argv", [["python", "-m", "keras_xent", "parity"], ["/bin/keras-xent", "parity"]])
def test_the_command_needs_any(machine, monkeypatch, capsys, argv):
    """It gives each backend a process of its own; what is named counts where it can be had."""
    monkeypatch.setattr(sys, "orig_argv", argv)
    monkeypatch.setattr(sys, "argv", argv if "-m" not in argv else ["-m", "parity"])
    assert machine("jax", named="nonsense") == machine("jax", named="torch") == machine("jax") == "jax"
    assert machine("tensorflow", "jax", named="tensorflow") == "tensorflow"
    with pytest.raises(SystemExit) as ended:
        machine()
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_a_process_of_the_command_takes_what_it_is_told(machine, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "keras_xent.parity.worker"])
    assert machine("jax", named="tensorflow") == "tensorflow"


def test_nothing_is_done_too_late_or_in_vain(machine):
    assert machine("jax", imported=True) is None
    assert machine() is None

"""How findings are shown, the codes, the callback, and wrong usage."""

import pathlib
import re
import warnings

import keras
import numpy as np
import pytest
from keras.utils import PyDataset

import keras_xent
from keras_xent.findings import CODES, Findings

from .models import JIT, ROWS, X, Y, codes, mlp, subclassed

ROOT = pathlib.Path(__file__).parents[2]
WRONG = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_codes_are_documented():
    """In the README and in the docstring, with the severity and the meaning that they have; every code that is used is one."""
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning|note) \| (.*) \|$", readme, re.M)
    assert [(code, *row) for code, row in CODES.items()] == rows
    assert [(code, row.meaning) for code, row in CODES.items()] == re.findall(r"- `([\w-]+)`: (.*)", keras_xent.diagnose.__doc__)
    source = "".join(path.read_text() for path in (ROOT / "keras_xent" / "findings").glob("*.py") if path.stem != "codes")
    source = source.replace(keras_xent.diagnose.__doc__, "")
    tests = "".join(path.read_text() for path in pathlib.Path(__file__).parent.glob("test_[!s]*.py"))
    for code, (severity, meaning) in CODES.items():
        assert severity in ("error", "warning", "note") and not meaning.endswith(".")
        assert f'"{code}"' in source and f'"{code}"' in tests, code
    assert set(re.findall(r'found\(\s*"([\w-]+)"', source)) <= set(CODES)


def test_findings_in_words():
    findings = keras_xent.diagnose(mlp("softmax"), X, Y, WRONG)
    assert isinstance(findings, list) and isinstance(findings[0], keras_xent.Finding)
    assert re.fullmatch(r"error: double-softmax\n  The output of layer 'dense.*\n  Remedy: .*\.", str(findings))
    assert repr(findings).startswith("[Finding(code='double-softmax', severity='error', evidence=")
    assert str(Findings()) == "Nothing was found." and repr(Findings()) == "[]"


def test_findings_in_a_notebook():
    finding = keras_xent.Finding("saturated", "warning", "p < 1 & q", "Do <this>.")
    text = Findings([finding])._repr_html_()
    assert "p &lt; 1 &amp; q" in text and "Do &lt;this&gt;." in text and text.startswith("<table") and "http" not in text
    assert Findings()._repr_html_() == "<p>Nothing was found.</p>"


def test_findings_on_the_terminal():
    console = pytest.importorskip("rich.console").Console(width=100, record=True, file=open("/dev/null", "w"))
    console.print(Findings([keras_xent.Finding("saturated", "warning", "loss [red] of 3", "Do this.")]))
    console.print(Findings())
    text = console.export_text()
    console.file.close()
    assert "loss [red] of 3" in text and "saturated" in text and "Nothing was found." in text


def test_a_model_without_weights():
    model = keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"has no weights yet.*Call it on an example first"):
        keras_xent.diagnose(model, X, Y, WRONG)
    assert not model.built


def test_wrong_usage():
    with pytest.raises(TypeError, match=r"`model` must be a keras.Model. Received: 3"):
        keras_xent.diagnose(3, X, Y)
    with pytest.raises(ValueError, match=r"There is no loss to look at.*Pass `loss`"):
        keras_xent.diagnose(mlp(), X, Y)
    with pytest.raises(ValueError, match=r"There are no targets to look at: y=None"):
        keras_xent.diagnose(mlp(), X, loss=WRONG)
    with pytest.raises(ValueError, match=r"same number of examples. Received: 32 in `x`, 31 in `y`"):
        keras_xent.diagnose(mlp(), X, Y[1:], WRONG)
    with pytest.raises(ValueError, match=r"`loss` holds 2 values for a model with 1 outputs"):
        keras_xent.diagnose(mlp(), X, Y, [WRONG, WRONG])
    with pytest.raises(ValueError, match=r"`max_examples` must be at least 1"):
        keras_xent.diagnose(mlp(), X, Y, WRONG, max_examples=0)
    with pytest.raises(ValueError, match=r"a batch cannot be taken without being lost"):
        keras_xent.diagnose(mlp(), iter([(X, Y)]), loss=WRONG)
    with pytest.raises(ValueError, match=r"`x` is a data set \(Nothing\) without a batch"):
        keras_xent.diagnose(mlp(), Nothing(), loss=WRONG)
    with pytest.raises(TypeError, match=r"`y` must hold real numbers. Received: an array of dtype <U3"):
        keras_xent.diagnose(mlp(), X, np.array(["cat"] * ROWS), loss=WRONG)
    with pytest.raises(TypeError, match=r"`sample_weight` must hold real numbers. Received: an array of dtype object"):
        keras_xent.diagnose(mlp(), X, Y, loss=WRONG, sample_weight=np.array([None] * ROWS))
    with pytest.raises(ValueError, match=r"must be of one length to be an array. Pad them"):
        keras_xent.diagnose(mlp(), X, [[0], [1, 2]] * (ROWS // 2), loss=WRONG)
    with pytest.raises(ValueError, match=r"`on_error` must be 'warn' or 'raise'"):
        keras_xent.DiagnoseFirstBatch(X, Y, on_error="stop")


class Nothing:
    """A data set of no batches."""

    def __iter__(self):
        return iter(())


class Batches(PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        half = slice(index * ROWS // 2, (index + 1) * ROWS // 2)
        return X[half], Y[half]


def test_a_class_as_a_loss():
    """`compile` makes an object of it."""
    assert codes(mlp("softmax"), X, Y, keras.losses.SparseCategoricalCrossentropy) == []
    assert codes(mlp(), X, Y, keras_xent.SparseCategoricalCrossentropy) == ["logits-as-probs"]


def test_data_sets():
    assert codes(mlp("softmax"), Batches(), None, WRONG) == ["double-softmax"]
    with pytest.raises(ValueError, match="expected `y` and `sample_weight` to be left out"):
        keras_xent.diagnose(mlp(), Batches(), Y, WRONG)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        assert codes(mlp("softmax"), tf.data.Dataset.from_tensor_slices((X, Y)).batch(8), None, WRONG) == ["double-softmax"]
    if keras.backend.backend() == "torch":
        from torch import tensor
        from torch.utils.data import DataLoader, TensorDataset

        assert codes(mlp("softmax"), DataLoader(TensorDataset(tensor(X), tensor(Y)), 8), None, WRONG) == ["double-softmax"]


@pytest.mark.parametrize("data", [(X, Y), (Batches(),)], ids=["arrays", "data set"])
@pytest.mark.parametrize("make", [mlp, subclassed])
def test_the_callback_warns(data, make):
    model = make("softmax")
    model.compile("sgd", WRONG, jit_compile=JIT)
    callback = keras_xent.DiagnoseFirstBatch(*data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = model.fit(*data, verbose=0, callbacks=[callback])
    assert any(str(warning.message).startswith("keras_xent.diagnose: error: double-softmax\n") for warning in caught)
    assert [finding.code for finding in callback.findings] == ["double-softmax"]
    assert len(history.history["loss"]) == 1


def test_the_callback_raises():
    model = mlp("softmax")
    model.compile("sgd", WRONG, jit_compile=JIT)
    before = model.get_weights()
    with pytest.raises(ValueError, match="double-softmax"):
        model.fit(X, Y, verbose=0, callbacks=[keras_xent.DiagnoseFirstBatch(X, Y, on_error="raise")])
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))


def test_the_callback_on_a_healthy_model():
    model = mlp()
    model.compile("sgd", WRONG, jit_compile=JIT)
    callback = keras_xent.DiagnoseFirstBatch(X, Y, on_error="raise")
    model.fit(X, Y, verbose=0, callbacks=[callback])
    assert callback.findings == []

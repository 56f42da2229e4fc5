"""The notebooks, run as Jupyter runs them: each asserts its own numbers, and shows what it promises to show."""

import nbformat
import pytest

from .backends import BACKEND
from .examples import EXAMPLES, run_example

NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
EXECUTE = ["-c", "from nbclient.cli import main; main()"]  # what `jupyter execute` does
STRICT = 'import warnings\nwarnings.simplefilter("error")\n'
STRICT += 'warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)'  # Keras's, see pyproject.toml


def run(cells, directory):
    """The process that ran these cells, and the cells with what they printed and drew."""
    given, made = directory / "given.ipynb", directory / "made.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(STRICT), *cells]), given)
    settings = {"IPYTHONDIR": str(directory), "KERAS_BACKEND": BACKEND, "OMP_NUM_THREADS": "1"}
    finished = run_example("", "--kernel_name=python3", f"--output={made.name}", given, launcher=EXECUTE, **settings)
    return finished, nbformat.read(made, as_version=4).cells if made.exists() else []


def written(path):
    """The notebook as it is kept."""
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 4


@EACH
def test_a_notebook_runs(tmp_path, path):
    finished, cells = run(written(path).cells, tmp_path)
    assert finished.returncode == 0, finished.stderr
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    shown = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in data for data in shown) >= 2
    traces = sum('class="keras-xent"' in data.get("text/html", "") for data in shown)
    assert traces == sum(cell.source.splitlines()[-1] == "trace" for cell in cells if cell.cell_type == "code")


@EACH
def test_a_notebook_is_kept_without_outputs_and_checks_its_numbers(path):
    nbformat.validate(written(path))
    code = [cell for cell in written(path).cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert sum("assert" in cell.source for cell in code) > len(code) / 2


@pytest.mark.parametrize("wrong", ["assert os.environ['KERAS_BACKEND'] == 'numpy'", "warnings.warn('no')"])
def test_a_cell_that_fails_is_noticed(tmp_path, wrong):
    finished, _ = run([nbformat.v4.new_code_cell(f"import os\n{wrong}")], tmp_path)
    assert finished.returncode != 0
    assert wrong in finished.stderr

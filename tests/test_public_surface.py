"""What the outside sees: names, docstrings, their examples, the README's snippets."""

import ast
import doctest
import importlib
import inspect
import pathlib
import re

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import tracing
from keras_xent.parity import known

ROOT = pathlib.Path(__file__).parent.parent
ROOMS = ("bench", "distill", "findings", "fused", "parity", "reference", "tracing")
PUBLIC = {
    "DOMAIN",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "DiagnoseFirstBatch",
    "DistillationLoss",
    "Finding",
    "KLDivergence",
    "LinearDistillationLoss",
    "LinearSparseCategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
    "SparseCategoricalFocalCrossentropy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "diagnose",
    "distill",
    "distillation_loss",
    "explain",
    "fused",
    "kl_divergence",
    "linear_distillation_loss",
    "linear_sparse_categorical_crossentropy",
    "pack_targets",
    "reference",
    "sparse_categorical_crossentropy",
    "sparse_categorical_focal_crossentropy",
}
DOCUMENTED = [getattr(keras_xent, name) for name in sorted(PUBLIC - {"DOMAIN", "distill", "fused", "reference"})]
DOCUMENTED += [getattr(keras_xent.distill, name) for name in keras_xent.distill.__all__ if name not in PUBLIC]
DOCUMENTED += [getattr(keras_xent.fused, name) for name in keras_xent.fused.__all__ if name not in PUBLIC]
DOCUMENTED += [getattr(keras_xent.reference, name) for name in keras_xent.reference.__all__]
DOCUMENTED += [keras_xent.parity.assert_parity, keras_xent.bench.run, tracing.Trace]
SECTIONS = ("Args:", "Returns:", "Raises:", "Differs from Keras:", "Example:", "Source:")
# Nobody calls what is handed out, and Keras has nothing like it: it says what it holds, and where it comes from.
HANDED_OUT = [keras_xent.domain.Domain, keras_xent.domain.Values, tracing.Step, tracing.Summary, keras_xent.findings.Findings]
HANDED_OUT += [keras_xent.bench.Measurement, keras_xent.bench.Results, keras_xent.parity.ParityError]
OF_HANDED_OUT = ("Args:", "Example:", "Source:")


def test_names():
    assert set(keras_xent.__all__) == PUBLIC
    assert "on_labels" in keras_xent.distill.__all__
    rooms = {"bench", "cli", "domain", "findings", "losses", "parity", "pytest_plugin", "steps", "tracing"}
    assert not {name for name in vars(keras_xent) if not name.startswith("_")} - PUBLIC - rooms


def fully_named(documented):
    """Two functions may have one name, such as a loss and its definition."""
    return f"{documented.__module__.removeprefix('keras_xent.')}.{documented.__name__}"


@pytest.mark.parametrize("documented", DOCUMENTED, ids=fully_named)
def test_docstrings(documented):
    assert_sections(documented, SECTIONS)
    definition = documented.__doc__.partition("Args:")[0]
    if re.search("(?i)cross_?entropy|divergence|distillation|loss", documented.__name__):
        assert re.search("[=Σ]|p_k|σ", definition), "no formula"
        assert "nats" in documented.__doc__ or documented.__name__.endswith(("_gradient", "reduce_losses")), "no unit"
    arguments = documented.__doc__.partition("Args:")[2].partition("Returns:")[0]
    names = set() if isinstance(documented, type) else set(inspect.signature(documented).parameters)
    assert names <= set(re.findall(r"\w+", arguments)), "an argument is left out"
    run_examples(documented)


@pytest.mark.parametrize("documented", HANDED_OUT, ids=fully_named)
def test_docstrings_of_what_is_handed_out(documented):
    assert_sections(documented, OF_HANDED_OUT if not issubclass(documented, Exception) else OF_HANDED_OUT[1:])
    run_examples(documented)


def test_examples_of_methods():
    run_examples(keras_xent.domain.Values.violations)


def test_nothing_public_is_left_undocumented():
    """But for tables, which have no docstrings, and modules."""
    rooms = [keras_xent, *(importlib.import_module(f"keras_xent.{room}") for room in ROOMS)]
    public = [getattr(room, name) for room in rooms for name in room.__all__]
    assert {each for each in public if callable(each)} <= {*DOCUMENTED, *HANDED_OUT}


def assert_sections(documented, sections):
    """They are there, in order."""
    positions = [documented.__doc__.find(section) for section in sections]
    assert -1 not in positions and positions == sorted(positions)


def run_examples(documented):
    """There are some, and each prints what it says."""
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(verbose=False)
    examples = finder.find(documented, documented.__name__, globs={"keras": keras, "keras_xent": keras_xent, "np": np})
    assert sum(len(example.examples) for example in examples) > 0
    for example in examples:
        runner.run(example)
    assert runner.failures == 0


def test_the_readme_runs():
    """Every Python block, in order, in one namespace; a line that ends in `# number` prints it."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    namespace = {}
    for block in blocks:
        for statement in ast.parse(block).body:
            source = ast.get_source_segment(block, statement)
            comment = re.search(r"# ([-\d.e]+)\s*$", block.splitlines()[statement.end_lineno - 1])
            if comment and isinstance(statement, ast.Expr):
                value = float(eval(source, namespace))
                assert f"{value:.5f}" == f"{float(comment.group(1)):.5f}", source
            else:
                exec(source, namespace)


def test_the_readme_shows_known_differences():
    """Its table is made of rows of `known.table()`, and it counts them right."""
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("## What differs from Keras")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.count(" | ") >= 6]
    assert len(rows) > 10 and set(rows) <= set(known.table(version="3.15.1").splitlines())
    assert f"there are {len(known.KNOWN_DIFFERENCES)} of them" in readme


def test_only_the_public_api_of_keras():
    for path in (ROOT / "keras_xent").rglob("*.py"):
        assert "keras.src" not in path.read_text(), path


def test_imports_point_one_way():
    """Down the list of rooms: nothing imports what stands above it."""
    order = ["_only_backend", "_command_line", "reference", "domain", "_backend", "_checks", "_recipe", "steps", "_kernels"]
    order += ["_labels", "_reduction", "_base", "losses", "distill", "fused", "findings"]
    order += ["parity", "tracing", "bench", "cli", "pytest_plugin", "__main__"]
    for path in (ROOT / "keras_xent").rglob("*.py"):
        relative = path.relative_to(ROOT / "keras_xent")
        room = relative.parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        package = ["keras_xent", *relative.parts[:-1]]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[: len(package) - node.level + 1]
                targets = [node.module.split(".")[0]] if node.module and len(base) == 1 else []
                targets += [alias.name for alias in node.names] if not node.module and len(base) == 1 else []
                for target in targets:
                    if target in (room, "__version__"):
                        continue
                    above = order.index(target) > order.index(room)
                    assert not above, f"{relative} imports {target}"


def test_the_definitions_import_numpy_alone():
    for path in (ROOT / "keras_xent" / "reference").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert [alias.name for alias in node.names] == ["numpy"], path
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1, path

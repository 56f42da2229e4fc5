"""What the outside sees: names, docstrings, their examples, the README's snippets."""

import ast
import doctest
import pathlib
import re

import keras
import numpy as np
import pytest

import keras_xent
from keras_xent import tracing
from keras_xent.parity import known

ROOT = pathlib.Path(__file__).parent.parent
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
DOCUMENTED += [getattr(keras_xent.fused, name) for name in keras_xent.fused.__all__ if name not in PUBLIC | {"FeaturesModel"}]
DOCUMENTED += [keras_xent.parity.assert_parity, keras_xent.bench.run, tracing.Trace]
SMALL = [keras_xent.domain.Domain, keras_xent.domain.Values, keras_xent.domain.Values.violations]
SMALL += [tracing.Step, tracing.Summary]
SECTIONS = ("Args:", "Returns:", "Raises:", "Differs from Keras:", "Example:", "Source:")


def test_names():
    assert set(keras_xent.__all__) == PUBLIC
    assert "on_labels" in keras_xent.distill.__all__
    rooms = {"bench", "cli", "domain", "findings", "losses", "parity", "pytest_plugin", "steps", "tracing"}
    assert not {name for name in vars(keras_xent) if not name.startswith("_")} - PUBLIC - rooms


@pytest.mark.parametrize("documented", DOCUMENTED, ids=lambda d: d.__name__)
def test_docstrings(documented):
    positions = [documented.__doc__.find(section) for section in SECTIONS]
    assert -1 not in positions and positions == sorted(positions)
    run_examples(documented)


@pytest.mark.parametrize("documented", SMALL)
def test_examples_of_what_is_handed_out(documented):
    run_examples(documented)


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

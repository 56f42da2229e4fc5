"""Value and gradient of every loss equal the definition, on the corpus that `keras-xent parity` runs.

It has all ranks, axes, options, dtypes, reductions and weights, ordinary and extreme inputs; `tests/parity` shows that, and that
an error in any step is found on it.
"""

import pytest

from keras_xent.parity.cases import KINDS
from keras_xent.parity.choose import varied
from keras_xent.parity.corpus import corpus
from keras_xent.parity.examine import examine
from keras_xent.parity.implementations import DEFINITION, OURS

from .backends import BACKEND, MODES

USUAL, *OTHERS = MODES
every_loss = pytest.mark.parametrize("loss", KINDS)


def broken(cases, mode):
    """The cases on which a loss is not what the definition says, and by how much."""
    findings = [finding for case in cases for finding in examine(OURS, [DEFINITION], case, (mode,), strict=True)]
    assert len(findings) == len(cases)
    return [(f.case.what, f.case.arguments, f.value, f.gradient, f.message) for f in findings if not f.ok]


@every_loss
def test_equals_the_definition(loss):
    """JAX compiles a program for each case."""
    assert not broken(varied(corpus(loss, seed=1), 30 if BACKEND == "jax" else None), USUAL)


@every_loss
@pytest.mark.parametrize("mode", OTHERS)
def test_in_other_modes(loss, mode):
    """`torch.compile` takes seconds for each."""
    assert not broken(varied(corpus(loss, seed=2), 2 if BACKEND == "torch" else 5), mode)

"""Peers that are not installed here are called as their signatures say: stand-ins with these take their place."""

import sys
import types

import pytest
from keras import ops

from keras_xent.bench.subjects import SUBJECTS

from ..backends import BACKEND
from .test_contenders import measured


@pytest.fixture
def stand_in(monkeypatch):
    """Puts functions into a module that is not there."""

    def make(name, **functions):
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            module = types.ModuleType(".".join(parts[:end]))
            module.__path__ = []
            monkeypatch.setitem(sys.modules, module.__name__, module)
        vars(module).update(functions)

    return make


def found(name, contender):
    """What is measured of one contender, wherever it runs."""
    (who,) = (who for who in SUBJECTS[name].contenders if who.name == contender)
    assert BACKEND in who.backends
    (one,) = measured(SUBJECTS[name], [who])
    return one


def of_classes_first(features, weight, targets):
    """The mean loss of a weight of shape (classes, hidden)."""
    from torch.nn.functional import cross_entropy

    assert weight.shape == (9, 4) and weight.is_contiguous() and weight.requires_grad and features.requires_grad
    return cross_entropy(features @ weight.T, targets)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's")
def test_liger(stand_in):
    from torch.nn.functional import cross_entropy

    def liger_cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
        value = cross_entropy(input.clone(), target)
        input.data.zero_()  # Liger writes the gradient there
        return value

    def liger_fused_linear_cross_entropy(input, weight, target, bias=None, ce_weight=None, ignore_index=-100):
        return of_classes_first(input, weight, target)

    stand_in(
        "liger_kernel.transformers.functional",
        liger_cross_entropy=liger_cross_entropy,
        liger_fused_linear_cross_entropy=liger_fused_linear_cross_entropy,
    )
    assert found("sparse", "Liger").problem is None
    assert found("linear", "Liger").problem is None


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's")
@pytest.mark.parametrize(
    ("name", "options"), [("", {"impl": "cce", "filter_eps": None}), (", torch.compile", {"impl": "torch_compile"})]
)
def test_cut_cross_entropy(stand_in, name, options):
    def linear_cross_entropy(e, c, targets, ignore_index=-100, softcap=None, reduction="mean", shift=False, **given):
        assert given == options
        return of_classes_first(e, c, targets)

    stand_in("cut_cross_entropy", linear_cross_entropy=linear_cross_entropy)
    assert found("linear", f"cut-cross-entropy{name}").problem is None


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's")
def test_tokamax(stand_in):
    def linear_softmax_cross_entropy_loss(x, labels, weights, *, reduction="sum", precision=None, implementation=None):
        import optax

        assert weights.shape == (4, 9) and reduction == "mean"
        return optax.softmax_cross_entropy_with_integer_labels(ops.matmul(x, weights), labels).mean()

    stand_in("tokamax", linear_softmax_cross_entropy_loss=linear_softmax_cross_entropy_loss)
    assert found("linear", "tokamax").problem is None

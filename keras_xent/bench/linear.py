"""Cross-entropy of features and a kernel: with all logits at once, and without."""

from keras import losses, ops

import keras_xent

from .contenders import BASELINE, Contender
from .peers import LIGER


def unfused():
    """What a model that ends in a `Dense` layer does: all logits, then Keras's loss."""

    def loss(targets, features, kernel):
        logits = ops.matmul(features, kernel)
        return ops.mean(losses.sparse_categorical_crossentropy(targets, logits, from_logits=True))

    return loss


def ours():
    """This package's, never all logits at once."""
    linear = getattr(keras_xent, "linear_sparse_categorical_crossentropy")  # noqa: B009
    return lambda targets, features, kernel: ops.mean(linear(targets, features, kernel))


def unfused_ours():
    """All logits, then this package's loss of them."""

    def loss(targets, features, kernel):
        logits = ops.matmul(features, kernel)
        return ops.mean(keras_xent.sparse_categorical_crossentropy(targets, logits, from_logits=True))

    return loss


def torch_chunked():
    """`torch.nn.functional.linear_cross_entropy`, which computes chunks of logits where it is told to."""
    from torch.nn import LinearCrossEntropyOptions
    from torch.nn.functional import linear_cross_entropy

    def loss(targets, features, kernel):
        return linear_cross_entropy(features, kernel, targets, options=LinearCrossEntropyOptions())

    return loss


def liger():
    """Liger's `liger_fused_linear_cross_entropy`."""
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy  # pyright: ignore[reportMissingImports]

    return lambda targets, features, kernel: liger_fused_linear_cross_entropy(features, kernel, targets)


def cut(impl):
    """Apple's `linear_cross_entropy`, no gradient left out, as the others leave out none."""

    def make():
        from cut_cross_entropy import linear_cross_entropy  # pyright: ignore[reportMissingImports]

        options = {"filter_eps": None} if impl == "cce" else {}
        return lambda targets, features, kernel: linear_cross_entropy(features, kernel, targets, impl=impl, **options)

    return make


def tokamax():
    """Tokamax's `linear_softmax_cross_entropy_loss`."""
    import tokamax  # pyright: ignore[reportMissingImports]

    def loss(targets, features, kernel):
        return tokamax.linear_softmax_cross_entropy_loss(features, targets, kernel, reduction="mean")

    return loss


CUT = {"backends": ("torch",), "module": "cut_cross_entropy", "package": "cut-cross-entropy", "classes_first": True}
CONTENDERS = (
    Contender("keras_xent", ours),
    Contender("keras_xent, all logits", unfused_ours),
    Contender(BASELINE, unfused),
    Contender("torch, chunked", torch_chunked, backends=("torch",), classes_first=True),
    Contender("Liger", liger, classes_first=True, **LIGER),
    Contender("cut-cross-entropy", cut("cce"), devices=("gpu",), **CUT),
    Contender("cut-cross-entropy, torch.compile", cut("torch_compile"), **CUT),
    Contender("tokamax", tokamax, backends=("jax",), module="tokamax", package="tokamax"),
)

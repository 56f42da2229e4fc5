"""Losses of features and a kernel: with all logits at once, and without."""

import keras
from keras import ops

import keras_xent

from ..fused.heads import Head
from .contenders import BASELINE, Contender
from .peers import LIGER


def unfused():
    """What a model that ends in a `Dense` layer does: all logits, then Keras's loss."""

    def loss(targets, features, kernel):
        logits = ops.matmul(features, kernel)
        return ops.mean(keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True))

    return loss


def ours():
    """This package's, never all logits at once."""
    linear = getattr(keras_xent, "linear_sparse_categorical_crossentropy")  # noqa: B009
    return lambda targets, features, kernel: ops.mean(linear(targets, features, kernel))


class Given(Head):
    """An output layer whose kernel is an input of the step, as it is for all others: its gradient is asked for."""

    def __init__(self, kernel):
        dtype = keras.backend.standardize_dtype(kernel.dtype)
        super().__init__(keras.layers.Dense(kernel.shape[1], dtype=dtype))
        self.given = kernel

    @property
    def kernel(self):
        """What was given."""
        return self.given

    @property
    def bias(self):
        """None: it is not built."""
        return None


def ours_in_fit():
    """This package's `Loss`, as `compile` is given it: it knows the weights beforehand."""
    loss = getattr(keras_xent, "LinearSparseCategoricalCrossentropy")()  # noqa: B009

    def value(targets, features, kernel):
        loss.bind(Given(kernel))
        return loss(targets, features)

    return value


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
    Contender("keras_xent, the Loss class", ours_in_fit),
    Contender("keras_xent, all logits", unfused_ours),
    Contender(BASELINE, unfused),
    Contender("torch, chunked", torch_chunked, backends=("torch",), classes_first=True),
    Contender("Liger", liger, classes_first=True, **LIGER),
    Contender("cut-cross-entropy", cut("cce"), devices=("gpu",), **CUT),
    Contender("cut-cross-entropy, torch.compile", cut("torch_compile"), **CUT),
    Contender("tokamax", tokamax, backends=("jax",), module="tokamax", package="tokamax"),
)


def teaching(losses_of_logits):
    """What makes all logits of teacher and student; `losses_of_logits(teacher, student)` is the mean loss."""

    def loss(targets, features, kernel):
        teacher_features, teacher_kernel = targets
        return losses_of_logits(ops.matmul(teacher_features, teacher_kernel), ops.matmul(features, kernel))

    return loss


def distillation(temperature):
    """Distillation from a teacher's features and kernel."""

    def function():
        def loss(targets, features, kernel):
            given, teacher_kernel = targets
            options = {"targets": "features", "teacher_kernel": teacher_kernel}
            return ops.mean(keras_xent.linear_distillation_loss(given, features, kernel, None, temperature, **options))

        return loss

    def in_fit():
        loss = keras_xent.LinearDistillationLoss(targets="features", temperature=temperature)

        def value(targets, features, kernel):
            given, teacher_kernel = targets
            loss.bind(Given(kernel))
            loss.bind_teacher(Given(teacher_kernel))
            return loss(given, features)

        return value

    def all_logits():
        return teaching(keras_xent.DistillationLoss(targets="logits", temperature=temperature))

    def built_in():
        loss = keras.distillation.LogitsDistillation(temperature=temperature, loss=keras.losses.KLDivergence())
        return teaching(loss.compute_loss)

    return (
        Contender("keras_xent", function),
        Contender("keras_xent, the Loss class", in_fit),
        Contender("keras_xent, all logits", all_logits),
        Contender(BASELINE, built_in),
    )

"""Features, kernels and labels for linear losses; what the backend makes of them, and what the definition says."""

import numpy as np
from keras import ops

import keras_xent
from keras_xent import reference

from ..backends import tensor, value_and_gradient

NAME = "linear_sparse_categorical_crossentropy"
ROWS, HIDDEN, CLASSES = 13, 5, 31  # prime numbers


class Problem:
    """Seeded draws; half of the labels are the likeliest classes."""

    def __init__(self, rows=ROWS, hidden=HIDDEN, classes=CLASSES, scale=1.0, seed=0, with_bias=True):
        rng = np.random.default_rng(seed)
        self.features = np.float32(scale * rng.normal(size=(rows, hidden)))
        self.kernel = np.float32(rng.normal(size=(hidden, classes)))
        self.bias = np.float32(rng.normal(size=classes)) if with_bias else None
        likeliest = reference.linear.raw_logits(self.features, self.kernel, self.bias).argmax(-1)
        self.labels = np.where(np.arange(rows) % 2, rng.integers(0, classes, rows), likeliest).astype("int32")
        self.upstream = np.linspace(-0.5, 2.0, rows).astype("float32")

    def expected(self, **options):
        """The definition's losses, times `upstream`, and the gradients of their sum."""
        operands = self.labels, self.features, self.kernel, self.bias
        losses = getattr(reference, NAME)(*operands, **options)
        gradients = getattr(reference, f"{NAME}_gradient")(*operands, upstream=self.upstream, **options)
        return self.upstream * losses, gradients[: 2 if self.bias is None else 3]

    def actual(self, mode="eager", **options):
        """The same of the library."""
        operands = [each for each in (self.features, self.kernel, self.bias) if each is not None]
        labels, upstream = tensor(self.labels), tensor(self.upstream)

        def pulled(*operands):
            return upstream * keras_xent.linear_sparse_categorical_crossentropy(labels, *operands, **options)

        return value_and_gradients(pulled, operands, mode)


def value_and_gradients(function, operands, mode="eager"):
    """The value, and the gradients by all operands: as parts of one tensor, so that one program gives all of them."""
    shapes, ends = [each.shape for each in operands], np.cumsum([each.size for each in operands])
    bounds = [*zip((0, *ends), ends, strict=False)]

    def of_parts(x):
        return function(*(ops.reshape(x[begin:end], shape) for (begin, end), shape in zip(bounds, shapes, strict=True)))

    value, gradient = value_and_gradient(of_parts, tensor(np.concatenate([each.ravel() for each in operands])), mode)
    return value, [part.reshape(shape) for part, shape in zip(np.split(gradient, ends[:-1]), shapes, strict=True)]


def far_off(actual, expected, epsilons=64):
    """Whether losses or gradients miss the definition's by more than so many ε of the largest of them."""
    pairs = [(actual[0], expected[0]), *zip(actual[1], expected[1], strict=True)]
    return [not (np.abs(a - e) <= epsilons * 2.0**-23 * np.abs(e).max()).all() for a, e in pairs]

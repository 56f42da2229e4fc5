"""What every loss of this package does around its own arithmetic.

In order: dtypes, shapes, which positions count, the per-example losses (`call`), weights, mask, reduction.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from . import _backend, _checks, _reduction
from ._recipe import run
from ._reduction import blank
from .domain import Domain

PACKAGE = "keras_xent"
register = keras.saving.register_keras_serializable(package=PACKAGE)


REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None)


def widened(dtype):
    """The dtype to compute in: half precision is summed in float32."""
    return "float32" if dtype in _checks.HALF_PRECISION else dtype


# Below such a probability the slope of the logarithm no longer grows. The gradient has to fit the dtype of the predictions, not
# that of the computation, and weights still to come must not make it overflow: the floor is not the smallest normal number.
SLOPE_FLOOR = {"float16": 2.0**-12, "bfloat16": 2.0**-116, "float32": 2.0**-116, "float64": 2.0**-1012}


def evaluate(per_example, y_true, y_pred, options):
    """A loss as a function: one loss per example, in the dtype of `y_pred`."""
    y_pred = _checks.float_tensor("y_pred", y_pred)
    dtype = _checks.dtype_of(y_pred)
    return ops.cast(per_example(y_true, y_pred, options, widened(dtype)), dtype)


def copied(loss):
    """Another object with the same attributes. `copy.copy` would save and load it, and import TensorFlow on the way."""
    other = object.__new__(type(loss))
    other.__dict__.update(vars(loss))
    return other


class StepwiseLoss(keras.losses.Loss):
    """The base of all losses here. A loss states what it computes in five places.

    `_per_example(y_true, y_pred, options, dtype)`: the losses, in `dtype`.
    `_match(y_true, y_pred)`: both as tensors whose shapes have been found to fit.
    `_reduced_axes(y_pred)`: the axes of `y_pred` that its losses no longer have.
    `_fits_when_run(y_true, y_pred)`: what `_match` left to the running program: a scalar, or None for nothing.
    `_counted(y_true, y_pred)`: the positions that `call` evaluates, the others being 0; None: all.
    """

    domain: Domain
    from_logits: bool
    _per_example: Callable[..., Any]
    _checked: Callable[..., dict[str, Any]]

    def _configure(self, name, reduction, dtype, options):
        """Stands in for `__init__`: Keras's own classes of these names each have another one."""
        dtype = keras.dtype_policies.get(dtype or keras.config.floatx())
        _checks.float_dtype(dtype.compute_dtype)
        keras.losses.Loss.__init__(self, name=name, reduction=reduction, dtype=dtype)
        self._policy_name = dtype.name
        self.__dict__.update(options)  # each has been checked
        self._option_names = tuple(options)

    @property
    def _options(self):
        """The arguments that say what is computed, read from the attributes: setting one takes effect."""
        return {option: getattr(self, option) for option in self._option_names}

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; an argument is checked as when it is passed."""
        if name in vars(self).get("_option_names", ()):
            value = type(self)._checked(**self._options | {name: value})[name]
        elif name == "reduction":
            value = _checks.choice("reduction", value, REDUCTIONS)
        super().__setattr__(name, value)

    def _with(self, **options):
        """A copy with other options, unchecked: a temperature may be what only the running program knows."""
        other = copied(self)
        other.__dict__.update(options)
        return other

    def get_config(self) -> dict[str, Any]:
        """All arguments, as `from_config`, `keras.losses.serialize` and a saved model need them."""
        return {"name": self.name, "reduction": self.reduction, "dtype": self._policy_name, **self._options}

    @classmethod
    def from_config(cls, config):
        """The loss that `get_config` describes."""
        return cls(**config)

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One loss per example, neither weighed nor reduced."""
        return self._losses(*self._match(y_true, self._floats("y_pred", y_pred)))

    def _losses(self, y_true, y_pred, listener=None):
        """The same of what has been matched."""
        return type(self)._per_example(y_true, y_pred, self._options, widened(self.dtype), listener=listener)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The weighed and reduced loss.

        Args:
            y_true: The targets.
            y_pred: The predictions.
            sample_weight: None, a number, or weights that align with the leading axes of the per-example losses. A weight
                of 0 removes a loss, whatever it is; it stays in the denominator of `"sum_over_batch_size"`.

        Returns:
            The loss in nats, in the dtype of the loss object: a scalar, or one loss per example without reduction.
        """
        with keras.name_scope(self.name):
            return self._reduced(y_true, y_pred, sample_weight, self._mask_of(y_pred))

    def _mask_of(self, y_pred):
        """Where predictions count, as their model says; None: everywhere."""
        return _backend.mask_of(y_pred)

    def _reduced(self, y_true, y_pred, sample_weight, mask):
        return _reduction.reduce(*self._unreduced(y_true, y_pred, sample_weight, mask), self.reduction, self.dtype)

    def _unreduced(self, y_true, y_pred, sample_weight, mask, listener=None):
        """The losses, their weights and which of them count (None: 1, and all); a listener hears of each step."""
        y_true, y_pred, weights, counts, kept, unweighed, fits = self._prepared(y_true, y_pred, sample_weight, mask, listener)
        is_own = listener is None and type(self).call is not StepwiseLoss.call  # a subclass may have its own
        losses = self.call(y_true, y_pred) if is_own else self._losses(y_true, y_pred, listener)
        losses = _checks.fail_unless_fits(losses, fits)

        quantities = {"losses": losses, "kept": kept, "unweighed": unweighed}
        if kept is not None:
            run((_reduction.DROP_UNCOUNTED,), quantities, listener)
        if unweighed is not None:
            run((_reduction.DROP_UNWEIGHED,), quantities, listener)
        return quantities["losses"], weights, counts

    def _prepared(self, y_true, y_pred, sample_weight, mask, listener=None):
        """Targets and predictions, blank where they do not count; weights, and where there are positions of which kind.

        In order: which losses count, which positions are kept, which have the weight 0, whether the running program finds that
        shapes fit; None for all, all, none, and where that is known.
        """
        y_true, y_pred = self._match(y_true, self._floats("y_pred", y_pred))
        counts, kept, fits = self._counted(y_true, y_pred), None, self._fits_when_run(y_true, y_pred)
        if mask is None and sample_weight is None:
            return y_true, y_pred, None, counts, None, None, fits
        axes = self._reduced_axes(y_pred)
        # not by `axis not in axes`, which is always so under `torch.compile(dynamic=True)`: there the axes are symbols
        shape = tuple(size for axis, size in enumerate(y_pred.shape) if all(axis != gone for gone in axes))
        if mask is not None:
            kept = _checks.leading_axes("mask", mask, shape)
            counts = _both(counts, kept)
        weights = None
        if sample_weight is not None:
            given = _checks.float_tensor("sample_weight", sample_weight, widened(self.dtype))
            weights = _checks.leading_axes("sample_weight", given, shape)
            fits = _both(fits, self._weights_fit_when_run(weights, y_pred, axes))
        unweighed = _zeros_of(weights)
        if unweighed is not None:
            unusable = ops.logical_and(unweighed, self._unusable(y_true, y_pred, axes))
            kept = _both(kept, ops.logical_not(unusable))
        if kept is not None:
            y_true = self._blank(y_true, y_pred, kept, axes)
            y_pred = run((_reduction.BLANK,), {"y_pred": y_pred, "kept": kept, "axes": axes}, listener)
        return y_true, y_pred, weights, counts, kept, unweighed, fits

    def _floats(self, name, values):
        """A tensor in its own dtype, or an array in the dtype to compute in."""
        return _checks.float_tensor(name, values, array_dtype=widened(self.dtype))

    def _weights_fit_when_run(self, weights, y_pred, axes):
        """What of the comparison of the weights' shape with that of the losses is left to the running program."""
        wanted = [size for axis, size in enumerate(ops.shape(y_pred)) if axis not in axes]
        sizes = [(size, want) for size, want in zip(ops.shape(weights), wanted, strict=False) if ops.is_tensor(size)]
        return ops.all(ops.stack([ops.logical_or(ops.equal(a, 1), ops.equal(a, b)) for a, b in sizes])) if sizes else None

    def _counted(self, y_true, y_pred):
        del y_true, y_pred

    def _unusable(self, y_true, y_pred, axes):
        """Where a prediction or target is not finite, so that a weight of 0 alone would not remove it."""
        usable = ops.logical_and(self._usable_predictions(y_pred, axes), finite_rows(y_true, axes))
        return ops.logical_not(usable)

    def _usable_predictions(self, y_pred, axes):
        """Where predictions are finite and in the loss's domain: elsewhere its gradient may be NaN, though its value is not."""
        values = self.domain.y_pred(self.from_logits)
        outside = ops.logical_or(y_pred < values.low, y_pred > values.high)
        if axes:  # not by `ops.any`, which takes one axis in older versions of Keras on PyTorch
            outside = ops.sum(ops.cast(outside, "float32"), axis=tuple(axes)) > 0
        return ops.logical_and(finite_rows(y_pred, axes), ops.logical_not(outside))

    def _blank(self, y_true, y_pred, kept, axes):
        del y_pred
        return blank(y_true, kept, axes)


def _both(one, other):
    """The conjunction of two masks, either of which may be None."""
    if one is None or other is None:
        return other if one is None else one
    return ops.logical_and(one, other)


def finite_rows(values, axes):
    return ops.isfinite(ops.sum(values, axis=tuple(axes)) if axes else values)


def _zeros_of(weights):
    """Where weights are 0; None where it can be seen that none is."""
    if weights is None:
        return None
    known = _backend.read(weights)
    return weights == 0 if known is None or (known == 0).any() else None

"""Three kinds of losses by what their targets are: a distribution over classes, a class id, independent yes/no outputs.

For each kind there is what stands between a recipe and its tensors, and the base of its classes.
"""

from keras import ops

from .. import _backend, _checks, _kernels, _labels
from .._base import StepwiseLoss, evaluate
from .._recipe import run
from .._reduction import BLANK, DROP_UNCOUNTED, blank
from ._common import (
    DISTRIBUTION_FROM_LOGITS,
    DISTRIBUTION_FROM_PROBS,
    TARGET_FROM_LOGITS,
    TARGET_FROM_PROBS,
    class_quantities,
    common_quantities,
)

# By `from_logits`: what a kernel of that name, if the backend has one, can take the place of.
SPARSE = {True: (TARGET_FROM_LOGITS, "SPARSE"), False: (TARGET_FROM_PROBS, "SPARSE_FROM_PROBS")}
DENSE = {True: (DISTRIBUTION_FROM_LOGITS, "DENSE"), False: (DISTRIBUTION_FROM_PROBS, "DENSE_FROM_PROBS")}
NO_IDS = " Integer labels go to `SparseCategoricalCrossentropy` or `SparseCategoricalFocalCrossentropy`."


def against_distributions(recipe, y_true, y_pred, options, dtype, listener=None, allow_one_class=False, shortcuts=DENSE):
    """The losses of a recipe from `targets` of `y_pred`'s shape."""
    axis = _checks.resolve_axis(options["axis"], y_pred)
    targets = _checks.float_tensor("y_true", y_true, dtype)
    _checks.same_shape(targets, y_pred, NO_IDS)
    if not allow_one_class:
        _checks.several_classes(y_pred, axis)
    quantities = class_quantities(y_pred, options, axis, dtype)
    quantities["targets"] = targets
    losses = run_or_shorten(recipe(options), quantities, listener, shortcuts.get(options["from_logits"]), dtype)
    losses = _checks.fail_unless_fits(losses, same_shape_when_run(targets, y_pred))
    return losses if allow_one_class else _checks.several_classes_when_run(losses, y_pred, axis)


def match_class_ids(y_true, y_pred, axis):
    """Class ids as a tensor of one per row."""
    axis = _checks.resolve_axis(axis, y_pred)
    return _checks.one_label_per_row(_checks.label_tensor(y_true), y_pred, axis)


def against_class_ids(recipe, y_true, y_pred, options, dtype, listener=None):
    """The losses of a recipe from `labels` that are safe to index with; 0 where a label does not count.

    `y_true` has been matched with `y_pred`.
    """
    axis = _checks.resolve_axis(options["axis"], y_pred)
    _checks.several_classes(y_pred, axis)
    fits = one_label_per_row_when_run(y_true, y_pred, axis)
    labels = _labels.CheckedLabels(y_true, _checks.size_of(y_pred, axis), options["ignore_class"], options["invalid_labels"])
    if labels.counts is not None:
        y_pred = run((BLANK,), {"y_pred": y_pred, "kept": labels.counts, "axes": (axis,)}, listener)
    quantities = class_quantities(y_pred, options, axis, dtype)
    quantities["labels"] = labels.ids
    losses = run_or_shorten(recipe(options), quantities, listener, SPARSE[options["from_logits"]], dtype)
    losses = labels.settle(losses)
    if labels.counts is not None:
        losses = run((DROP_UNCOUNTED,), {"losses": losses, "kept": labels.counts}, listener)
    losses = _checks.fail_unless_fits(losses, fits)
    return _checks.several_classes_when_run(losses, y_pred, axis)


def run_or_shorten(recipe, quantities, listener, shortcut, dtype):
    """What the recipe ends in; where nobody listens to its steps, a kernel may take some of them at once."""
    steps, kernel = shortcut or ((), None)
    kernel = None if listener or kernel is None else getattr(_kernels, kernel)
    if kernel is None or not kernel.widens:
        widen_all(quantities, recipe, dtype)
    recipe = _kernels.shortened(recipe, quantities, steps, kernel)
    if kernel is not None and kernel.widens:
        widen_all(quantities, tuple(step for step in recipe if step is not kernel.step), dtype)
    return run(recipe, quantities, listener)


def widen_all(quantities, recipe, dtype):
    """Casts what the steps take in half precision to the dtype to compute in."""
    for name in _kernels.taken_by(recipe):
        value = quantities.get(name)
        if ops.is_tensor(value) and _checks.dtype_of(value) in _checks.HALF_PRECISION:
            quantities[name] = ops.cast(value, dtype)


def evaluate_class_ids(per_example, y_true, y_pred, options):
    """`evaluate`; whoever reduces these losses, such as a `keras.losses.Loss` that calls this, leaves ignored ones out."""
    y_pred = _checks.float_tensor("y_pred", y_pred)
    labels = match_class_ids(y_true, y_pred, options["axis"])
    losses = evaluate(per_example, labels, y_pred, options)
    if options["ignore_class"] is None and options["invalid_labels"] == "error":
        return losses
    axis = _checks.resolve_axis(options["axis"], y_pred)
    counts = _labels.counted(labels, _checks.size_of(y_pred, axis), options["ignore_class"], options["invalid_labels"])
    return _backend.carry_mask(losses, counts)


def against_answers(recipe, y_true, y_pred, options, dtype, listener=None, *, shortcuts):
    """The losses of a recipe from `targets` that are yes, no or in between, averaged over `axis`."""
    targets = _checks.float_tensor("y_true", y_true, dtype)
    _checks.same_shape(targets, y_pred)
    axis = _checks.resolve_mean_axis(options["axis"], y_pred)
    quantities = options | common_quantities(y_pred, options, axis, dtype)
    quantities["targets"] = targets
    for name in ("pos_weight", "alpha"):
        if name in options:
            value = 1.0 if options[name] is None else options[name]
            if isinstance(value, list):
                _checks.one_per_class(name, value, y_pred, -1, "output")
            quantities[name] = ops.convert_to_tensor(value, dtype=dtype)
    if "alpha" in options:  # what is left of an α near 1, before it is rounded
        alpha = options["alpha"]
        alpha_of_no = [1.0 - one for one in alpha] if isinstance(alpha, list) else 1.0 - alpha
        quantities["alpha_of_no"] = ops.convert_to_tensor(alpha_of_no, dtype=dtype)
    losses = run_or_shorten(recipe(options), quantities, listener, shortcuts.get(options["from_logits"]), dtype)
    return _checks.fail_unless_fits(losses, same_shape_when_run(targets, y_pred))


def same_shape_when_run(targets, y_pred):
    """What of the comparison of two shapes is left to the running program."""
    return None if _checks.are_static(targets, y_pred) else _checks.same_sizes(ops.shape(targets), ops.shape(y_pred))


def one_label_per_row_when_run(labels, y_pred, axis):
    """The same where labels have no class axis."""
    if _checks.are_static(labels, y_pred):
        return None
    sizes = ops.shape(y_pred)
    return _checks.same_sizes(ops.shape(labels), sizes[:axis] + sizes[axis + 1 :])


class OverClasses(StepwiseLoss):
    """A loss over the classes along `axis`."""

    axis: int

    def _reduced_axes(self, y_pred):
        return (_checks.resolve_axis(self.axis, y_pred),)


class DistributionLoss(OverClasses):
    """Its targets are distributions over the classes."""

    def _match(self, y_true, y_pred):
        y_true = self._floats("y_true", y_true)
        y_true, y_pred = _checks.drop_singleton_axis(y_true, y_pred, self.axis)
        _checks.same_shape(y_true, y_pred, NO_IDS)
        return y_true, y_pred

    def _fits_when_run(self, y_true, y_pred):
        return same_shape_when_run(y_true, y_pred)


class ClassIdLoss(OverClasses):
    """Its targets are class ids."""

    ignore_class: int | list[int] | None
    invalid_labels: str

    def _match(self, y_true, y_pred):
        return match_class_ids(y_true, y_pred, self.axis), y_pred

    def _fits_when_run(self, y_true, y_pred):
        return one_label_per_row_when_run(y_true, y_pred, *self._reduced_axes(y_pred))

    def _counted(self, y_true, y_pred):
        return _labels.counted(y_true, self._num_classes(y_pred), self.ignore_class, self.invalid_labels)

    def _unusable(self, y_true, y_pred, axes):
        valid = _checks.valid_labels(y_true, self._num_classes(y_pred))
        return ops.logical_not(ops.logical_and(valid, self._usable_predictions(y_pred, axes)))

    def _blank(self, y_true, y_pred, kept, axes):
        del y_pred, axes
        return blank(y_true, kept, ())  # labels have no class axis

    def _num_classes(self, y_pred):
        return _checks.size_of(y_pred, *self._reduced_axes(y_pred))


class YesNoLoss(StepwiseLoss):
    """Its targets are independent yes/no outputs."""

    axis: int | tuple[int, ...] | None

    def _match(self, y_true, y_pred):
        y_true = self._floats("y_true", y_true)
        y_true, y_pred = _checks.drop_singleton_axis(y_true, y_pred, self.axis)
        _checks.same_shape(y_true, y_pred)
        return y_true, y_pred

    def _fits_when_run(self, y_true, y_pred):
        return same_shape_when_run(y_true, y_pred)

    def _reduced_axes(self, y_pred):
        axis = _checks.resolve_mean_axis(self.axis, y_pred)
        if axis is None:
            return tuple(range(len(y_pred.shape)))
        return axis if isinstance(axis, tuple) else (axis,)

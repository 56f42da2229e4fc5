"""Every check of an argument, a shape, a dtype or a label, and every error message.

A message says what was passed, what was expected and what to do. Where Keras has an error for the case, its key phrase
is part of ours.
"""

from .arguments import (
    alpha,
    alpha_of_yes,
    choice,
    class_axis,
    class_ids,
    class_weight,
    count,
    exponent_q,
    flag,
    float_dtype,
    mean_axis,
    number,
    optional_count,
    optional_epsilon,
    pos_weight,
)
from .at_run_time import fail_unless_fits, fail_where_wrong, same_sizes, several_classes_when_run
from .labels import (
    each_class_once,
    each_id_once,
    exact_ids,
    invalid_labels,
    invalid_labels_message,
    valid_labels,
)
from .shapes import (
    class_weights_per_class,
    drop_singleton_axis,
    leading_axes,
    one_label_per_row,
    one_per_class,
    resolve_axis,
    resolve_mean_axis,
    same_shape,
    several_classes,
    shapes_agree,
)
from .tensors import (
    HALF_PRECISION,
    dtype_of,
    float_tensor,
    label_tensor,
    number_array,
)

__all__ = [
    "HALF_PRECISION",
    "alpha",
    "alpha_of_yes",
    "choice",
    "class_axis",
    "class_ids",
    "class_weight",
    "class_weights_per_class",
    "count",
    "drop_singleton_axis",
    "dtype_of",
    "each_class_once",
    "each_id_once",
    "exact_ids",
    "exponent_q",
    "fail_unless_fits",
    "fail_where_wrong",
    "flag",
    "float_dtype",
    "float_tensor",
    "invalid_labels",
    "invalid_labels_message",
    "label_tensor",
    "leading_axes",
    "mean_axis",
    "number",
    "number_array",
    "one_label_per_row",
    "one_per_class",
    "optional_count",
    "optional_epsilon",
    "pos_weight",
    "resolve_axis",
    "resolve_mean_axis",
    "same_shape",
    "same_sizes",
    "several_classes",
    "several_classes_when_run",
    "shapes_agree",
    "valid_labels",
]

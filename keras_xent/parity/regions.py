"""Where Keras's built-in losses are known to differ: regions of cases, in each of which known differences lie.

Within its region a difference from Keras is a known one; anywhere else it is a disagreement. A region is therefore no wider than
its reason.
"""

from collections.abc import Callable
from dataclasses import dataclass

from . import traits
from .cases import KINDS, Case
from .difference import BACKENDS, BINARY, BINARY_FOCAL, CATEGORICAL, GENERALIZED, SPARSE


@dataclass(frozen=True)
class Region:
    """Cases in which a built-in loss may give something else, for one reason."""

    name: str  # unique
    words: str  # which cases, for a table
    holds: Callable[[Case], bool]
    backends: tuple[str, ...] = BACKENDS
    of_the_reduction: bool = False  # whether the reason is `keras.losses.Loss`, to which other losses leave their weights, too


def region_of(case: Case, backend: str):
    """The first region that a case lies in, or None."""
    return next((region for region in REGIONS if backend in region.backends and region.holds(case)), None)


REGIONS = (
    Region("labels that are no class", "a label below 0, above the last class or between two", traits.labels_are_no_class),
    Region("one class", "a single class", traits.has_one_class),
    Region("targets of another shape", "targets that are broadcast to the predictions", traits.targets_do_not_fit),
    Region(
        "arguments out of range",
        "label smoothing or α outside of 0 to 1, a temperature that is no number",
        traits.argument_out_of_range,
    ),
    Region("lost arguments", "none: a loss that is rebuilt from its config", lambda case: False),
    Region("distillation", "a teacher's logits, given to `LogitsDistillation`", lambda case: KINDS[case.loss] == "teacher"),
    Region(
        "class axis in the middle",
        "class ids, classes along another axis than the last",
        lambda case: case.loss == SPARSE and traits.along_another_axis(case),
        ("tensorflow", "jax"),
    ),
    Region(
        "options of classes along another axis",
        "classes along another axis than the last, with label smoothing or one α per class",
        traits.classes_counted_last,
    ),
    Region(
        "images of probabilities",
        "class ids, probabilities of rank 4, not channels first: the gradient",
        traits.images_of_probs,
        ("torch",),
    ),
    Region(
        "NaN without weight",
        "predictions of NaN with weight 0, masked or ignored",
        traits.nan_without_weight,
        of_the_reduction=True,
    ),
    Region(
        "weights of fewer axes",
        "weights of some but not all axes of the losses",
        traits.weights_lack_axes,
        of_the_reduction=True,
    ),
    Region(
        "ignored probabilities",
        "class ids, probabilities with an ignored label: the gradient",
        traits.ignores_probs,
        ("jax", "torch"),
    ),
    Region(
        "infinite logits",
        "a logit of ±inf, but for class ids and focal losses over classes",
        lambda case: traits.infinite_logits(case) and case.loss in (CATEGORICAL, BINARY, BINARY_FOCAL),
    ),
    Region(
        "infinite logits of class ids",
        "a logit of ±inf, class ids; on JAX unless it is compiled",
        lambda case: traits.infinite_logits(case) and case.loss == SPARSE,
        ("jax", "torch"),
    ),
    Region("class ids that are rounded", "half precision, class ids above what it counts to", traits.labels_are_rounded),
    Region(
        "beyond float16",
        "float16, a sum over classes or of losses, or a quotient of target and p, that passes 65,504",
        traits.beyond_float16,
    ),
    Region("small probabilities in half precision", "half precision, a probability below 2.4e-4", traits.small_in_half),
    Region(
        "focal losses in half precision",
        "half precision, focal losses",
        lambda case: case.dtype in traits.HALF and traits.is_focal(case),
    ),
    Region(
        "class ids with probabilities in half precision",
        "half precision, class ids, probabilities",
        lambda case: case.dtype in traits.HALF and case.loss == SPARSE and traits.from_probs(case),
        ("tensorflow",),
    ),
    Region("means in float64", "float64, binary losses", traits.mean_is_rounded, ("jax", "torch")),
    Region(
        "alpha per class in float64",
        "float64, α per class that float32 rounds",
        traits.alphas_are_rounded,
        ("tensorflow", "torch"),
    ),
    Region(
        "numbers in float64",
        "float64, a q, γ or α that float32 rounds, or the ε of a divergence",
        traits.numbers_are_rounded,
        ("torch",),
    ),
    Region("rows of zeros", "probabilities of 0 for all classes", traits.has_zero_row),
    Region(
        "squares of sums",
        "probabilities that sum to more than 1e19 or less than 1e-19: the gradient under XLA",
        traits.squares_of_sums,
        ("tensorflow", "jax"),
    ),
    Region(
        "probabilities that do not sum to 1",
        "class ids, probabilities that do not sum to 1, some of them clipped",
        traits.clipped_before_the_sum,
        ("tensorflow",),
    ),
    Region(
        "targets that do not sum to 1",
        "logits, dense targets that do not sum to 1: the gradient",
        traits.targets_miss_1,
        ("tensorflow",),
    ),
    Region(
        "probabilities next to 0 or 1",
        "a probability, or that of a focal loss's logit, below ε or above 1 - ε (generalised: 0)",
        traits.next_to_0_or_1,
    ),
    Region(
        "a likely yes of a focal loss",
        "binary focal logits above 6.9, a probability of 0.999, whose target is not 1",
        lambda case: (
            case.loss == BINARY_FOCAL and not traits.from_probs(case) and bool(((case.y_pred > 6.9) & (case.y_true < 1)).any())
        ),
        ("jax", "torch"),
    ),
    Region("small q", "q below 0.01", lambda case: case.loss == GENERALIZED and case.arguments.get("q", 0.5) < 0.01),
    Region(
        "nothing but certainty over classes",
        "logits, every example right with a probability that rounds to 1",
        traits.certain_classes,
    ),
    Region(
        "nothing but certain answers",
        "logits, every answer right with a probability that rounds to 1",
        traits.certain_answers,
        ("torch",),
    ),
    Region(
        "probabilities passed as logits",
        "logits that are probabilities: a softmax before the loss",
        lambda case: case.loss in (CATEGORICAL, SPARSE) and traits.logits_are_a_softmax(case),
        ("tensorflow",),
    ),
)

"""Distillation from features and the kernel of the output layer, without ever holding all logits."""

from collections.abc import Collection
from typing import Any

from keras import ops

from .. import _backend, _checks
from .._base import register
from ..distill import loss as distillation
from .distillation_problem import DistillationProblem, Teacher


def checked(
    temperature,
    targets,
    divergence,
    beta,
    label_weight,
    labels,
    scale_by_temperature_squared,
    tail,
    ignore_class,
    logit_softcap,
    chunk_size,
):
    """The options, each checked."""
    if labels == "dense" or targets in ("logits", "probs", "log_probs"):
        raise ValueError(
            f"targets={targets!r} with labels={labels!r} would hold one number per class for each row, which a linear loss is "
            'there to avoid; expected targets="top_k" or "features", and labels=None or "sparse". For others take '
            "`keras_xent.DistillationLoss` on the logits."
        )
    _checks.choice("targets", targets, ("top_k", "features"))
    _checks.choice("labels", labels, (None, "sparse"))
    options = distillation.checked(
        temperature,
        "top_k",
        True,
        divergence,
        beta,
        label_weight,
        labels,
        scale_by_temperature_squared,
        tail,
        None,
        ignore_class,
        -1,
    )
    for fixed in ("from_logits", "teacher_classes", "axis"):
        del options[fixed]
    return options | {
        "targets": targets,
        "logit_softcap": None if logit_softcap is None else _checks.number("logit_softcap", logit_softcap, 0.0, open_low=True),
        "chunk_size": _checks.optional_count("chunk_size", chunk_size, 1),
    }


@register
def linear_distillation_loss(
    y_true: Any,
    features: Any,
    kernel: Any,
    bias: Any = None,
    temperature: float = 4.0,
    *,
    targets: str,
    teacher_kernel: Any = None,
    teacher_bias: Any = None,
    divergence: str = "kl",
    beta: float = 0.5,
    label_weight: float = 0.0,
    labels: str | None = None,
    scale_by_temperature_squared: bool = True,
    tail: str = "bucket",
    ignore_class: int | Collection[int] | None = None,
    logit_softcap: float | None = None,
    teacher_logit_softcap: float | None = None,
    chunk_size: int | None = None,
) -> Any:
    """How far a student is from its teacher, the student's logits made of features and a kernel, never all at once, in nats.

    loss = (1 - λ) T² D(softmax(t / T), softmax(s / T)) + λ CE(label, softmax(s)) as in `distillation_loss`, with s = x W + b,
    bent by s ← c tanh(s / c) where there is a cap; of the teacher a top-k is known, or its logits are made likewise.

    The logits of a chunk of rows are made, used and forgotten; the gradient makes them anew. Who knows beforehand what the losses
    will be multiplied with, as a `Loss` does, saves the second time: `keras_xent.LinearDistillationLoss`.

    Args:
        y_true: What the teacher said: with `targets="top_k"`, of shape (..., k, 2), what `keras_xent.distill.top_k_targets`
            returned; with `targets="features"` the teacher's features, of shape (..., its hidden), what its output layer is
            given; with `labels`, what `pack_targets` made of these. No gradient flows into it.
        features: What the student's output layer is given, of shape (..., hidden).
        kernel: Of shape (hidden, num_classes), as that of `Dense`, with two or more classes.
        bias: None, or of shape (num_classes,).
        temperature: T > 0, as in `distillation_loss`.
        targets: `"top_k"` or `"features"`: what `y_true` holds of the teacher.
        teacher_kernel: With `targets="features"` the kernel of the teacher's output layer, of shape (its hidden, num_classes);
            the logits of both are made together, a chunk at a time. No gradient flows into it.
        teacher_bias: None, or the bias of that layer.
        divergence: `"kl"`, `"reverse_kl"`, `"jsd"` or `"crossentropy"`, as in `distillation_loss`.
        beta: β in (0, 1), of `"jsd"`: the teacher's share of the mixture.
        label_weight: λ in [0, 1], the share of the hard labels' cross-entropy, which is taken at temperature 1.
        labels: None, or `"sparse"`: `y_true` was made by `pack_targets` from class ids.
        scale_by_temperature_squared: Whether T² is there.
        tail: `"bucket"`, `"renormalize"` or `"uniform"`: what a top-k says of the classes that it does not list, as in
            `distillation_loss`.
        ignore_class: A class id, or several: positions whose label it is cost 0, for both parts.
        logit_softcap: c > 0, or None: the student's logits are bent to lie between -c and c.
        teacher_logit_softcap: The same of the teacher's logits.
        chunk_size: How many rows' logits are held at once; None as in `keras_xent.linear_sparse_categorical_crossentropy`.

    Returns:
        The losses, of shape (...) and in the dtype of `features`; half precision is multiplied and summed in float32.

    Raises:
        ValueError: Shapes that do not fit, a teacher of other classes, ids that are no classes or listed twice, packed or top-k
            targets in half precision, targets or labels that hold one number per class, or an argument out of its range.
        TypeError: An argument or array of the wrong type.
        NotImplementedError: A second derivative. Forward differentiation is refused as well, on JAX by a `TypeError`.

    Differs from Keras:
        Keras has nothing of the kind, and would hold all logits of student and teacher; what they cost is that of
        `keras_xent.distillation_loss`.

    Example:
        >>> features, kernel = [[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]
        >>> teacher = keras_xent.distill.top_k_targets([[1.0, 2.0, 0.5], [3.0, 1.0, 0.0]], 2, temperature=2.0)
        >>> losses = keras_xent.linear_distillation_loss(teacher, features, kernel, temperature=2.0, targets="top_k")
        >>> [round(float(loss), 4) for loss in losses]
        [0.6576, 0.0678]

    Source:
        The definition: `keras_xent.reference.linear_distillation_loss`. Chunks of rows: Hsu et al., "Liger Kernel" (2024).
    """
    options = checked(
        temperature,
        targets,
        divergence,
        beta,
        label_weight,
        labels,
        scale_by_temperature_squared,
        tail,
        ignore_class,
        logit_softcap,
        chunk_size,
    )
    cap = teacher_logit_softcap
    cap = None if cap is None else _checks.number("teacher_logit_softcap", cap, 0.0, open_low=True)
    if (targets == "features") != (teacher_kernel is not None):
        raise ValueError(
            f'`teacher_kernel` goes with targets="features", and with it alone. Received: targets={targets!r}, '
            f"teacher_kernel={'None' if teacher_kernel is None else 'an array'}."
        )
    problem = DistillationProblem(y_true, features, kernel, bias, Teacher(teacher_kernel, teacher_bias, False, cap), options)
    losses = ops.cast(problem.losses(), problem.dtype)
    return losses if problem.counts is None else _backend.carry_mask(losses, problem.counts)

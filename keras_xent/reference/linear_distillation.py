"""A student's distance from its teacher, from the features and the kernel that the student's logits are made of."""

from .distillation import distillation_loss, distillation_loss_gradient
from .linear import by_operands, cap, raw_logits


def linear_distillation_loss(
    y_true,
    features,
    kernel,
    bias=None,
    temperature=4.0,
    *,
    targets,
    teacher_kernel=None,
    teacher_bias=None,
    logit_softcap=None,
    teacher_logit_softcap=None,
    **options,
):
    """`distillation_loss` of the student's logits z = c tanh(u / c), u = x W + b, one per example; without a cap c z is u.

    `y_true` is a top-k ("top_k"), or the teacher's features ("features"), of which its logits are made in the same way. The other
    options, `hard_labels` among them, are those of `distillation_loss`.
    """
    soft, targets = teacher(y_true, targets, teacher_kernel, teacher_bias, teacher_logit_softcap)
    return distillation_loss(
        soft, cap(raw_logits(features, kernel, bias), logit_softcap), temperature, targets=targets, **options
    )


def linear_distillation_loss_gradient(
    y_true,
    features,
    kernel,
    bias=None,
    temperature=4.0,
    *,
    targets,
    upstream=1.0,
    teacher_kernel=None,
    teacher_bias=None,
    logit_softcap=None,
    teacher_logit_softcap=None,
    **options,
):
    """d Σ_i g_i loss_i / d features, d kernel and d bias, g the `upstream` gradient of each loss; the teacher has none.

    With s_ik = g_i d loss_i / d u_ik, it is Σ_k s_ik W_hk, Σ_i x_ih s_ik and Σ_i s_ik.
    """
    soft, targets = teacher(y_true, targets, teacher_kernel, teacher_bias, teacher_logit_softcap)
    raw = raw_logits(features, kernel, bias)
    slopes = distillation_loss_gradient(soft, cap(raw, logit_softcap), temperature, targets=targets, **options)
    return by_operands(slopes, raw, features, kernel, logit_softcap, upstream)


def teacher(y_true, targets, kernel, bias, logit_softcap):
    """What the teacher said, and its kind."""
    return (y_true, targets) if targets == "top_k" else (cap(raw_logits(y_true, kernel, bias), logit_softcap), "logits")

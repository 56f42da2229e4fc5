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
    """`distillation_loss` from features and the kernel that make the student's logits, one per example, in nats.

    The student's logits are z = c tanh(u / c), u = x W + b; without a cap c z is u.

    Args:
        y_true: A top-k (`targets="top_k"`), or the teacher's features (`"features"`), of which its logits are made likewise.
        features: x, of shape (..., hidden).
        kernel: W, of shape (hidden, num_classes).
        bias: b, of shape (num_classes,), or None.
        temperature: T > 0.
        targets: `"top_k"` or `"features"`.
        teacher_kernel, teacher_bias: Those of the teacher, of its own width and of as many classes; of its features alone.
        logit_softcap, teacher_logit_softcap: c, of the student and of the teacher; None: no cap.
        **options: As in `distillation_loss`, `hard_labels` among them.

    Returns:
        The losses in float64, of shape (...).

    Raises:
        ValueError: By NumPy, shapes that do not fit.

    Differs from Keras:
        Keras has nothing of the kind. Here all logits are made at once: this is what chunks are tested against.

    Example:
        >>> features, kernel = np.array([[1.0, 2.0]]), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> kinds = {"targets": "features", "teacher_kernel": 2 * kernel}
        >>> keras_xent.reference.linear_distillation_loss(features, features, kernel, **kinds).round(5).tolist()
        [0.30572]
        >>> keras_xent.reference.linear_distillation_loss(features, 2 * features, kernel, **kinds).round(5).tolist()
        [0.0]

    Source:
        `distillation_loss` of the logits of two `Dense` layers.
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
    """The gradient of a weighed sum of `linear_distillation_loss` by features, kernel and bias; the teacher has none.

    With s_ik = g_i d loss_i / d u_ik, it is Σ_k s_ik W_hk, Σ_i x_ih s_ik and Σ_i s_ik.

    Args:
        y_true, features, kernel, bias, temperature, targets, teacher_kernel, teacher_bias, logit_softcap, teacher_logit_softcap,
            **options: As in `linear_distillation_loss`.
        upstream: g, the gradient that comes to each loss: a number, or an array of their shape.

    Returns:
        d Σ_i g_i loss_i / d features, d kernel and d bias in float64, of their shapes; that of the bias even if there is none.

    Raises:
        ValueError: By NumPy, shapes that do not fit.

    Differs from Keras:
        Keras has nothing of the kind.

    Example:
        >>> kernel, top = np.eye(3), [[[0.0, np.log(0.8)], [2.0, np.log(0.1)]]]  # a tenth is left for the class between
        >>> _, _, of_bias = keras_xent.reference.linear_distillation_loss_gradient(
        ...     top, np.zeros((1, 3)), kernel, temperature=1.0, targets="top_k"
        ... )
        >>> of_bias.round(4).tolist()  # q - p, of a student that says 1/3 to each
        [-0.4667, 0.2333, 0.2333]

    Source:
        The chain rule on `distillation_loss_gradient`; the tests check it against finite differences.
    """
    soft, targets = teacher(y_true, targets, teacher_kernel, teacher_bias, teacher_logit_softcap)
    raw = raw_logits(features, kernel, bias)
    slopes = distillation_loss_gradient(soft, cap(raw, logit_softcap), temperature, targets=targets, **options)
    return by_operands(slopes, raw, features, kernel, logit_softcap, upstream)


def teacher(y_true, targets, kernel, bias, logit_softcap):
    """What the teacher said, and its kind."""
    return (y_true, targets) if targets == "top_k" else (cap(raw_logits(y_true, kernel, bias), logit_softcap), "logits")

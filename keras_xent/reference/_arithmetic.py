"""The few operations that every definition is written with; NumPy, float64, any class axis."""

import numpy as np

SLOPE_FLOOR = {"float16": 2.0**-12, "bfloat16": 2.0**-116, "float32": 2.0**-116, "float64": 2.0**-1012}


def smooth(targets, label_smoothing, axis):
    """t_k ← (1 - s) t_k + s / K."""
    return (1.0 - label_smoothing) * targets + label_smoothing / targets.shape[axis]


def along(vector, ndim, axis):
    """A vector with one number per class, shaped to broadcast over the class axis."""
    shape = [1] * ndim
    shape[axis] = -1
    return np.asarray(vector, "float64").reshape(shape)


def class_weights(class_weight, num_classes):
    """A mapping, (id, weight) pairs or a vector as one weight per class; classes not named weigh 1."""
    if class_weight is None:
        return np.ones(num_classes)
    if not hasattr(class_weight, "items") and np.ndim(class_weight) == 1:
        return np.asarray(class_weight, "float64")
    weights = np.ones(num_classes)
    for class_id, weight in dict(class_weight).items():
        weights[class_id] = weight
    return weights


def renormalize(probs, axis):
    """q_k = p_k / Σ_j p_j; a row of zeros stays zero."""
    total = probs.sum(axis=axis, keepdims=True)
    return np.divide(probs, total, out=np.zeros_like(probs), where=total != 0)


def round_to(value, dtype):
    """`value` as the dtype that is computed in holds it; half precision is computed in float32."""
    return float(np.dtype("float64" if dtype == "float64" else "float32").type(value))


def clip(probs, epsilon, dtype):
    """min(max(p, ε), 1 - ε), both bounds first rounded to the dtype of the computation; ε is Keras's 1e-7 if None."""
    epsilon = 1e-7 if epsilon is None else epsilon
    return np.clip(probs, round_to(epsilon, dtype), round_to(1.0 - epsilon, dtype))


def passes_clip(probs, epsilon, dtype):
    """Where the clip leaves a probability as it is."""
    return clip(probs, epsilon, dtype) == probs


def log_slope(argument, dtype, saturated_gradient="flow", inside=True):
    """d log a / d a: that of the unclipped logarithm, bounded ("flow"), or 0 except `inside` of what is clipped ("zero")."""
    if saturated_gradient == "zero":
        return np.divide(1.0, argument, out=np.zeros_like(argument), where=inside)
    floored = np.maximum(argument, SLOPE_FLOOR[dtype])
    return np.where(argument > 0, 1.0 / floored, 0.0)


def renormalize_backward(slopes, probs, axis):
    """From d loss / d q to d loss / d p, where q = p / Σ p:  (g_k - Σ_j g_j q_j) / Σ p."""
    total = probs.sum(axis=axis, keepdims=True)
    shared = (slopes * renormalize(probs, axis)).sum(axis=axis, keepdims=True)
    return np.divide(slopes - shared, total, out=np.zeros_like(probs), where=total != 0)


def log_softmax(logits, axis):
    """log p_k = (z_k - m) - log1p(Σ_{j ≠ top} exp(z_j - m)),  m the largest logit: nothing cancels."""
    top = np.argmax(logits, axis=axis, keepdims=True)
    below = logits - np.take_along_axis(logits, top, axis)
    others = np.exp(below)
    np.put_along_axis(others, top, 0.0, axis)
    return below - np.log1p(others.sum(axis=axis, keepdims=True))


def softmax_minus(log_probs, targets, axis):
    """(Σ t) p_k - t_k, without cancellation where p_k and t_k are both near Σ t."""
    mass = targets.sum(axis=axis, keepdims=True)
    top = np.argmax(targets, axis=axis, keepdims=True)
    others = targets.copy()
    np.put_along_axis(others, top, 0.0, axis)
    other_targets = mass - targets  # Σ_{j ≠ k} t_j, which cancels for the largest target only
    np.put_along_axis(other_targets, top, others.sum(axis=axis, keepdims=True), axis)
    likely = mass * np.expm1(log_probs) + other_targets
    return np.where(log_probs > -0.7, likely, mass * np.exp(log_probs) - targets)


def product(targets, values):
    """t · v, where a target of 0 contributes 0 even if v is infinite."""
    with np.errstate(invalid="ignore"):
        return np.where((targets == 0) & np.isinf(values), 0.0, targets * values)

"""Linear losses on TensorFlow: what `sweep` does, with its gradients."""

import dataclasses

import tensorflow as tf

from .plan import NOT_TWICE
from .tensorflow_sweep import sweep


def losses(operands, plan):
    """One loss per row; its gradient makes the logits anew."""

    @tf.custom_gradient
    def differentiable(*primals):
        values, *_ = sweep(filled(operands, primals), plan)

        def gradient(upstream):
            with tf.control_dependencies([values]):  # side by side both would take memory
                _, *gradients = sweep(filled(operands, primals), plan, tf.identity(upstream))
            return fitted(gradients, primals)

        return values, gradient

    return differentiable(*primals_of(operands))


def weighted_sum(operands, weights, plan, with_gradient):
    """Σ_i weights_i loss_i; the gradients are made beside it, or, without `with_gradient`, anew."""

    @tf.custom_gradient
    def differentiable(weights, *primals):
        values, *gradients = sweep(filled(operands, primals), plan, tf.stop_gradient(weights) if with_gradient else None)

        def gradient(upstream):
            made = gradients if with_gradient else sweep(filled(operands, primals), plan, weights)[1:]
            scaled = [None if each is None else upstream * tf.cast(each, upstream.dtype) for each in made]
            (by_weights,) = once([values], primals)
            return tf.cast(upstream * by_weights, weights.dtype), *fitted(scaled, primals)

        return tf.reduce_sum(tf.where(weights == 0, tf.zeros_like(values), tf.cast(weights, values.dtype) * values)), gradient

    return differentiable(weights, *primals_of(operands))


def primals_of(operands):
    """What has a gradient."""
    return [tf.convert_to_tensor(each) for each in (operands.features, operands.kernel, operands.bias) if each is not None]


def filled(operands, primals):
    """The operands with these features, kernel and bias. An eager tape takes no record of their use: it would hold all logits."""
    named = dict(zip(("features", "kernel", "bias"), (*unrecorded(primals), None), strict=False))
    return dataclasses.replace(operands, targets=unrecorded(operands.targets), shared=unrecorded(operands.shared), **named)


def unrecorded(tensors):
    """The same to everything but a tape."""
    return tuple(None if each is None else tf.stop_gradient(each) for each in tensors)


def fitted(gradients, primals):
    """Gradients in the dtypes of what they are by, which have no derivatives themselves."""
    gradients = [tf.cast(each, primal.dtype) for each, primal in zip(gradients, primals, strict=False)]
    return once(gradients, (*primals, *gradients))


def once(values, depended_on):
    """Values that have no derivatives by what they depended on, rather than wrong ones."""

    @tf.custom_gradient
    def differentiable(*_):
        def refuse(*upstream):
            del upstream
            raise NotImplementedError(NOT_TWICE)

        return values, refuse

    return list(differentiable(*depended_on))

"""Linear losses on TensorFlow: by chunks of rows or blocks of classes, with gradients."""

import dataclasses

import tensorflow as tf

from . import tensorflow_blocks, tensorflow_sweep
from .plan import NOT_TWICE


def losses(operands, plan):
    """One loss per row; its gradient makes the logits anew."""
    way = tensorflow_blocks if tensorflow_blocks.serves(operands, plan) else tensorflow_sweep

    @tf.custom_gradient
    def differentiable(*primals):
        values, measured = way.losses(filled(operands, primals), plan)

        def gradient(upstream):
            with tf.control_dependencies([values]):  # side by side both would take memory
                return fitted(way.gradients(filled(operands, primals), plan, tf.identity(upstream), measured), primals)

        return values, gradient

    return differentiable(*primals_of(operands))


def weighted_sum(operands, weights, plan, with_gradient):
    """Σ_i weights_i loss_i; the gradients are made beside it, or, without `with_gradient`, when they are asked for."""
    by_blocks = tensorflow_blocks.serves(operands, plan) and (not with_gradient or tensorflow_blocks.pays(operands, plan))
    way = tensorflow_blocks if by_blocks else tensorflow_sweep

    @tf.custom_gradient
    def differentiable(weights, *primals):
        ours, made, measured = filled(operands, primals), None, None
        if with_gradient:
            values, *made = way.losses_and_gradients(ours, plan, tf.stop_gradient(weights))
        else:
            values, measured = way.losses(ours, plan)

        def gradient(upstream):
            gradients = made or way.gradients(ours, plan, weights, measured)
            scaled = [None if each is None else upstream * tf.cast(each, upstream.dtype) for each in gradients]
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

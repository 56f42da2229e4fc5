"""From what each class or output costs to one loss per example."""

from keras import ops

from .tensors import divide_or_zero, product


def pick(values, labels, axis):
    """The target class's entry of each row.

    v_y
    """
    return ops.squeeze(ops.take_along_axis(values, ops.expand_dims(labels, axis), axis=axis), axis)


def weigh_loss(losses, class_weight, labels):
    """Gives the loss of an example the weight of its target class.

    loss ← w_y loss
    """
    return product(ops.take(ops.reshape(class_weight, (-1,)), labels, axis=0), losses)


def mix(losses, even_losses, label_smoothing):
    """The loss under smoothed targets, out of those under its two parts: the label, and all classes evenly.

    loss ← (1 - s) loss + even loss
    """
    # of an infinite loss, a share of 0 is 0
    return even_losses if label_smoothing == 1.0 else (1.0 - label_smoothing) * losses + even_losses


def multiply(targets, log_probs):
    """Each class's share of the (negated) loss.

    t_k l_k
    """
    return targets * log_probs


def sum_over_classes(products, axis):
    """The loss of each example.

    loss = -Σ_k t_k l_k
    """
    return -ops.sum(products, axis=axis)


def negate(log_prob):
    """The loss of an example with one target class; of a certain one 0, not -0.

    loss = -l_y
    """
    return 0.0 - log_prob


def average(elements, axis):
    """The mean over `axis` (an int, several in ascending order, None for all, () for none).

    loss = Σ_i e_i / N
    """
    averaged = range(len(elements.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for one in reversed(averaged):  # not `ops.mean`, which rounds float64 to float32 on PyTorch
        elements = divide_or_zero(ops.sum(elements, axis=one), ops.cast(ops.shape(elements)[one], elements.dtype))
    return elements

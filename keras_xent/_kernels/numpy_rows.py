"""What kernels of a few numbers in eager code have in common: NumPy.

There each operation costs more than its arithmetic, and one of NumPy's a fraction of one of PyTorch's or TensorFlow's. A kernel
here is `work(logits, targets, *numbers, *weights)`, the function of that name in a module called `numpy_...`. It takes arrays of
logits (rows, num_classes), in float32 or float64, and of class ids (rows,) or targets (rows, num_classes), and gives the losses
(rows,) and their slopes (rows, num_classes). Weights, of yes/no outputs, are an array, or None where all are 1.
"""

import numpy as np

A_FEW = 2**13  # numbers, the operations of which cost more than what they compute
quietly = np.errstate(all="ignore")  # infinities and NaN are results like others


def each(rows):
    """The index of each row."""
    return np.arange(len(rows))


def balance(slopes, top, sure):
    """Gives a class that loss and target are `sure` of what the others' slopes add up to, negated: its own would cancel."""
    rows = each(slopes)
    of_top = slopes[rows, top]
    slopes[rows, top] = 0.0
    slopes[rows, top] = np.where(sure, -slopes.sum(-1), of_top)

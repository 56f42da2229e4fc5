"""How far a result in floating point may be from the definition: every tolerance comes from here."""

import numpy as np

EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
OPERATIONS = 16  # roundings that a term goes through before it is summed: an exponential, a logarithm, products, quotients
LIMIT = 64.0  # float32 ε: what the error of a loss or a gradient from logits may come to, see `precision`
SLACK = float(OPERATIONS)  # ε: by so much it may exceed that of Keras's loss, which rounds the same terms in another order


def relative_bound(dtype, terms=1, span=0.0):
    """The relative error to allow for a sum of `terms` positive terms, computed in `dtype` and returned in it.

    (operations + √terms + span) ε: each operation rounds once, a sum of n terms errs by √n roundings, and exp(z) by as many
    as |z| is large: `span` is the largest difference between logits. Half precision is computed in float32 and rounded once.
    """
    computed = "float32" if dtype in ("float16", "bfloat16") else dtype
    rounding = 0.0 if computed == dtype else EPSILON[dtype]
    return (OPERATIONS + np.sqrt(terms) + span) * EPSILON[computed] + rounding


def error_in_bounds(actual, expected, dtype, terms=1, span=0.0, floor=0.0):
    """The largest error as a multiple of its bound: at most 1 where all is well.

    The bound is relative to each element of `expected`, and to `floor` where that is larger: the size of the terms
    that an element is the difference of. Infinities and NaN have to agree.
    """
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    if actual.shape != expected.shape:
        raise ValueError(f"shapes differ: {actual.shape} is not {expected.shape}")
    finite = np.isfinite(expected)
    same = np.isnan(actual) == np.isnan(expected)
    same &= finite | np.isnan(expected) | (actual == expected)
    if not same.all():
        return np.inf
    scale = np.maximum(np.abs(expected), floor) * relative_bound(dtype, terms, span)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(actual == expected, 0.0, np.abs(actual - expected) / scale)
    return float(np.max(np.where(finite, ratio, 0.0), initial=0.0))

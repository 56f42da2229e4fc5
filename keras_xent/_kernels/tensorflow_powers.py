"""The power of the focal factor on TensorFlow, with a slope where the factor is 0."""

import tensorflow as tf

NOTHING = 2.0**-126  # the smallest normal number: less is taken for 0


def raised(base, exponent):
    """A power of numbers of at least 0: of 0 it is 0, and so is its derivative, whatever the exponent but 0 and 1."""
    if exponent in (0.0, 1.0, 2.0):
        return (tf.ones_like(base), base, base * base)[int(exponent)]
    is_nothing = base < NOTHING
    return tf.where(is_nothing, 0.0, tf.pow(tf.where(is_nothing, 1.0, base), exponent))


def slope_of_power(base, exponent):
    """γ c^(γ - 1), and 0 where c is."""
    return exponent * raised(base, exponent - 1.0) if exponent else tf.zeros_like(base)

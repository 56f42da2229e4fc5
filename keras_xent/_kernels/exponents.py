"""Which exponents of the focal factor are left to the kernels that take c as 1 - p or as what the other classes add up to."""

MOST = 4.0  # a larger exponent enlarges the rounding of c = 1 - p too much; the steps have another way there


def serves_exponent(quantities):
    """Whether the power is exact enough."""
    return quantities["gamma"] <= MOST

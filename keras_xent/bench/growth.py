"""How time and memory grow: the exponent of N at the most classes, and of V at the most rows."""

import collections

import numpy as np

from .sizes import parse

UNSEEN = 1_000_000  # bytes: less is the noise of a process


def growth(measurements):
    """Per loss, mode and contender: exponents, None where there are no two sizes that tell."""
    series = collections.defaultdict(list)
    for one in measurements:
        if one.seconds:
            series[one.loss, one.call, one.backend, one.mode, one.contender].append(one)
    found = []
    for (loss, call, backend, mode, contender), ones in series.items():
        exponents = {
            what: {of: exponent(along(ones, of), value) for of in "NV"}
            for what, value in (("time", lambda one: one.seconds["median"]), ("memory", memory))
        }
        if any(number is not None for both in exponents.values() for number in both.values()):
            names = {"loss": loss, "call": call, "backend": backend, "mode": mode, "contender": contender}
            found.append(names | exponents)
    return found


def memory(one):
    """What can be seen of it."""
    return one.memory if one.memory is not None and one.memory > UNSEEN else None


def along(measurements, of):
    """Those of one kind that differ in N, or in V, alone: where the other is largest."""
    sized = [(parse(one.size), one) for one in measurements]
    length, other = (lambda size: size.rows, lambda size: size.classes) if of == "N" else (lambda s: s.classes, lambda s: s.rows)
    most = max((other(size), size.hidden or 0) for size, _ in sized)
    return [(length(size), one) for size, one in sized if (other(size), size.hidden or 0) == most]


def exponent(points, value):
    """The slope of log value by log length."""
    known = [(length, value(one)) for length, one in points if value(one)]
    if len({length for length, _ in known}) < 2:
        return None
    lengths, values = np.log(known).T
    return float(np.polyfit(lengths, values, 1)[0])

"""Which cases a run takes, and in which modes."""

import collections

import numpy as np

from .running import MODES, USUAL

CASES, QUICK_CASES = 48, 8  # per loss
SINGULAR = 4.0  # what a trait counts that outweighs a few of the others: inputs that losses are known to fail on are all taken
OTHER_MODES = 20  # one case in so many is also run in the other modes, which take seconds each


def varied(cases, number: int | None = CASES):
    """So many of the cases, in their order: always the one that has most of what was rarest so far; None: all."""
    every = [*cases]
    if number is None or number >= len(every):
        return every
    traits = [traits_of(case) for case in every]
    seen = collections.Counter()
    chosen: list[int] = []
    for _ in range(number):
        left = [place for place in range(len(every)) if place not in chosen]
        best = max(left, key=lambda place: sum(weight * 0.5 ** seen[trait] for trait, weight in traits[place].items()))
        chosen.append(best)
        seen.update(traits[best].keys())
    return [every[place] for place in sorted(chosen)]


def traits_of(case):
    """What tells a case from others, and how much that counts: fields, arguments, both with `from_logits`, singular inputs."""
    arguments = {name: type(value) if isinstance(value, (list, dict)) else value for name, value in case.arguments.items()}
    weights = case.sample_weight is not None, np.shape(case.sample_weight)
    fields = {"group": case.group, "dtype": case.dtype, "reduction": case.reduction, "rank": case.y_pred.ndim, "weights": weights}
    traits = [*fields.items(), *arguments.items()]
    beside = {(trait, case.arguments["from_logits"]): 1.0 for trait in traits}
    return dict.fromkeys(traits, 2.0) | beside | {case.what: SINGULAR if case.singular else 0.5}


def modes_of(place, modes=None):
    """The modes for the case at that place in the list."""
    if modes is not None:
        return modes
    return MODES if place % OTHER_MODES == OTHER_MODES // 2 else (USUAL,)

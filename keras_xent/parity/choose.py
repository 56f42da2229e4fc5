"""Which cases a run takes, and in which modes."""

import collections

from .running import MODES, USUAL

CASES, QUICK_CASES = 60, 12  # per loss
OTHER_MODES = 15  # one case in so many is also run in the other modes, which take a second or more each


def varied(cases, number: int | None = CASES):
    """So many of the cases, in their order: always the one that has most of what was rarest so far; None: all."""
    every = [*cases]
    if number is None or number >= len(every):
        return every
    traits = [traits_of(case) for case in every]
    seen = collections.Counter()
    chosen = []
    for _ in range(number):
        left = set(range(len(every))) - {*chosen}
        best = max(sorted(left), key=lambda place: sum(0.5 ** seen[trait] for trait in traits[place]))
        chosen.append(best)
        seen.update(traits[best])
    return [every[place] for place in sorted(chosen)]


def traits_of(case):
    """What tells a case from others: its inputs in words, and each argument, from logits and from probabilities."""
    arguments = {name: type(value) if isinstance(value, (list, dict)) else value for name, value in case.arguments.items()}
    traits = [case.group, case.what, case.dtype, case.reduction, case.y_pred.ndim, *arguments.items()]
    return [(trait, case.arguments["from_logits"]) for trait in traits]


def modes_of(place, modes=None):
    """The modes for the case at that place in the list."""
    if modes is not None:
        return modes
    return MODES if place % OTHER_MODES == OTHER_MODES // 2 else (USUAL,)

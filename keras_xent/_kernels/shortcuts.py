"""Where a recipe takes steps that a kernel can take at once."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._recipe import Step, run


@dataclass(frozen=True)
class Kernel:
    """A function that gives what several steps end in, and nothing of what is made on the way.

    Its parameters are names of quantities. Where one is `in_steps`, that is the steps themselves, to be given the others again:
    `in_steps(logits=other_logits, axis=1)`.
    """

    function: Callable[..., Any]
    serves: Callable[[dict[str, Any]], bool]  # whether it can take these quantities
    widens: bool = False  # whether it takes half precision as it is; else it is cast to float32 for it, as a whole


def shortened(recipe, quantities, steps, kernel):
    """The recipe with the kernel for the steps: if they are part of it, and nothing that is made on the way is needed later."""
    count = len(steps)
    begin = next((place for place in range(len(recipe) - count + 1) if recipe[place : place + count] == steps), None)
    if kernel is None or begin is None:
        return recipe
    made_on_the_way = {step.gives for step in steps[:-1]}
    later = recipe[begin + count :]
    if any(made_on_the_way & set(step.takes.values()) for step in later) or not kernel.serves(quantities):
        return recipe
    step = _step(steps[-1].gives, kernel.function)
    if "in_steps" in step.takes:
        quantities["in_steps"] = with_the_rest(steps, quantities, step.takes)
    return (*recipe[:begin], step, *later)


def with_the_rest(steps, quantities, given):
    """The steps as a function of what they are given, which knows the other quantities that they take.

    It knows no more: whoever keeps it for a gradient would keep tensors that are no longer needed.
    """
    rest = {name: quantities[name] for name in _taken(steps) - given.keys() if name in quantities}
    return lambda **others: run(steps, rest | others)


@functools.cache
def _taken(steps):
    return {name for step in steps for name in step.takes.values()}


_step = functools.cache(Step)

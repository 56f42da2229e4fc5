"""Where a recipe takes steps that a kernel can take at once."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._recipe import Step


@dataclass(frozen=True)
class Kernel:
    """A function that gives what several steps end in, and nothing of what is made on the way."""

    function: Callable[..., Any]  # its parameters are names of quantities
    serves: Callable[[dict[str, Any]], bool]  # whether it can take these quantities


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
    return (*recipe[:begin], _step(steps[-1].gives, kernel.function), *later)


_step = functools.cache(Step)

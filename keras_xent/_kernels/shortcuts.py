"""Where a recipe takes steps that a kernel can take at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .._backend import remembered
from .._recipe import Step, run


@dataclass(frozen=True, eq=False)
class Kernel:
    """A function that gives what several steps end in, and nothing of what is made on the way.

    Its parameters are names of quantities. Where one is `in_steps`, that is the steps themselves, to be given the others again:
    `in_steps(logits=other_logits, axis=1)`.
    """

    function: Callable[..., Any]
    serves: Callable[[dict[str, Any]], bool]  # whether it can take these quantities
    widens: bool = False  # whether it takes half precision as it is; else it is cast to float32 for it, as a whole
    gives: str = "losses"  # what the last of the steps gives
    step: Step = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "step", Step(self.gives, self.function))  # once: PyTorch's compiler cannot follow its making


def shortened(recipe, quantities, steps, kernel):
    """The recipe with the kernel for the steps: if they are part of it, and nothing that is made on the way is needed later."""
    if kernel is None:
        return recipe
    shorter = _shorter(recipe, steps, kernel.step)
    if shorter is None or not kernel.serves(quantities):
        return recipe
    if "in_steps" in kernel.step.takes:
        quantities["in_steps"] = with_the_rest(steps, quantities, kernel.step.takes)
    return shorter


@remembered
def _shorter(recipe, steps, step):
    """The recipe with `step` for the steps, or None if it cannot be had."""
    count = len(steps)
    begin = next((place for place in range(len(recipe) - count + 1) if recipe[place : place + count] == steps), None)
    if begin is None:
        return None
    made_on_the_way = {step.gives for step in steps[:-1]}
    later = recipe[begin + count :]
    return None if made_on_the_way & taken_by(later) else (*recipe[:begin], step, *later)


def with_the_rest(steps, quantities, given):
    """The steps as a function of what they are given, which knows the other quantities that they take.

    It knows no more: whoever keeps it for a gradient would keep tensors that are no longer needed.
    """
    rest = {name: quantities[name] for name in taken_by(steps) - given.keys() if name in quantities}
    return lambda **others: run(steps, rest | others)


@remembered
def taken_by(steps):
    """The names of the quantities that the steps take, in their order."""
    return dict.fromkeys(name for step in steps for name in step.takes.values()).keys()

"""A loss as data: named steps, in order, and the one loop that runs them.

A step makes one quantity out of others, all known by name: `Step("probs", renormalize)` calls `renormalize` with the
quantities that its parameters name and stores the result as `probs`; `Step("clipped", clip, probs="target_prob")` feeds
the parameter `probs` from `target_prob`. Whoever wants to see a loss at work passes a listener, which hears of each step
as it is taken.
"""

import inspect

from . import _backend


class Step:
    """One line of a recipe: `gives` is the name of what `function` makes."""

    def __init__(self, gives, function, **renamed):
        self.gives = gives
        self.function = function
        self.takes = {parameter: renamed.get(parameter, parameter) for parameter in inspect.signature(function).parameters}

    @property
    def name(self):
        """The name of the step, that of its function."""
        return self.function.__name__

    @property
    def formula(self):
        """The formula: the last paragraph of the function's docstring."""
        return inspect.cleandoc(self.function.__doc__).split("\n\n")[-1]

    def __repr__(self):
        return f"{self.gives} = {self.name}({', '.join(self.takes.values())})"


def run(recipe, quantities, listener=None):
    """Takes every step of `recipe`; returns what the last one made.

    `quantities` maps names to values and is filled as the steps are taken. `listener(step, value, taken)` hears of each,
    `taken` being what the step was given, by parameter.
    """
    if listener is not None:
        return tell(listener, recipe, quantities)
    value = None
    for step in recipe:
        value = step.function(**{parameter: quantities[name] for parameter, name in step.takes.items()})
        quantities[step.gives] = value
    return value


def tell(listener, recipe, quantities):
    """Takes all steps, in one program where that is faster, and then tells of them one by one."""
    value = None
    for step, value in zip(recipe, _backend.at_once(values_of, tuple(recipe), quantities), strict=True):
        listener(step, value, {parameter: quantities[name] for parameter, name in step.takes.items()})
        quantities[step.gives] = value
    return value


def values_of(recipe, quantities):
    """What each step makes; `quantities` stay as they are."""
    quantities = dict(quantities)
    return [run((step,), quantities) for step in recipe]

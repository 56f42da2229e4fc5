"""Cases made to fit what is compared: arguments that both sides take, and those that a loss object was made with."""

import inspect

import keras

import keras_xent

from .implementations import UsageError
from .text import printable

# Arguments that say how inputs are drawn, and what they are where they are not said.
DRAWN_BY = {"from_logits": False, "axis": -1, "targets": None}
OF_THE_CASE = {"name", "reduction", "dtype"}  # arguments of a class that are fields of a case
NOT_DEFINED = {"invalid_labels"}  # what a definition has no argument for


class Fitting:
    """Makes cases fit two things that are compared.

    Args:
        things: Classes, loss objects, functions or words.
        inputs: The loss of this package that takes the same inputs.
        pinned: Arguments that hold in all cases.
    """

    def __init__(self, things, inputs, pinned):
        self.objects = [thing for thing in things if isinstance(thing, keras.losses.Loss)]
        of_ours = set(parameters_of(getattr(keras_xent, inputs))) - OF_THE_CASE
        for name in OF_THE_CASE & set(pinned):
            raise UsageError(
                f"{name!r} cannot be settled: reductions and dtypes take turns, unless a loss object has its own, or "
                "`assert_parity` is given the one case's with `y_pred`."
            )
        self.settled = {name: value for name, value in pinned.items() if name in of_ours}
        self.own = {name: value for name, value in pinned.items() if name not in of_ours}
        for loss in self.objects:
            self.settled |= own_arguments(loss, inputs)
        for name in self.own:
            if not any(takes(thing, name) for thing in things):
                raise UsageError(f"Neither of the two takes an argument {name!r}.")
        self.options = of_ours - NOT_DEFINED
        for thing in things:
            if isinstance(thing, str) and thing == "Keras":
                thing = getattr(keras.losses, inputs, None)
            if callable(thing) and thing not in self.objects:
                self.options &= set(parameters_of(thing))
        reductions = [own_reduction(thing, pinned) for thing in things]
        self.reduction = next((each for each in reductions if each is not None), None)

    def fit(self, case):
        """The case with the arguments and the reduction that are theirs; None if it cannot be."""
        settled = DRAWN_BY | self.settled if self.objects else self.settled
        for name, unsaid in DRAWN_BY.items():
            if name in settled and case.arguments.get(name, unsaid) != settled[name]:
                return None
        if any(loss.dtype != case.dtype for loss in self.objects):
            return None
        if self.reduction not in (None, "none") and not case.y_pred.size:  # Keras does not reduce what is empty
            return None
        kept = set(DRAWN_BY) if self.objects else self.options | set(DRAWN_BY)
        arguments = {name: value for name, value in case.arguments.items() if name in kept} | self.settled
        if case.hard_labels is not None and "labels" not in arguments:
            return None
        return case.with_(arguments=arguments, own_arguments=self.own, reduction=self.reduction or case.reduction)

    def unchanged(self, case):
        """Whether the case fits as it is."""
        fitting = self.fit(case)
        return fitting is not None and (fitting.arguments, fitting.reduction) == (case.arguments, case.reduction)


def takes(thing, name):
    """Whether a class or function has a parameter of that name, or takes any."""
    if not callable(thing):
        return False
    parameters = parameters_of(thing)
    return name in parameters or any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())


def own_arguments(loss, inputs):
    """What a loss object was made with, as far as the loss whose inputs it is given has it, too."""
    known = set(parameters_of(getattr(keras_xent, inputs))) - OF_THE_CASE - NOT_DEFINED
    config = loss.get_config()
    found = {name: getattr(loss, name) for name in known if hasattr(loss, name)}
    return {name: value for name, value in (config | found).items() if name in known and value is not None}


def parameters_of(thing):
    """The parameters of a function or class, by name; of `**options` those that the class hands on to."""
    if not isinstance(thing, type):
        try:
            return inspect.signature(thing).parameters
        except ValueError as error:
            raise UsageError(f"{thing!r} does not say which arguments it takes: {error}.") from error
    found = {}
    for base in thing.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters
            found = dict(parameters) | found
            if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
                break
    return found


def cannot_be_made(name, error):
    """In words, for the person who named it."""
    return f"{name} cannot be made: {type(error).__name__}: {printable(str(error))} (for its arguments see --arg, or `arguments`)"


def own_reduction(thing, pinned):
    """The reduction of a loss object, and of a class that cannot be told one; None: any."""
    if isinstance(thing, keras.losses.Loss):
        return thing.reduction
    if isinstance(thing, type) and issubclass(thing, keras.losses.Loss):
        parameters = parameters_of(thing)
        if "reduction" not in parameters:
            try:
                return thing(**{name: value for name, value in pinned.items() if name in parameters}).reduction
            except Exception as error:  # whatever a class raises
                raise UsageError(cannot_be_made(thing.__name__, error)) from error
    return None

"""What a user names or hands over (a class, a loss object, a function, a word) as an implementation that can be asked."""

import importlib
import inspect
from collections.abc import Collection
from typing import Any

import keras
import numpy as np

import keras_xent

from .cases import KINDS, NEEDED, function_name, of_this_process
from .fitting import DRAWN_BY, parameters_of
from .implementations import DEFINITION, KERAS, OURS, Implementation, IncomparableError, NotHereError, UsageError, running
from .peers import LIBRARIES, peers
from .processes import BACKENDS
from .running import BACKEND
from .text import printable


def words():
    """The implementations that have a name of their own."""
    return {each.name: each for each in (DEFINITION, KERAS, OURS, *peers())}


def found(spec: str) -> Any:
    """What `"module:Name"` names; the word itself if it is one of `words()`; or a loss of this package."""
    if ":" not in spec:
        if spec in KINDS:
            return getattr(keras_xent, spec)
        if spec in words():
            return spec
        if spec in [library for library, _ in LIBRARIES.values()]:
            raise NotHereError(f"{spec} is not compared on {BACKENDS[BACKEND]}, or is not installed.")
        raise UsageError(
            f"{spec!r} is no loss of keras_xent and none of {', '.join(words())}; name others as module:Name, such as "
            "my_package.losses:MyLoss."
        )
    module, _, name = spec.partition(":")
    if not module or module.startswith(".") or not name:
        raise UsageError(f"{spec!r} names nothing: expected module:Name, such as my_package.losses:MyLoss.")
    try:
        thing = importlib.import_module(module)
    except Exception as error:  # whatever the module does when it is imported
        raise UsageError(f"{spec!r} cannot be imported: {type(error).__name__}: {printable(str(error))}.") from error
    for part in name.split("."):
        if not hasattr(thing, part):
            raise UsageError(f"Module {module!r} has no {name!r}.")
        thing = getattr(thing, part)
    return thing


def implementation(thing: Any, pinned: Collection[str] = ()) -> Implementation:
    """A class, a loss object, a function or a word as something that can be asked a case.

    `pinned` names the arguments that the user settled: a side that does not take one is taken to be made that way.
    """
    if isinstance(thing, str):
        return words()[thing]
    name = described(thing)
    if isinstance(thing, keras.losses.Loss):
        return running(name, lambda case: thing, left_to_keras(type(thing)))
    if not callable(thing):
        raise UsageError(f"{name} is a {type(thing).__name__}: expected a loss class, a loss object or a function.")
    if isinstance(thing, type):
        return running(name, lambda case: thing(**accepted(thing, name, case, pinned)), left_to_keras(thing))
    gradient = twin_gradient(thing)
    if gradient is None:
        return running(name, lambda case: unreduced(thing, name, case, pinned))
    return Implementation(
        name,
        lambda case, mode: defined(thing, gradient, name, case, pinned),
        in_modes=False,
        exact=True,
        made=lambda case: accepted(thing, name, case, pinned),
    )


def left_to_keras(loss_class):
    """Whether weights, masks and the reduction are those of `keras.losses.Loss`."""
    return loss_class.__call__ is keras.losses.Loss.__call__


def unreduced(function, name, case, pinned):
    """A function as a loss object that neither weighs nor reduces."""
    if case.sample_weight is not None or case.reduction != "none":
        raise IncomparableError(f"{name} is a function, which neither weighs nor reduces")
    arguments = accepted(function, name, case, pinned)
    return lambda y_true, y_pred, sample_weight: function(y_true, y_pred, **arguments)


def twin_gradient(function):
    """The function of the same module that is called `<name>_gradient`, which a definition in NumPy has."""
    module = inspect.getmodule(function)
    return getattr(module, f"{getattr(function, '__name__', '')}_gradient", None)


def defined(function, gradient, name, case, pinned):
    """A definition in NumPy and its gradient; this package's are told the dtype, to which the bounds of a clip are rounded."""
    given = NEEDED.get(case.loss, {}) | accepted(function, name, case, pinned)
    if "dtype" in parameters_of(function):
        given |= {"dtype": case.dtype} | of_this_process(function, given)
    with np.errstate(all="ignore"):
        return case.reduced(*(each(case.y_true, case.y_pred, **given) for each in (function, gradient)))


def accepted(target, name, case, pinned):
    """The case's arguments that a class or function takes; an error if it cannot be told what the inputs are."""
    parameters, of_class = parameters_of(target), isinstance(target, type)
    given = case.arguments | case.own_arguments | ({"reduction": case.reduction, "dtype": case.dtype} if of_class else {})
    if not of_class and any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return given
    for argument in given.keys() - parameters.keys():
        value = given.pop(argument)
        if argument in DRAWN_BY and argument not in pinned and value != DRAWN_BY[argument]:
            raise IncomparableError(f"{name} has no {argument}")
        if argument == "dtype" and value != keras.config.floatx():
            raise IncomparableError(f"{name} has no dtype")
    return given


def described(thing):
    """How to name it: `module:Name` where that finds it again."""
    owner = type(thing) if isinstance(thing, keras.losses.Loss) else thing
    name = getattr(owner, "__qualname__", type(thing).__name__)
    for module in ("keras.losses", "keras_xent"):
        if getattr(importlib.import_module(module), name, None) is owner:
            return f"{module}:{name}"
    return f"{getattr(owner, '__module__', '?')}:{name}"


def importable(thing):
    """Its name, if that finds it again, else None."""
    if isinstance(thing, str):
        return thing
    name = described(thing)
    if name.startswith("__main__:"):  # of a script, which no other process and no snippet has
        return None
    try:
        return name if found(name) is thing else None
    except UsageError:
        return None


def corpus_of(*things, named=None):
    """The loss of this package that takes the same inputs: the first that can be told from the things compared."""
    if named is not None:
        if named not in KINDS:
            raise UsageError(f"There is no corpus for {named!r}; choose one of {', '.join(KINDS)}.")
        return named
    by_function = {function_name(loss): loss for loss in KINDS}
    for thing in things:
        if isinstance(thing, str):
            continue
        owner = type(thing) if isinstance(thing, keras.losses.Loss) else thing
        names = [base.__name__ for base in owner.__mro__] if isinstance(owner, type) else [getattr(owner, "__name__", "")]
        for name in names:
            name = by_function.get(name, name)
            if name in KINDS:
                return name
    raise UsageError(
        "It cannot be told which inputs the loss takes: name the keras_xent loss that takes the same "
        f"(--corpus, or corpus=...): {', '.join(KINDS)}."
    )

"""What a process is asked to measure on its backend: the times of groups, or the memory of one contender."""

import dataclasses
import time

from . import memory
from .contenders import BASELINE
from .inputs import BOUNDS, draw, truth
from .modes import BACKEND, Copy, Run
from .results import Measurement
from .sizes import parse
from .subjects import SUBJECTS
from .timing import calls_for, paired, ratios, summary


def times(groups, dtype, device, repeats, seconds):
    """The contenders of each group: a loss, size and mode."""
    yield {"total": len(groups)}
    drawn, inputs, expected = None, None, None
    for group in groups:
        subject, size = SUBJECTS[group["loss"]], parse(group["size"])
        if drawn != (subject, size):
            drawn, inputs, expected = (subject, size), None, None  # the old ones make room
            inputs = draw(subject, size, dtype)
            expected = truth(subject, inputs)
        among = subject.among(BACKEND, device, group["call"])
        common = {"backend": BACKEND, "device": device, "dtype": dtype, **group}
        measured = compared(among, inputs, expected, size, group["mode"], common, repeats, seconds)
        yield {"measurements": [dataclasses.asdict(one) for one in measured], "done": 1}
        forget()


def compared(among, inputs, expected, size, mode, common, repeats=None, seconds=20.0):
    """Each contender: whether it computes what it is to compute; if so, its time in rounds with the others."""
    runs, found = {}, {}
    for who in among:
        found[who.name] = one = Measurement(contender=who.name, **common)
        try:
            run = Run(who, mode, inputs)
            begun = time.perf_counter()
            value, *gradients = run()
            one.first_seconds = time.perf_counter() - begun
            errors = expected.errors(value, run.as_drawn(gradients))
        except Exception as error:  # whatever a library raises: the others go on
            one.problem = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            continue
        one.value_error, one.gradient_error = errors
        if not all(error <= bound for error, bound in zip(errors, BOUNDS[common["dtype"]], strict=True)):  # NaN is not within any
            one.problem = "computes something else: value off by {:.1%}, gradient by {:.1%}".format(*errors)
            continue
        runs[who.name] = run
        del value, gradients
    if not runs:
        return [*found.values()]
    calls = max(map(calls_for, runs.values()))  # as many as the fastest needs
    one_copy = {}
    if not size.small:
        logits = inputs.predictions[0] if size.hidden is None else all_logits(size, common["dtype"])
        one_copy = {None: Copy(logits, mode)}
        one_copy[None]()
        one_copy[None]()
    rounds = paired(one_copy | runs, calls, repeats, seconds)
    for name in runs:
        found[name].rounds = len(rounds[name])
        found[name].seconds = summary(rounds[name])
        if BASELINE in runs:
            found[name].ratio = ratios(rounds[name], rounds[BASELINE])
        if one_copy:
            found[name].copies = ratios(rounds[name], rounds[None])
    return [*found.values()]


def all_logits(size, dtype):
    """As many numbers as a linear loss has logits, to be copied."""
    from keras import ops

    return ops.zeros((size.rows, size.classes), dtype)


def forget():
    """Compiled programs of a group are of no use for the next."""
    if BACKEND == "jax":
        import jax

        jax.clear_caches()
    if BACKEND == "torch":
        import torch

        torch._dynamo.reset()


def peaks(loss, call, mode, contender, sizes, dtype, device):
    """The memory of one contender, at each size, the smallest first."""
    subject = SUBJECTS[loss]
    (who,) = (one for one in subject.among(BACKEND, device, call) if one.name == contender)
    for size in sorted(map(parse, sizes), key=lambda size: size.logits):
        inputs = draw(subject, size, dtype)
        run = Run(who, mode, inputs)
        del inputs
        yield {"size": str(size), "bytes": memory.extra(run, device)}
        del run
    yield {"done": 1}


TASKS = {"times": times, "peaks": peaks}

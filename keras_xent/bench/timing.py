"""Times that can be compared: round by round, each contender once a round, in a new order each time."""

import contextlib
import gc
import math
import time

import numpy as np

SHORTEST = 0.01  # seconds that a sample is to last: shorter calls are repeated in it
LEAST, MOST = 3, 15  # rounds, where their number is not given


def paired(runs, calls, repeats=None, seconds=20.0):
    """The seconds per call of each run, by name: a list with one number per round.

    Without `repeats`, as many rounds as fit into `seconds`, 3 to 15. All are to be warm.
    """
    rng, times, begun = np.random.default_rng(0), {name: [] for name in runs}, time.perf_counter()
    with no_collection():
        for done in range(repeats or MOST):
            if repeats is None and done >= LEAST and time.perf_counter() - begun > seconds:
                break
            for place in rng.permutation(len(runs)):
                name = [*runs][place]
                times[name].append(sample(runs[name], calls))
    return times


def sample(run, calls):
    """Seconds per call."""
    prepared = [run.prepared() for _ in range(calls)] if run.spoils else [run.prepared()] * calls
    begun = time.perf_counter()
    for one in prepared:
        run(one)
    return (time.perf_counter() - begun) / calls


def calls_for(run):
    """How many calls make a sample that the clock can measure; the run is called once more to be warm."""
    run()
    return max(1, math.ceil(SHORTEST / sample(run, 1)))


@contextlib.contextmanager
def no_collection():
    """Garbage is collected before, and not meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def ratios(times, others):
    """Median and quartiles of the ratios in each round."""
    return summary(np.divide(times, others))


def summary(numbers):
    """Median, lower and upper quartile."""
    low, median, high = np.quantile(numbers, (0.25, 0.5, 0.75))
    return {"median": float(median), "low": float(low), "high": float(high)}

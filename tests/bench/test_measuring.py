"""Rounds, ratios, memory and growth, of things whose answer is known."""

import gc

import numpy as np
import pytest

from keras_xent.bench import memory, timing
from keras_xent.bench.growth import growth
from keras_xent.bench.results import Measurement
from keras_xent.bench.sizes import Size, growing, parse


class Counted:
    """A run that notes when it is called."""

    spoils = False

    def __init__(self, name, log, spoils=False):
        self.name, self.log, self.spoils = name, log, spoils
        self.made = 0

    def prepared(self):
        self.made += 1
        return self.made

    def __call__(self, prepared=None):
        self.log.append((self.name, prepared, gc.isenabled()))


def test_rounds():
    """Each once a round, in changing order, without garbage collection, which comes back; never more rounds than asked for."""
    log = []
    runs = {name: Counted(name, log) for name in "abc"}
    times = timing.paired(runs, calls=2, repeats=8)
    assert {name: len(found) for name, found in times.items()} == dict.fromkeys("abc", 8)
    rounds = [tuple(name for name, _, _ in log[start : start + 6]) for start in range(0, len(log), 6)]
    assert len(rounds) == 8 and all(sorted(one) == sorted("aabbcc") for one in rounds) and len(set(rounds)) > 1
    assert not any(collects for _, _, collects in log) and gc.isenabled()


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, timing.LEAST), (1e9, timing.MOST)])
def test_as_many_rounds_as_there_is_time_for(seconds, rounds):
    assert len(timing.paired({"a": Counted("a", [])}, calls=1, seconds=seconds)["a"]) == rounds


def test_inputs_of_those_that_spoil_them():
    log = []
    timing.sample(Counted("lasting", log), 3)
    timing.sample(Counted("spoiling", log, spoils=True), 3)
    assert [(name, made) for name, made, _ in log] == [("lasting", 1)] * 3 + [("spoiling", made) for made in (1, 2, 3)]


def test_garbage_is_collected_again_after_an_error():
    with pytest.raises(KeyError), timing.no_collection():
        raise KeyError
    assert gc.isenabled()


def test_short_calls_are_repeated():
    assert timing.calls_for(Counted("fast", [])) > 1


def test_ratios_are_those_of_rounds():
    """A machine that slows down half-way changes times, not ratios."""
    ratio = timing.ratios([1.0, 1.0, 10.0, 10.0], [2.0, 2.0, 20.0, 20.0])
    assert ratio == {"median": 0.5, "low": 0.5, "high": 0.5}
    assert timing.summary([1.0, 2.0, 3.0, 4.0, 100.0]) == {"median": 3.0, "low": 2.0, "high": 4.0}


class Holding:
    """A run that holds so many megabytes while it works, and returns half of them."""

    spoils = False

    def __init__(self, megabytes):
        self.megabytes = megabytes

    def prepared(self):
        return None

    def __call__(self, prepared=None):
        whole = np.ones(self.megabytes * 131072)
        return whole[: len(whole) // 2].copy()


@pytest.mark.skipif(memory.extra(Holding(1), "cpu") is None, reason="this system does not tell")
@pytest.mark.parametrize("megabytes", [40, 160])
def test_memory(megabytes):
    found = memory.extra(Holding(megabytes), "cpu")
    assert found == pytest.approx(1.5 * megabytes * 2**20, rel=0.1, abs=4e6)


def measurement(size, seconds, megabytes, loss="sparse"):
    return Measurement(
        loss, size, "function", "jax", "jit", "keras_xent", seconds={"median": seconds}, memory=megabytes and int(megabytes * 1e6)
    )


def test_growth():
    """Time like N V; memory like V alone, and none that can be seen where there is next to none."""
    ones = [
        measurement(f"{rows}x{classes}", 1e-9 * rows * classes, classes / 100)
        for rows, classes in ((2048, 32000), (512, 32000), (128, 32000), (2048, 8000), (2048, 2000))
    ]
    (found,) = growth(ones)
    assert found["time"] == {"N": pytest.approx(1.0), "V": pytest.approx(1.0)}
    assert found["memory"] == {"N": pytest.approx(0.0, abs=1e-12), "V": pytest.approx(1.0)}
    assert growth(ones[:1]) == []
    (found,) = growth([measurement(f"2048x{classes}", 1.0, 0.1) for classes in (2000, 8000)])
    assert found["memory"] == {"N": None, "V": None} and found["time"] == {"N": None, "V": pytest.approx(0.0, abs=1e-12)}


def test_sizes():
    assert parse("2048x32000") == Size(2048, 32000) and str(Size(2048, 32000)) == "2048x32000"
    assert parse("2048x256x128000") == Size(2048, 128000, 256) and str(parse("2048x256x128000")) == "2048x256x128000"
    assert parse("128x10").small and not parse("2048x32000").small
    assert [*map(str, growing(parse("2048x32000")))] == ["2048x2000", "2048x8000", "128x32000", "512x32000", "2048x32000"]
    for wrong in ("2048", "0x10", "8x1", "2048 x 32", "1x2x3x4", "axb", "-1x5"):
        with pytest.raises(ValueError, match=f"{wrong}: expected"):
            parse(wrong)

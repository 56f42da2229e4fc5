"""What the examples share: their command line, a clock, and words that follow from numbers.

Nothing here imports Keras, which reads its backend when it is imported: the command line names one before that.
"""

import argparse
import importlib.util
import os
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

BACKENDS = ("tensorflow", "jax", "torch")
FOR_ALL = ("matplotlib", "rich")


class Parser(argparse.ArgumentParser):
    """Has the options of every example; an error is one line."""

    def __init__(self, description, full, quick, output):
        super().__init__(description=description.partition("\n")[0], allow_abbrev=False)
        self.presets = full, quick
        backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
        self.add_argument("--backend", default=backend, help=f"of Keras: {', '.join(BACKENDS)} (default: %(default)s)")
        for name, most, what in (("seeds", 1000, "repetitions"), ("epochs", 10_000, "per student")):
            if name in full:
                self.add_preset(name, most, what)
        self.add_argument("--output", type=Path, default=Path(output), help="a directory (default: %(default)s)")
        meant = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in quick.items())
        self.add_argument("--quick", action="store_true", help=f"a check: {meant}")

    def add_preset(self, name, most, what, least=1):
        """A whole number that has another default with --quick."""
        about = f"{what} (default: {self.presets[0][name]})"
        self.add_argument(f"--{name.replace('_', '-')}", type=bounded(int, least, most), metavar="N", help=about)

    def add_number(self, name, kind, least, most, default, what):
        """A number with one default."""
        options = {"type": bounded(kind, least, most), "default": default, "metavar": "N" if kind is int else "X"}
        self.add_argument(f"--{name.replace('_', '-')}", **options, help=f"{what} (default: %(default)s)")

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")  # one line, without the usage in front

    def settings(self, arguments=None, needed=()):
        """What was asked for, checked before anything slow happens."""
        settings = self.parse_args(arguments)
        for name, value in self.presets[settings.quick].items():
            if getattr(settings, name) is None:
                setattr(settings, name, value)
        if settings.backend not in BACKENDS:
            self.error(f"backend {settings.backend!r} is none of {', '.join(BACKENDS)}")
        missing = [name for name in (settings.backend, *FOR_ALL, *needed) if importlib.util.find_spec(name) is None]
        if missing:
            self.error(f"not installed: {', '.join(missing)}. Run: pip install '.[examples,{settings.backend}]'")
        try:
            settings.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.error(f"--output {settings.output} cannot be a directory: {error.strerror}")
        if not os.access(settings.output, os.W_OK):
            self.error(f"--output {settings.output} cannot be written to")
        os.environ["KERAS_BACKEND"] = settings.backend
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads only get in the way of networks as small as these
        return settings


def bounded(kind, low, high):
    """What `argparse` calls to turn text into a number from `low` to `high`."""

    def parse(text):
        if not low <= kind(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return kind(text)

    parse.__name__ = kind.__name__  # argparse names it where `kind` itself fails
    return parse


class Watch:
    """Takes the time of each epoch; `keras.callbacks.LambdaCallback(**watch.events)` has it called."""

    def __init__(self, epoch_is_over):
        self.epoch_is_over, self.seconds = epoch_is_over, []
        self.events = {"on_epoch_begin": self.begin, "on_epoch_end": self.end}

    def begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.begun)
        self.epoch_is_over()

    def median(self):
        """Without the first epoch, which compiles."""
        return statistics.median(self.seconds[1:] or self.seconds)


class Quantity(NamedTuple):
    """How a measured number is shown and judged."""

    title: str
    unit: str
    decimals: int
    higher_is_better: bool


QUANTITIES = {
    "test_accuracy": Quantity("test accuracy, %", "points", 2, higher_is_better=True),
    "test_loss": Quantity("test loss, nats", "nats", 3, higher_is_better=False),
}


def differences(rows, row, baseline, key):
    """One per seed."""
    return np.subtract(rows[row][key], rows[baseline][key])


def answer_questions(rows, questions, quantities=QUANTITIES):
    """What the numbers say, in words: of each question, a pair of rows, and each quantity."""
    return {
        question: {key: verdict(differences(rows, *pair, key), quantity) for key, quantity in quantities.items()}
        for question, pair in questions.items()
    }


def spread(values, decimals, sign="-"):
    """The mean ± the standard deviation over the seeds, which a single value has not."""
    deviation = f" ± {np.std(values, ddof=1):.{decimals}f}" if len(values) > 1 else ""
    return f"{np.mean(values):{sign}z.{decimals}f}{deviation}"


def verdict(paired_differences, quantity):
    """What one difference per seed says, in words: it counts if the 95% interval of its mean leaves out 0."""
    from scipy.stats import t as student_t

    count, mean = len(paired_differences), np.mean(paired_differences)
    measured = f"{mean:+z.{quantity.decimals}f}"
    if count < 2:
        return f"cannot be told from one seed ({measured} {quantity.unit})"
    margin = student_t.ppf(0.975, count - 1) * np.std(paired_differences, ddof=1) / np.sqrt(count)
    measured = f"({measured} ± {margin:.{quantity.decimals}f} {quantity.unit})"
    if abs(mean) <= margin:
        return f"no difference beyond the seeds' spread {measured}"
    return f"{'better' if (mean > 0) == quantity.higher_is_better else 'worse'} {measured}"


def draw_lines(axis, values, names):
    """A dot per network: those of one seed share a colour and are joined, since they are what can be compared."""
    heights = np.arange(len(names))
    axis.plot(np.array(values), heights, "o-", linewidth=0.8, alpha=0.7)
    axis.plot(np.mean(values, axis=1), heights, "|", markersize=26, markeredgewidth=2, color="black")
    axis.set_yticks(heights, names)
    axis.grid(axis="x", alpha=0.3)
    axis.invert_yaxis()


def draw_quantities(rows, names, title, path):
    """A picture for each of `QUANTITIES`, side by side."""
    import matplotlib

    matplotlib.use("Agg")  # draws into files; needs no display
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(13, 6), layout="constrained")
    figure.suptitle(f"{title} (a colour per seed, bar: mean)")
    for axis, (key, quantity), shown in zip(axes, QUANTITIES.items(), (names, [""] * len(rows)), strict=True):
        draw_lines(axis, [row[key] for row in rows], shown)
        axis.set_xlabel(quantity.title)
    if np.max([row["test_loss"] for row in rows]) > 2 * np.median([row["test_loss"] for row in rows]):
        axes[1].set_xscale("log")  # one of the losses is far from the others
    figure.savefig(path, dpi=120)
    plt.close(figure)


def new_console():
    """Where an example prints; a log has no width of its own."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def print_answers(console, answers):
    """The answers to the questions, a line for each quantity."""
    for question, answer in answers.items():
        console.print(f"[bold]{question}[/]")
        for key, words in answer.items():
            console.print(f"  {key.replace('_', ' ')}: {words}")
    console.print("  [dim](mean of the paired differences ± half its 95% interval)[/]")

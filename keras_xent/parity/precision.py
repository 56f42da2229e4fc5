"""How exact the losses are beside Keras's, on every backend that is installed: a table of measured errors.

`python -m keras_xent.parity.precision --help` says what is measured, and how.
"""

import argparse
import itertools
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from .bounds import LIMIT, SLACK
from .processes import BACKENDS, Child, CrashError, installed, progress_bars
from .report import listed

BEGIN, END = "<!-- precision: begin -->", "<!-- precision: end -->"
FULL = {"scales": [0.01, 1.0, 30.0, 1000.0], "classes": [2, 50, 5000, 50_000]}
QUICK = {"scales": [1.0, 30.0], "classes": [2, 5000], "elements": 20_000, "exact": 40, "modes": 1}
ALL_DIGITS = 2.0**23 * 0.999  # ε: an error of 100 %

DESCRIPTION = """
Measures the precision of the losses of this package and of Keras's built-in ones, from float32 logits, on each backend in a
process of its own, and prints a Markdown table: the largest relative error of any element, in float32 epsilons (1.2e-7), of the
losses (value) and of their gradient with respect to the logits.

Logits are normal numbers of scale 0.01, 1, 30 and 1000, with 2, 50, 5,000 and 50,000 classes. Half of the targets are the largest
logit: right and, at the larger scales, confident predictions. Programs run as Keras runs them: eagerly and compiled by XLA on
TensorFlow, compiled on JAX, eagerly on PyTorch. Keras has no sparse focal loss; its Kullback-Leibler and generalised losses take
probabilities, and are given softmax(logits).

The truth is keras_xent.reference in float64. Of focal, Kullback-Leibler and generalised losses a sample is computed in 60 digits
(mpmath), which also checks the reference.
"""
EPILOG = """
How an error is measured:
  relative to the element itself, but where the result is a difference by nature: the gradient of soft targets, a p - b, relative
  to the larger of a p and b; the Kullback-Leibler divergence, cross-entropy - entropy, relative to the cross-entropy.
  Elements below 2**-126, the smallest normal float32, do not count: TensorFlow and JAX flush them to 0. For the same reason
  2**-125 of the error of a focal or generalised loss does not count: parts of its sums are flushed.

In the table:
  lost    an error of 100 % or more, such as a loss or a gradient of 0
  NaN     not finite
  12 %    beside an error of Keras's: the share of elements that are off by more than 64 epsilons

Exit code:
  0  ours are within 64 epsilons everywhere, and nowhere (per loss, scale, number of classes and backend) worse than Keras's
     by more than 16 epsilons: both sum terms of as many roundings, in another order
  1  they are not, or a backend failed
  2  the arguments are wrong, or something is not installed

With --write FILE the table, whatever it shows, replaces what is between "<!-- precision: begin -->" and "<!-- precision: end -->"
in FILE.
"""


def main(argv=None):
    """Measures, prints, writes; returns the exit code."""
    arguments = parse(argv)
    plan = QUICK if arguments.quick else FULL
    found = {}
    for backend in arguments.backend:
        try:
            found[backend] = measure(backend, plan)
        except CrashError as error:
            print(error, file=sys.stderr)
            return 1
    text = report(found, plan, command(arguments))
    print(text)
    if arguments.write:
        write(arguments.write, text)
    failures = [f"{BACKENDS[backend]}: {failure}" for backend in found for failure in failed(found[backend][1])]
    print("\n".join(failures) or f"Within {LIMIT:g} ε, and nowhere worse than Keras's by more than {SLACK:g} ε.", file=sys.stderr)
    return 1 if failures else 0


def parse(argv):
    """The arguments; ends the process with code 2 where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_xent.parity.precision",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="also put the table into this Markdown file")
    parser.add_argument("--quick", action="store_true", help="two scales, 2 and 5,000 classes, no XLA on TensorFlow")
    parser.add_argument(
        "--backend", nargs="+", choices=BACKENDS, metavar="NAME", help=f"{', '.join(BACKENDS)} (default: all that are installed)"
    )
    arguments = parser.parse_args(argv)
    for module in ("rich", "mpmath"):
        if not installed(module):
            parser.error(f"{module} is not installed: pip install 'keras_xent[test]'")
    for backend in arguments.backend or ():
        if not installed(backend):
            parser.error(f"{BACKENDS[backend]} is not installed: pip install 'keras_xent[{backend}]'")
    arguments.backend = list(dict.fromkeys(arguments.backend or filter(installed, BACKENDS)))
    if arguments.write:
        try:
            split(arguments.write.read_text("utf-8"))
        except (OSError, ValueError) as error:
            parser.error(f"--write {arguments.write}: {error}")
    return arguments


def command(arguments):
    """What was run, to be shown beside the table."""
    words = ["python -m keras_xent.parity.precision"]
    if arguments.backend != [*filter(installed, BACKENDS)]:
        words += ["--backend", *arguments.backend]
    words += ["--quick"] if arguments.quick else []
    words += ["--write", arguments.write.name] if arguments.write else []
    return " ".join(words)


def measure(backend, plan):
    """What one process finds out on one backend: what it ran on, and the measurements."""
    setting: dict[str, Any] = {}
    measurements: list[dict[str, Any]] = []
    with progress_bars() as progress, Child(backend) as child:
        task = progress.add_task(BACKENDS[backend], total=None)
        for answer in child.ask("precision", **plan):
            setting |= answer.get("setting", {})
            measurements += answer.get("measurements", [])
            progress.update(task, total=answer.get("total"), advance=answer.get("done", 0))
    return setting, measurements


def failed(measurements):
    """In words, where ours is beyond the limit or worse than Keras's."""
    places = defaultdict(dict)
    for one in measurements:
        what = f"{one['case']} ({one['what']}), {one['quantity']}, {one['classes']} classes, scale {one['scale']:g}"
        places[f"{what}, {one['mode']}" if one["mode"] else what][one["who"]] = one["worst"]
    for place, worst in places.items():
        if worst.get("float64", 0.0) > 0.01:
            yield f"{place}: the reference is off by {worst['float64']:g} ε"
        if worst.get("ours", 0.0) > LIMIT:
            yield f"{place}: {worst['ours']:.4g} ε"
        if "Keras" in worst and worst["ours"] > worst["Keras"] + SLACK:
            yield f"{place}: {worst['ours']:.4g} ε, Keras's {worst['Keras']:.4g} ε"


def report(found, plan, command):
    """The table in Markdown, and above it what it shows."""
    versions = [
        f"{name} {setting['versions'][name]}"
        for name in ("Keras", *BACKENDS.values())
        for setting, _ in found.values()
        if name in setting["versions"]
    ]
    versions = dict.fromkeys(versions)
    devices = dict.fromkeys(setting["device"] for setting, _ in found.values())
    above = (
        f"`{command}` measured on {listed(devices)} with {listed(versions)}, from logits of scale "
        f"{listed(f'{scale:g}' for scale in plan['scales'])} with {listed(f'{number:,}' for number in plan['classes'])} classes, "
        'half of the targets the largest: the largest relative error of any element, in float32 ε (1.2e-7). "lost" is 100 % or '
        f"more; beside Keras's stands the share of elements beyond {LIMIT:g} ε. Focal: γ = 2 and 0.5; generalised: q = 0.5; "
        "Keras's last two are given softmax(logits). What is a difference by nature is measured by the larger of its two terms: "
        "the gradients of soft targets, and the value of the divergence (by the cross-entropy)."
    )
    heads = [f"{BACKENDS[backend]}, {who}" for backend in found for who in ("ours", "Keras")]
    rows = [("loss", *heads), ("---",) * (1 + len(heads))]
    every = [measurements for _, measurements in found.values()]
    for case, quantity in dict.fromkeys((one["case"], one["quantity"]) for one in every[0]):
        shown = [
            cell([one for one in measurements if (one["case"], one["quantity"], one["who"]) == (case, quantity, who)])
            for measurements, who in itertools.product(every, ("ours", "Keras"))
        ]
        rows.append((f"{case}: {quantity}", *shown))
    return "\n".join([above, "", *(f"| {' | '.join(row)} |" for row in rows)])


def cell(measurements):
    """The worst of several measurements, and of Keras's the share beyond the limit."""
    if not measurements:
        return "none"
    worst = max(one["worst"] for one in measurements)
    shown = f"{worst:.2g}" if worst < 100 else f"{worst:.0f}" if worst < 1e4 else f"{worst:.0e}".replace("e+0", "e")
    if worst > ALL_DIGITS:
        shown = "lost" if worst < float("inf") else "NaN"
    share = 100 * sum(one["above"] for one in measurements) / sum(one["count"] for one in measurements)
    if measurements[0]["who"] == "ours" or not share:
        return shown
    return f"{shown}, {f'{share:.1g}' if share < 1 else f'{share:.0f}'} %"


def split(text):
    """What is before the table in a file, and what is after it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"it lacks the line {BEGIN if not begin else END}")
    return before, after


def write(path, table):
    """Replaces what is between the two markers."""
    before, after = split(path.read_text("utf-8"))
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""`keras-xent parity`: the losses against the definition, Keras and other libraries, on every backend and device that is here."""

import argparse
import ast
import os
import shlex
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .._command_line import Parser, whole, writable
from . import formats, known, versions
from .cases import KINDS
from .choose import CASES, QUICK_CASES
from .corpus import GROUPS
from .processes import BACKENDS, PATIENCE, Child, CrashError, gpu_possible, installed, progress_bars
from .regions import REGIONS
from .report import Place, Report, listed

WIDTH, WIDE = 160, 240  # of tables in a file or a log
NO_GPU = "GPU: not run: there is none here (no device file of NVIDIA or AMD)"
DESCRIPTION = """
Checks losses: value and gradient, eager and compiled, over a seeded corpus of ordinary, extreme and degenerate inputs, all
dtypes, ranks, axes, reductions and weights, on each installed backend and device, in a process of its own.

Without --loss: every keras_xent loss against its definition (NumPy, float64), Keras's built-in loss and, where installed,
tf_keras (on TensorFlow), torch.nn.functional (PyTorch) and optax (JAX); and whether every named difference from Keras is still as
stated (see --known).
With --loss: that loss alone; a loss of your own, named module:Name, is compared with --reference (default: the definition).
"""
EPILOG = """
examples:
  keras-xent parity --quick
  keras-xent parity --backend jax torch --json report.json --markdown "$GITHUB_STEP_SUMMARY"
  keras-xent parity --loss my_losses:MyCrossentropy --reference Keras --corpus CategoricalCrossentropy --arg from_logits=True
  keras-xent parity --keras oldest installed 3.16.0rc1

errors and bounds:
  Relative to each element, in ε of its dtype (float32: 1.2e-7). This package's losses are to be within (80 + √n) ε of the
  definition, n the number of predictions; where the other side rounds too, twice that, relative to the logits (1 for gradients)
  where those are larger. Losses of your own are measured by the latter, as textbook formulas need; --strict measures them as
  our own.

exit status:
  0  everything is within its bounds, or a known difference from Keras
  1  a disagreement, a named difference that is no longer as stated, or a process that crashed
  2  wrong usage, or nothing to run
"""


def add_arguments(parser):
    """The options."""
    what = parser.add_argument_group("what is compared")
    what.add_argument(
        "--loss", nargs="+", metavar="NAME", help="a keras_xent loss (several: each), or one of your own: module:Name"
    )
    what.add_argument(
        "--reference",
        metavar="NAME",
        help="what a loss of your own is compared with: definition (default), Keras, keras_xent, tf_keras, "
        "torch.nn.functional, optax, a keras_xent loss, or module:Name",
    )
    what.add_argument(
        "--arg", action="append", default=[], metavar="KEY=VALUE", help="an argument of both, in all cases; repeatable"
    )
    what.add_argument("--corpus", choices=KINDS, metavar="LOSS", help="the keras_xent loss that takes the same inputs as yours")
    what.add_argument("--strict", action="store_true", help="measure a loss of your own by the bounds of this package's")
    what.add_argument("--cases", metavar="N", help=f"cases per loss, or all (default: {CASES})")
    what.add_argument(
        "--groups", nargs="+", choices=GROUPS, metavar="GROUP", help="; ".join(f"{k}: {v}" for k, v in GROUPS.items())
    )
    what.add_argument("--seed", default="0", metavar="N", help="of the corpus (default: 0); same seed, same report")
    what.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_CASES} cases per loss, in one mode (compiled on JAX, else eager), and no named differences: under a minute",
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--backend", nargs="+", choices=BACKENDS, metavar="NAME", help=f"{', '.join(BACKENDS)} (default: all installed)"
    )
    where.add_argument("--device", choices=("cpu", "gpu", "all"), default="all", help="(default: all that are here)")
    where.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="a process that says nothing for so long is ended, and reported as crashed (default: %(default)g)",
    )
    where.add_argument(
        "--keras",
        nargs="+",
        default=["installed"],
        metavar="VERSION",
        help="versions of Keras, fetched with pip: installed, oldest (that is supported), newest, a version, a wheel, or "
        "whatever pip takes (default: installed)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--known", action="store_true", help="print the named differences from Keras as a table, and stop")
    for name, words in (
        ("json", "all figures"),
        ("junit", "a test report in JUnit's XML"),
        ("markdown", "a summary for a CI page"),
    ):
        output.add_argument(f"--{name}", type=Path, metavar="FILE", help=words)


def parse(argv, prog="keras-xent parity"):
    """The arguments, checked; ends the process with status 2 where they are wrong."""
    parser = Parser(prog=prog, description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    options = parser.parse_args(argv)
    if not installed("rich"):
        parser.error("rich is not installed: pip install 'keras_xent[cli]'")
    here = [*filter(installed, BACKENDS)]
    for backend in options.backend or ():
        if backend not in here:
            parser.error(f"{BACKENDS[backend]} is not installed: pip install 'keras_xent[{backend}]'")
    options.backend = list(dict.fromkeys(options.backend or here))
    options.arg = dict(argument(parser, text) for text in options.arg)
    options.cases = count(parser, options)
    options.seed = whole(parser, "--seed", options.seed, 0)
    if not options.patience > 0:
        parser.error(f"--patience {options.patience:g}: expected a number of seconds above 0")
    options.groups = options.groups or list(GROUPS)
    own = [name for name in options.loss or () if ":" in name]
    options.custom = bool(own or options.reference or options.arg or options.corpus or options.strict)
    if options.custom and len(options.loss or ()) != 1:
        parser.error("--reference, --arg, --corpus, --strict and losses of your own need exactly one --loss")
    for name in set(options.loss or ()) - set(own):
        if name not in KINDS:
            parser.error(f"there is no keras_xent loss {name}: choose from {', '.join(KINDS)}, or name your own as module:Name")
    if options.device == "gpu" and not gpu_possible():
        parser.error(f"nothing to run: {NO_GPU}")
    writable(parser, options.json, options.junit, options.markdown)
    return parser, options


def argument(parser, text):
    """`key=value`, the value as in Python, or else a string."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        parser.error(f"--arg {text}: expected KEY=VALUE")
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return key, words[value.lower()]
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def count(parser, options):
    """The number of cases per loss; None: all."""
    if options.cases is None:
        return QUICK_CASES if options.quick else CASES
    if options.cases == "all":
        return None
    return whole(parser, "--cases", options.cases, 1, ", or all")


def main(argv=None):
    """Runs what is asked for; returns the exit status."""
    from rich.console import Console

    argv = sys.argv[1:] if argv is None else argv
    parser, options = parse(argv)
    console = Console(width=None if sys.stdout.isatty() else WIDE if options.known else WIDTH)
    if options.known:
        show_known(console)
        return 0
    with tempfile.TemporaryDirectory() as directory:
        places = {}
        for number, wanted in enumerate(dict.fromkeys(options.keras)):
            path = None
            if wanted != "installed":
                path = Path(directory) / str(number)
                try:
                    versions.install(wanted, path)
                except OSError as error:
                    parser.error(str(error))
            for device in ("cpu", "gpu"):
                if options.device in (device, "all") and (device == "cpu" or gpu_possible()):
                    for backend in options.backend:
                        places[len(places)] = Place(backend, device, wanted), path
        notes = [NO_GPU] if options.device == "all" and not gpu_possible() else []
        notes += ["--quick: one mode for each backend, and no named differences"] if options.quick else []
        report = Report(
            shlex.join(["keras-xent", "parity", *argv]),
            [place for place, _ in places.values()],
            {region.name: region.words for region in REGIONS},
            notes,
        )
        try:
            run([*places.values()], task_of(options), options.patience)
        except KeyboardInterrupt:
            print(f"{parser.prog}: interrupted", file=sys.stderr)
            return 130
    usage = [place.usage for place in report.places if place.usage]
    if usage and report.exit_status == 2:
        parser.error(usage[0])
    if report.exit_status == 2:
        parser.error(
            "nothing to run: " + (listed([*report.settings()]) or "no backend is installed: pip install 'keras_xent[jax]'")
        )
    formats.to_terminal(report, console)
    for path, form in (
        (options.json, formats.to_json),
        (options.junit, formats.to_junit),
        (options.markdown, formats.to_markdown),
    ):
        try:
            if path is not None:
                with path.open("a" if path == options.markdown else "w", encoding="utf-8") as file:
                    file.write(form(report))
        except OSError as error:
            parser.error(f"{path} cannot be written: {error.strerror}")
    return report.exit_status


def task_of(options):
    """What each process is to do."""
    common = {"cases": options.cases, "seed": options.seed, "groups": options.groups, "one_mode": options.quick}
    if options.custom:
        (loss,) = options.loss
        return common | {
            "task": "custom",
            "loss": loss,
            "reference": options.reference or "definition",
            "arguments": options.arg,
            "corpus": options.corpus,
            "strict": options.strict,
        }
    return common | {"task": "losses", "names": list(options.loss or KINDS), "known": checks_known(options)}


def checks_known(options):
    """Whether the named differences from Keras are looked at, which takes JAX half a minute."""
    return not (options.quick or options.custom or options.loss)


def run(places, task, patience=PATIENCE):
    """Lets as many processes as there are cores work side by side, and shows how far they are."""
    order = {"jax": 0, "torch": 1, "tensorflow": 2}  # what takes longest first
    children = []
    with progress_bars() as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = []
        for place, path in sorted(places, key=lambda pair: order[pair[0].backend]):
            children.append(Child(place.backend, place.device, path, patience))
            futures.append(pool.submit(work, place, children[-1], task, progress, progress.add_task(place.name, total=None)))
        try:
            for future in futures:
                future.result()
        except BaseException:  # an interrupt: the threads wait for processes, which know nothing of it
            pool.shutdown(wait=False, cancel_futures=True)
            for child in children:
                child.give_up()
            raise


def work(place, child, task, progress, bar):
    """Asks the process of one place, and notes what it says."""
    begun = time.monotonic()
    with child:
        try:
            for answer in child.ask(path=[os.getcwd()], **task):
                if "total" in answer:
                    progress.update(bar, total=answer["total"])
                progress.advance(bar, place.add(answer))
        except CrashError as error:
            place.crash = str(error)
    if not progress.console.is_terminal:
        progress.console.print(
            f"{place.name}: {'crashed' if place.crash else 'done'} after {time.monotonic() - begun:.0f} s", highlight=False
        )


def show_known(console):
    """The named differences, each with what Keras gives and why."""
    from rich.table import Table
    from rich.text import Text

    heads, rows = known.listing()
    table = Table(*heads, show_lines=True)
    for *row, upstream in rows:
        thread = "#".join(upstream.removeprefix("https://github.com/").rsplit("/", 2)[::2])  # owner/name#number
        table.add_row(*row, Text(thread, style=f"link {upstream}" if upstream else ""))
    console.print(table)
    console.print(f"{len(rows)} named differences.", highlight=False)

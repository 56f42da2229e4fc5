"""`keras-xent bench`: time and memory of the losses, beside Keras's and other libraries'."""

import argparse
import shlex
import sys
from pathlib import Path

from .._command_line import Parser, whole, writable
from .._only_backend import installed
from ..parity.implementations import UsageError
from ..parity.processes import BACKENDS
from .plan import MODES, USUAL, listing, planned
from .processes import carried_out
from .sizes import BYTES

WIDTH = 180  # of tables in a file or a log
DESCRIPTION = """
Measures loss and gradient of the mean: every loss of keras_xent beside Keras's built-in one and, where installed, those of
torch.nn.functional, optax, Liger, cut-cross-entropy and tokamax, on each installed backend and in each of its modes.

Each contender is first held against the definition (NumPy, float64), value and gradient, and not timed if it computes something
else. Times are taken round by round in one process: each contender once a round, in a new order each time.
"""
EPILOG = f"""
losses:
{listing()}

examples:
  keras-xent bench --quick
  keras-xent bench --loss sparse dense --backend jax --json bench.json
  keras-xent bench --loss sparse --size 4096x50000 --size 4096x151936 --dtype bfloat16 --device gpu
  keras-xent bench --loss linear --size 2048x256x128000 --growth --plot bench.png
  keras-xent bench --backend torch --compile

the table:
  ratio to Keras   the median over the rounds of time / time of Keras's in the same round, and its quartiles; below 1 is faster
  copies           the same, to one pass over the logits (x + 1): two reads and a write are 1.5
  extra memory     the most that a warm call holds beside its inputs, in a process of its own (on CPUs VmHWM, which Linux has),
                   also as a multiple of the logits
  first call       with compilation, which no other figure has in it
  Sizes of up to 100,000 logits are calls of the Loss object, with its checks and its reduction; larger ones of the function.
  time by N: N^1.0 is a time that doubles with the rows; memory below 1 MB is left out, as it cannot be told from noise.
  Without --quick and --loss it takes many minutes for each backend; the machine should have nothing else to do.

exit status:
  0  measured
  1  a loss of keras_xent or of Keras failed or computes something else, or a process crashed
  2  wrong usage
"""


def add_arguments(parser):
    """The options."""
    what = parser.add_argument_group("what is measured")
    what.add_argument("--loss", nargs="+", metavar="NAME", help="one or several of the losses below (default: all)")
    what.add_argument(
        "--size",
        action="append",
        metavar="NxV",
        help="rows x classes, for linear losses rows x hidden x classes (NxHxV); repeatable (default: 2048x32000 and 128x10; "
        "linear: 2048x256x128000)",
    )
    what.add_argument("--dtype", default="float32", metavar="NAME", help=f"{', '.join(BYTES)} (default: float32)")
    what.add_argument(
        "--growth",
        action="store_true",
        help="also a quarter and a sixteenth of N and of V: exponents of the growth (with --quick of the first loss)",
    )
    what.add_argument("--no-memory", action="store_true", help="times alone")
    what.add_argument(
        "--repeats", metavar="N", help="rounds (default: as many as fit into 20 seconds, between 3 and 15, for each row)"
    )
    what.add_argument(
        "--quick", action="store_true", help="four losses, small sizes, one mode, memory of the first loss: under a minute"
    )
    where = parser.add_argument_group("where")
    where.add_argument("--backend", nargs="+", metavar="NAME", help=f"{', '.join(BACKENDS)} (default: all installed)")
    modes = "; ".join(f"{BACKENDS[backend]}: {', '.join(names)}" for backend, names in MODES.items())
    where.add_argument("--mode", nargs="+", metavar="NAME", help=f"{modes} (default: graph and xla; jit; eager)")
    where.add_argument("--compile", action="store_true", help="torch.compile as well")
    where.add_argument("--device", default="cpu", metavar="NAME", help="cpu or gpu (default: cpu)")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    output.add_argument("--markdown", type=Path, metavar="FILE", help="the table, for a page")
    output.add_argument(
        "--plot", type=Path, metavar="FILE", help="time and memory against V (png, pdf, svg); implies --growth without --size"
    )


def parse(argv, prog="keras-xent bench"):
    """The options and the plan; ends the process with status 2 where they are wrong."""
    parser = Parser(prog=prog, description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    options = parser.parse_args(argv)
    if not installed("rich"):
        parser.error("rich is not installed: pip install 'keras_xent[cli]'")
    if options.plot and not installed("matplotlib"):
        parser.error("matplotlib, which --plot needs, is not installed: pip install 'keras_xent[bench]'")
    if options.plot and options.plot.suffix not in (".png", ".pdf", ".svg"):
        parser.error(f"--plot {options.plot}: expected a name that ends in .png, .pdf or .svg")
    modes = options.mode
    if options.compile:
        modes = [*(modes or (mode for names in USUAL.values() for mode in names)), "compile"]
    repeats = None if options.repeats is None else whole(parser, "--repeats", options.repeats, 1)
    try:
        plan = planned(
            options.loss,
            options.backend,
            options.size,
            modes,
            options.dtype,
            options.device,
            repeats,
            growth=options.growth or bool(options.plot and not options.size),
            memory=not options.no_memory,
            quick=options.quick,
        )
    except UsageError as error:
        parser.error(str(error))
    writable(parser, options.json, options.markdown, options.plot)
    return parser, options, plan


def main(argv=None):
    """Measures what is asked for; returns the exit status."""
    from rich.console import Console

    argv = sys.argv[1:] if argv is None else argv
    parser, options, plan = parse(argv)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        results = carried_out(plan, shlex.join(["keras-xent", "bench", *argv]))
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    show(results, console)
    try:
        if options.json:
            options.json.write_text(results.to_json(), "utf-8")
        if options.markdown:
            options.markdown.write_text(results.to_markdown(), "utf-8")
        if options.plot:
            from .plot import plot

            plot(results, options.plot)
    except OSError as error:
        parser.error(f"{error.filename} cannot be written: {error.strerror}")
    return results.exit_status


def show(results, console):
    """On what it was measured, the tables, what went wrong."""
    from rich.table import Table

    for line in results.header():
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    heads, rows = results.table()
    table = Table(*heads)
    places = [one.place for one in results.measurements]
    for number, (one, row) in enumerate(zip(results.measurements, rows, strict=True), 1):
        table.add_row(*row, style="red" if one.problem else None, end_section=one.place not in places[number:])
    console.print(table)
    heads, rows = results.growth_table()
    if rows:
        table = Table(*heads, title="Growth", title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in [*results.notes, *results.crashes]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

"""`keras-xent explain`: a loss on given numbers, or what a temperature does, in any form."""

import argparse
import json
import sys
from pathlib import Path

import keras
import numpy as np

import keras_xent

from .. import _checks
from .._command_line import Parser
from ..parity.cases import KINDS
from ..parity.command import argument
from ..parity.text import printable
from .explaining import explain
from .subjects import FUNCTIONS
from .temperatures import Temperatures
from .trace import Shown

FORMATS = ("text", "table", "markdown", "json", "html")
WIDTH = 140  # of a table in a file
DESCRIPTION = """
Explains a loss on given numbers: every step with its formula and the array it makes, where it clips, saturates, ignores or
weighs, the per-example losses, the reduction with its denominator, and the gradient, on the active backend (KERAS_BACKEND).

LOSS is a loss of keras_xent (CategoricalCrossentropy), or one of Keras's, as keras:CategoricalCrossentropy or by the name that
compile(loss=...) takes (categorical_crossentropy): that is explained by its twin here, with Keras's own number and the known
difference beside it.
"""
EPILOG = """
examples:
  keras-xent explain SparseCategoricalCrossentropy --y-true '[1, 2]' --y-pred '[[0.05, 0.95, 0], [0.1, 0.8, 0.1]]'
  keras-xent explain categorical_crossentropy --y-true '[[1, 0]]' --y-pred '[[-30, 0]]' --arg from_logits=True --format table
  keras-xent explain BinaryCrossentropy --y-true labels.npy --y-pred predictions.npy --sample-weight weights.npy --plot loss.png
  keras-xent explain DistillationLoss --arg targets=logits --arg temperature=2 --y-true '[[6, 3, 1]]' --y-pred '[[4, 2.5, 0]]'
  keras-xent explain --temperatures 1,2,4,8
  keras-xent explain --temperatures 1,4 --y-true '[6, 3, 1]' --y-pred '[4, 2.5, 0]' --format html > temperatures.html

exit status:
  0  explained
  2  wrong usage, or numbers that the loss refuses
"""


def add_arguments(parser):
    """The options."""
    parser.add_argument("loss", nargs="?", metavar="LOSS", help=f"one of {', '.join(KINDS)}, or a name of Keras's")
    numbers = parser.add_argument_group("numbers, as lists or .npy files")
    numbers.add_argument("--y-true", metavar="NUMBERS", help="the targets; with --temperatures the teacher's logits")
    numbers.add_argument("--y-pred", metavar="NUMBERS", help="the predictions; with --temperatures the student's logits")
    numbers.add_argument("--sample-weight", metavar="NUMBERS", help="the weights of the losses")
    parser.add_argument("--arg", action="append", default=[], metavar="KEY=VALUE", help="an argument of the loss; repeatable")
    parser.add_argument(
        "--temperatures", metavar="T,T,...", help="show what these temperatures do to logits (default: an example), and to T² D"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=FORMATS, default="text", help="(default: text); table needs rich")
    output.add_argument("--plot", type=Path, metavar="FILE", help="write pictures too (.png, .svg, .pdf); needs matplotlib")


def main(argv=None):
    """Runs what is asked for; returns the exit status."""
    parser = Parser(
        prog="keras-xent explain", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    try:
        shown = temperatures(parser, options) if options.temperatures is not None else trace(parser, options)
        if options.plot is not None:
            shown.plot(options.plot)
        show(shown, options.format)
    except ImportError as error:
        parser.error(str(error))
    except (OSError, TypeError, ValueError) as error:  # what a loss, matplotlib or a file refuses
        parser.error(printable(str(error)))
    return 0


def trace(parser, options):
    """The loss on the numbers."""
    name = options.loss or parser.error("a loss is missing: name one, or pass --temperatures")
    for option in ("y_true", "y_pred"):
        if getattr(options, option) is None:
            parser.error(f"--{option.replace('_', '-')} is missing")
    given = [numbers(parser, name, getattr(options, name)) for name in ("y_true", "y_pred", "sample_weight")]
    arguments = dict(argument(parser, text) for text in options.arg)
    return explain(loss_of(parser, str(name), arguments), *given)


def temperatures(parser, options):
    """The temperatures on the logits."""
    if options.loss is not None or options.arg or options.sample_weight is not None:
        parser.error("--temperatures takes logits alone: no loss, --arg or --sample-weight")
    each = []
    try:
        each += [float(text) for text in options.temperatures.split(",")]
    except ValueError:
        parser.error(f"--temperatures {options.temperatures}: expected numbers such as 1,2,4,8")
    if options.y_pred is not None and options.y_true is None:
        parser.error("--y-true is missing: with --temperatures it holds the teacher's logits")
    return Temperatures(each, *(numbers(parser, name, getattr(options, name)) for name in ("y_true", "y_pred")))


def loss_of(parser, name: str, arguments):
    """What is named: a class of this package, or a loss of Keras."""
    if name in KINDS:
        owner = keras_xent
    else:
        name, owner = name.removeprefix("keras:"), keras.losses
        name = FUNCTIONS.get(name) or name
        if not arguments and name not in KINDS:
            return name  # an abbreviation of Keras's
        owner = owner if hasattr(owner, name) else keras_xent
    if name not in KINDS:
        parser.error(f"there is no loss {name}: choose from {', '.join(KINDS)}, or name one of Keras's")
    try:
        return getattr(owner, name)(**arguments)
    except TypeError as error:
        parser.error(f"{name} cannot be made: {printable(str(error))} (see --arg)")


def numbers(parser, name, text):
    """An array out of a Python list or a file."""
    if text is None:
        return None
    option = f"--{name.replace('_', '-')}"
    if text.endswith(".npy"):
        try:
            return np.load(text, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            parser.error(f"{option} {text} cannot be read: {getattr(error, 'strerror', None) or error}")
    try:
        return _checks.number_array(option, json.loads(text))
    except (TypeError, ValueError):
        parser.error(f"{option} {text}: expected numbers such as '[[0.1, 0.9]]' (also NaN and Infinity), or a .npy file")


def show(shown, form):
    """On standard output."""
    if form == "table":
        try:
            from rich.console import Console
        except ImportError as error:
            raise ImportError("--format table needs rich: pip install 'keras_xent[cli]'") from error
        Console(width=None if sys.stdout.isatty() else WIDTH).print(shown)
    else:
        forms = {"text": str, "markdown": Shown.to_markdown, "html": Shown.to_html, "json": as_json}
        print(forms[form](shown).rstrip("\n"))


def as_json(shown):
    """All of it as JSON."""
    return json.dumps(shown.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)

"""The command `keras-xent`."""

import io
import sys

import keras_xent

COMMANDS = {
    "explain": "how is a loss computed? every step on given numbers, and what a temperature does",
    "parity": "does a loss agree with the definition and with Keras, on every backend and device here?",
    "bench": "how fast are the losses, and how much memory do they take, beside Keras's and other libraries'?",
}
USAGE = "usage: keras-xent COMMAND [OPTION ...]\n\ncommands:\n" + "".join(
    f"  {name:9}{words}\n" for name, words in COMMANDS.items()
)
USAGE += "\nkeras-xent COMMAND --help says more; keras-xent --version prints the version.\n"


def main(argv=None):
    """Runs a command; returns its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal or file that cannot hold an ε
    command = argv[0] if argv else None
    if command in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if command == "--version":
        print(f"keras_xent {keras_xent.__version__}")
        return 0
    if command == "explain":
        from .tracing.command import main as explain

        return explain(argv[1:])
    if command == "parity":
        from .parity.command import main as parity

        return parity(argv[1:])
    if command == "bench":
        from .bench.command import main as bench

        return bench(argv[1:])
    said = f"there is no command {command!r}" if command else "a command is missing"
    print(f"keras-xent: {said}; expected one of: {', '.join(COMMANDS)} (see --help)", file=sys.stderr)
    return 2

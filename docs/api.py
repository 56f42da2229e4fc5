"""Pages of all public names, from their docstrings.

python docs/api.py --output build/api
"""

import argparse
import os
import re
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pdoc
import pdoc.docstrings

import keras_xent  # before pdoc does it, which forbids what it imports to start processes

PACKAGE = keras_xent.__name__
BESIDE = ("bench", "domain", "findings", "parity", "tracing")  # rooms that `keras_xent.__all__` does not list


def fence_examples(docstring):
    """Examples as blocks of code: Markdown would take `>>>` for quotations."""
    return re.sub(r"^( *)>>> .*(?:\n *\S.*)*", r"\1```pycon\n\g<0>\n\1```", docstring, flags=re.MULTILINE)


def main(output):
    """Writes the pages."""
    from_google_style = pdoc.docstrings.google
    pdoc.docstrings.google = lambda docstring: from_google_style(fence_examples(docstring))
    pdoc.render.configure(docformat="google", show_source=False)
    keras_xent.explain = keras_xent.explain  # imported when it is asked for, which pdoc does not do
    pdoc.pdoc(PACKAGE, *(f"{PACKAGE}.{room}" for room in BESIDE), output_directory=output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    default = Path("build/api")
    parser.add_argument("--output", type=Path, metavar="DIR", default=default, help="a directory (default: %(default)s)")
    main(parser.parse_args().output)

"""Figures that a notebook shows as they are, and that bring their own paper: dark on white, whatever surrounds them."""

import contextlib
import io

import matplotlib.style
from matplotlib.figure import Figure


class Picture(Figure):
    """A figure of no window; a notebook shows it without `%matplotlib inline`."""

    def _repr_png_(self):
        with on_paper():
            self.savefig(written := io.BytesIO(), format="png", dpi=100)
        return written.getvalue()


def on_paper():
    """Matplotlib's own colours, in which the pictures were looked at; a dark style would draw dark on dark."""
    return matplotlib.style.context("default")


@contextlib.contextmanager
def drawn(width, height, path):
    """A picture to draw on; written to `path` in the end, if there is one."""
    with on_paper():
        figure = Picture(figsize=(width, height), layout="constrained")
        yield figure
        if path is not None:
            figure.savefig(path, dpi=100)

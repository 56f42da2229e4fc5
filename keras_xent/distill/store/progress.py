"""A progress bar: rich's if that is installed, else Keras's."""

import contextlib
import importlib.util
import sys

import keras


@contextlib.contextmanager
def progress_bar(total, done, verbose):
    """A function that says how many batches are done; `total` may be None."""
    if not verbose:
        yield lambda done: None
    elif not use_rich():
        bar = keras.utils.Progbar(total, unit_name="batch")
        yield lambda done: bar.update(done)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("labelling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=total, completed=done)
            yield lambda done: bar.update(task, completed=done)


def use_rich():
    """Whether rich is there, and someone who looks: into a log Keras's bar writes less."""
    return importlib.util.find_spec("rich") is not None and sys.stderr.isatty()

"""What the commands of `keras-xent` share: errors in one line, arguments that are checked before anything runs."""

import argparse


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message):
        """Ends the process with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see --help)\n")


def whole(parser, option, text, low, more=""):
    """A whole number."""
    if not text.isdecimal() or int(text) < low:
        parser.error(f"{option} {text}: expected a number from {low}{more}")
    return int(text)


def writable(parser, *paths):
    """Refuses files that cannot be written, before an hour's work is lost; None stands for no file."""
    for path in paths:
        try:
            if path is not None:
                is_new = not path.exists()
                path.open("a").close()
                if is_new:  # nothing is left behind where nothing is reported
                    path.unlink()
        except OSError as error:
            parser.error(f"{path} cannot be written: {error.strerror}")

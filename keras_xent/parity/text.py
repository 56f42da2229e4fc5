"""Text that others wrote, such as the errors of libraries, fit for a terminal, a page and XML."""

import re

ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-_])")  # by which terminals are told colours
CONTROLS = re.compile(r"[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # which XML cannot hold


def printable(text):
    """The text without colours and without what cannot be shown."""
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", ESCAPES.sub("", text))

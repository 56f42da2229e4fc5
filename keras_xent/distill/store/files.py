"""Files that are either whole or not there, and one writer at a time."""

import contextlib
import errno
import hashlib
import json
import os
import threading
from pathlib import Path

LOCK = ".lock"
UNFINISHED = ".unfinished"  # the end of a name that no reader looks at
BLOCK = 1 << 20


@contextlib.contextmanager
def written_whole(path):
    """The file to write to; it takes its name when it is whole and on the disk, and vanishes if something fails."""
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    try:
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        sync_directory(path.parent)
    except OSError as error:
        raise OSError(error.errno, could_not_write(path, error)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def could_not_write(path, error):
    """What to do about it."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    advice = "Make room" if full else "Mend it"
    return (
        f"{path.name} could not be written to {path.parent}: {error.strerror or error}. What was kept before it is intact. "
        f"{advice} and make the same call again: it goes on from there"
    )


def sync_directory(directory):
    """Makes new names outlast a power cut, where the system can."""
    if os.name == "nt":  # opens no directories
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_unfinished(directory):
    """What a killed writer left behind."""
    for file in directory.glob(f".*{UNFINISHED}"):
        file.unlink()


def checksum(path):
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_json(path, content):
    """JSON, with a checksum of itself."""
    with written_whole(path) as file:
        file.write(json.dumps({**content, "checksum": checksum_of(content)}, indent=1).encode())


def read_json(path):
    """What `write_json` wrote; anything else raises."""
    try:
        content = json.loads(path.read_bytes())
        intact = content.pop("checksum") == checksum_of(content)
    except (ValueError, KeyError, AttributeError, TypeError):  # no JSON, or none of ours
        intact, content = False, {}
    if not intact:
        raise ValueError(
            f"{path} is damaged, or was not written by `write_targets`: its checksum does not fit its content. Put back "
            "an intact copy, or remove the directory and label again."
        )
    return content


def checksum_of(content):
    """The SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_writing: set[Path] = set()  # the system's lock keeps out other processes only
_writing_guard = threading.Lock()


@contextlib.contextmanager
def only_writer(directory):
    """Keeps other writers out of the directory; the system frees the lock of a process that dies."""
    directory = directory.resolve()
    with _writing_guard:
        if directory in _writing:
            raise _second_writer(directory)
        _writing.add(directory)
    try:
        with open(directory / LOCK, "ab") as file:
            if not _lock(file):
                raise _second_writer(directory)
            yield
    finally:
        with _writing_guard:
            _writing.discard(directory)


def _second_writer(directory):
    return ValueError(
        f"Two writers on one store: {directory} is being written to by another call of `write_targets`. Wait for it, or give "
        "each its own directory."
    )


def _lock(file):
    """Whether this process now holds the lock."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not inherited by a data loader's processes
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise
        return False
    return True

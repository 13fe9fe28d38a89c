"""Files from outside, opened so that none of them hangs, fills the memory or ends in a raw error.

A name that somebody gives may stand for a pipe that nobody writes to, a device without an end, a
link to itself, or a file of more bytes than there are on any disk (a sparse one costs nothing).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from ..errors import AdaspringError

# Without O_NONBLOCK, opening a pipe waits for its other end; a regular file does not know it.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_REASONS = {
    errno.EACCES: "Permission denied",
    errno.EPERM: "Permission denied",
    errno.ELOOP: "its symbolic links lead nowhere",
    errno.ENOTDIR: "a part of its path is no folder",
}


class NotRegular(OSError):
    """A name stands for something other than a regular file; `kind` says what."""

    def __init__(self, kind: str, name: str | Path) -> None:
        super().__init__(errno.EINVAL, f"is {kind}, not a file", str(name))
        self.kind = kind


def open_descriptor(name: str | Path, folder: int | None = None, flags: int = 0) -> int:
    """Open a regular file for reading; `name` may be relative to an open folder.

    It is looked at before it is opened, since opening a device may do something; and again
    afterwards, since the name may stand for something else by then.

    Raises:
        NotRegular: it is something else. OSError: as `os.open`.

    """
    follow = not flags & os.O_NOFOLLOW
    _check_kind(os.stat(name, dir_fd=folder, follow_symlinks=follow), name)
    descriptor = os.open(name, _FLAGS | flags, dir_fd=folder)
    try:
        _check_kind(os.fstat(descriptor), name)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_regular(
    path: Path, error: type[AdaspringError], todo: str, *, most_bytes: int | None = None
) -> BinaryIO:
    """Open a file that a user named.

    Args:
        path: its name.
        error: what is raised where it cannot be read, with the reason and `todo`, in one line.
        todo: what to give instead.
        most_bytes: a larger one is refused before a byte of it is read.

    """
    try:
        descriptor = open_descriptor(path)
    except (OSError, ValueError) as problem:
        raise error(f"{path} {why_unreadable(problem)}; {todo}") from problem
    size_bytes = os.fstat(descriptor).st_size
    if most_bytes is not None and size_bytes > most_bytes:
        os.close(descriptor)
        raise error(f"{path} has {size_bytes} bytes, more than the {most_bytes} that are read")
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, error: type[AdaspringError], todo: str, *, most_bytes: int) -> bytes:
    """Read a small file that a user named; `open_regular` says what is refused."""
    try:
        with open_regular(path, error, todo, most_bytes=most_bytes) as file:
            data = file.read(most_bytes + 1)
    except OSError as problem:
        raise error(f"{path} {why_unreadable(problem)}; {todo}") from problem
    if len(data) > most_bytes:  # it grew, or lies in /proc, where sizes are 0
        raise error(f"{path} has more than the {most_bytes} bytes that are read")
    return data


def check_regular(
    path: Path, error: type[AdaspringError], todo: str, *, most_bytes: int | None = None
) -> None:
    """Refuse a file that others will open by its name; `open_regular` says what is refused."""
    open_regular(path, error, todo, most_bytes=most_bytes).close()


def why_unreadable(problem: OSError | ValueError) -> str:
    """Say why a file could not be opened or read, as the end of a sentence about it."""
    if isinstance(problem, FileNotFoundError):
        return "does not exist"
    if isinstance(problem, NotRegular):
        return str(problem.strerror)
    if isinstance(problem, OSError):
        reason = _REASONS.get(problem.errno or 0) or problem.strerror or str(problem)
        return f"cannot be read: {reason}"
    return f"cannot be read: {problem}"


def memory_bytes() -> int:
    """What this machine's memory holds: no file larger than that can be read whole."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _check_kind(status: os.stat_result, name: str | Path) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kinds = (name for holds, name in _KINDS if holds(status.st_mode))
    raise NotRegular(next(kinds, "a symbolic link"), name)

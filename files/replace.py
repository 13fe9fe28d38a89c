"""Folders that appear whole, in the place of others, in one step; and what killed runs leave.

A temporary folder is locked by the process that fills it. Its lock ends with that process, however
it ends, so that a later run knows which folders nobody will go on with.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MARK = "adaspring."


class CannotExchange(OSError):
    """The file system has no way to exchange two folders in one step."""


class TemporaryFolder:
    """A folder among the system's temporary ones, as `tempfile.TemporaryDirectory` is.

    One whose process was killed is swept by the next that is made.
    """

    def __init__(self, purpose: str) -> None:
        parent = Path(tempfile.gettempdir())
        _sweep(parent, _MARK)
        folder, lock = _make_locked(parent, f"{_MARK}{purpose}.")
        self.name = str(folder)
        self.cleanup = weakref.finalize(self, _remove, folder, lock)

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *_: object) -> None:
        self.cleanup()


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder on the file system of `path`, from where something is renamed to it."""
    prefix = f".{path.name}.{_MARK}"
    _sweep(path.parent, prefix)
    folder, lock = _make_locked(path.parent, prefix)
    try:
        yield folder
    finally:
        _remove(folder, lock)


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def _make_locked(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make and lock a folder; again where a sweeping run was faster than the lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            lock = os.open(folder, _FOLDER)
        except FileNotFoundError:
            continue
        with suppress(OSError):  # a file system without locks: then nobody sweeps there either
            fcntl.flock(lock, fcntl.LOCK_SH)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove folders of ours whose process is gone."""
    for name in os.listdir(parent):
        if not name.startswith(prefix):
            continue
        left = parent / name
        try:
            lock = os.open(left, _FOLDER | os.O_NOFOLLOW)
        except OSError:
            continue  # another user's, or no folder
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            pass  # its process lives
        finally:
            os.close(lock)


def put_in_place(new: Path, folder: Path) -> None:
    """Make `new` what `folder` names, in one step; where a folder is there, `new` becomes that.

    Whoever opens `folder`, at any moment, finds the one or the other, also after a kill.

    Raises:
        CannotExchange: the file system cannot. OSError: it cannot be written.

    """
    if folder.exists() and any(folder.iterdir()):
        exchange(new, folder)
    else:
        new.rename(folder)
    sync(folder.parent)


def check_can_replace(folder: Path) -> None:
    """Try what `put_in_place` will do, with empty folders: OSError where it cannot be done.

    Where `folder` is not there yet, nor the one that is to hold it, the nearest one is tried.
    """
    while not folder.parent.exists():
        folder = folder.parent
    with folder_beside(folder) as beside:
        first, second = beside / "first", beside / "second"
        first.mkdir()
        second.mkdir()
        if folder.exists():
            exchange(first, second)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all: to a temporary one beside it, which is then renamed.

    Raises:
        OSError: it cannot be written.

    """
    with folder_beside(path) as beside:
        new = beside / path.name
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)


def free_bytes(folder: Path) -> int:
    """What the disk of a folder, or of the nearest one that is there, has left for this user."""
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def reserve(folder: Path, count: int) -> None:
    """Raise OSError where the disk does not take `count` bytes more; nothing stays written.

    For writers that end the process, or say nothing, where the disk is full.
    """
    path = folder / ".room"
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, count)
        finally:
            path.unlink()


def exchange(first: Path, second: Path) -> None:
    """Exchange what two names stand for, in one step (renameat2 of Linux 3.15).

    Raises:
        CannotExchange: the file system cannot. OSError: as `os.rename`.

    """
    libc = ctypes.CDLL(None, use_errno=True)
    names = (os.fsencode(first), os.fsencode(second))
    try:
        failed = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    except AttributeError:  # a C library without it
        raise CannotExchange(errno.ENOSYS, "renameat2 is missing", str(second)) from None
    if failed:
        code = ctypes.get_errno()
        kind = CannotExchange if code in _UNSUPPORTED else OSError
        raise kind(code, os.strerror(code), str(second))


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

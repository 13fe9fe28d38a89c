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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MARK = "adaspring."


class CannotExchange(OSError):
    """The file system has no way to exchange two folders in one step."""


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder among the system's temporary ones, removed at the end, or swept by a later run."""
    with _locked_folder(Path(tempfile.gettempdir()), f"{_MARK}{purpose}.", _MARK) as folder:
        yield folder


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder on the file system of `path`, from where something is renamed to it."""
    prefix = f".{path.name}.{_MARK}"
    with _locked_folder(path.parent, prefix, prefix) as folder:
        yield folder


@contextmanager
def _locked_folder(parent: Path, prefix: str, swept_prefix: str) -> Iterator[Path]:
    _sweep(parent, swept_prefix)
    folder, lock = _make_locked(parent, prefix)
    try:
        yield folder
    finally:
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
    _sync(folder.parent)


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


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A log's files: whole lines appended by several processes, read while others write.

Whoever writes holds `records.jsonl` locked for itself, whoever reads holds it locked with other
readers, so no one sees half a line but what a kill or a full disk broke off. That is passed over
in reading, and cut before the next line is appended. A line is handed to the system in one write:
a killed process loses none that it finished. A power cut may lose the last ones, since only new
functions are synced: `records.jsonl` refers to them by line.

A shipped log may have a file packed, `NAME.xz` in place of NAME; it is read and never written.
"""

from __future__ import annotations

import fcntl
import logging
import lzma
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ....errors import BuildError
from ....files.read import NotRegular, open_descriptor
from .lines import RECORDS

_log = logging.getLogger(__name__)

MAX_BYTES = 1 << 30  # of one file: a few million records
# A small packed file may unfold to any size; a shipped log of this size would be a mistake.
MAX_UNPACKED_BYTES = 1 << 28


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Nobody writes to the log in `folder` meanwhile. Nothing is locked where there is no log."""
    try:
        descriptor = _open_locked(folder / RECORDS, os.O_RDONLY, fcntl.LOCK_SH)
    except FileNotFoundError:
        yield
        return
    with _unlock_after(descriptor):
        yield


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Nobody else reads or writes the log in `folder` meanwhile; it is made where missing."""
    path = folder / RECORDS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _open_locked(path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
    except OSError as error:
        raise write_error(path, error) from error
    with _unlock_after(descriptor):
        yield


def _open_locked(path: Path, flags: int, operation: int) -> int:
    """Open and lock a file; again where it was replaced while we waited."""
    while True:
        descriptor = _open_regular(path, flags)
        fcntl.flock(descriptor, operation)
        if _inode(path) == os.fstat(descriptor).st_ino:
            return descriptor
        os.close(descriptor)


def _open_regular(path: Path, flags: int) -> int:
    """Open a file, which may be new; NotRegular where something else has its name."""
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)  # a pipe does not hold us up
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular("a pipe or a device", path)
    return descriptor


@contextmanager
def _unlock_after(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would not, if a fork has a copy
        os.close(descriptor)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


class LineFile:
    """One file of lines: what others append is read on from where the last reading ended.

    Use it within `reading` or `writing`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines_count = 0
        self._inode: int | None = None
        self._whole_bytes = 0
        self._packed = packed_path(path)

    def was_replaced(self) -> bool:
        """Whether what was read is no longer the beginning of the file."""
        return self._inode is not None and _inode(self.path) != self._inode

    def read_on(self) -> list[bytes]:
        """The whole lines that were not read before, without their line breaks."""
        try:
            with os.fdopen(open_descriptor(self.path), "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size - self._whole_bytes > MAX_BYTES:
                    raise OSError(f"{self.path} has more than {MAX_BYTES >> 20} MB")
                self._inode = status.st_ino
                file.seek(self._whole_bytes)
                data = file.read(MAX_BYTES)
        except FileNotFoundError:
            if self.lines_count:
                return []
            data = _unpack(self._packed)
        *lines, torn = data.split(b"\n")
        if torn:
            _log.warning("%s: its last record is incomplete and is dropped", self.path)
        self._whole_bytes += len(data) - len(torn)
        self.lines_count += len(lines)
        return lines

    def append(self, line: bytes, *, sync: bool = False) -> None:
        """Append one line, after what is there was read.

        Raises:
            BuildError: it could not be written; then the file is as it was.

        """
        if self._packed.exists():
            raise BuildError(
                f"{self._packed} is compressed and read-only; decompress it with unxz to write here"
            )
        try:
            descriptor = _open_regular(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                _write_whole(descriptor, line + b"\n", self._whole_bytes)
                if sync:
                    os.fsync(descriptor)
                self._inode = os.fstat(descriptor).st_ino
            finally:
                os.close(descriptor)
        except OSError as error:
            raise write_error(self.path, error) from error
        self._whole_bytes += len(line) + 1
        self.lines_count += 1


def packed_path(path: Path) -> Path:
    """Where the packed form of a log's file is."""
    return path.with_name(path.name + ".xz")


def _unpack(packed: Path) -> bytes:
    """What `packed` holds; nothing where it is not there either."""
    try:
        with os.fdopen(open_descriptor(packed), "rb") as raw:
            if os.fstat(raw.fileno()).st_size > MAX_BYTES:
                raise OSError(f"{packed} has more than {MAX_BYTES >> 20} MB")
            with lzma.open(raw, format=lzma.FORMAT_XZ) as file:
                data = file.read(MAX_UNPACKED_BYTES + 1)
    except FileNotFoundError:
        return b""
    except (EOFError, lzma.LZMAError) as error:
        raise OSError(f"{packed} is damaged ({error})") from error
    if len(data) > MAX_UNPACKED_BYTES:
        raise OSError(f"{packed} decompresses to more than {MAX_UNPACKED_BYTES >> 20} MB")
    return data


def _write_whole(descriptor: int, data: bytes, start: int) -> None:
    """Write at `start`, over what is torn behind it; cut back to it where not all was written."""
    os.ftruncate(descriptor, start)
    try:
        written = os.write(descriptor, data)
        while written < len(data):  # a disk that is nearly full takes a part, then refuses
            written += os.write(descriptor, data[written:])
    except OSError:
        os.ftruncate(descriptor, start)
        raise


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in another's place in one step: a kill leaves the old or the new one."""
    temporary = path.with_suffix(".new")
    try:
        write_synced(temporary, data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise write_error(path, error) from error


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that a power cut after it does not undo."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_error(path: Path, error: OSError) -> BuildError:
    """The error for a file that the disk did not take."""
    return BuildError(
        f"{path} could not be written: {error}; free some space or fix its permissions: "
        "the same command goes on"
    )

"""A folder that is opened once, so that its files are of one time, whatever its name stands for."""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .read import NotRegular, open_descriptor

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CHUNK_BYTES = 2**20


class OpenFolder:
    """An open folder and the files in it that were asked for, open until `close`.

    Every method raises OSError, `NotRegular` for a link or anything else that is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = os.open(path, _FOLDER)
        self._files: dict[str, int] = {}
        self.close = weakref.finalize(self, _close, self._folder, self._files)
        self.close.atexit = False  # a thread may still read as the interpreter ends

    def was_replaced(self) -> bool:
        """Whether the folder's name stands for another folder by now."""
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._folder))
        except OSError:
            return False

    def size_bytes(self, name: str) -> tuple[int, int]:
        """Bytes of a file, and those of them that the disk holds, which holes leave out.

        `name` is relative to the folder, with slashes.
        """
        status = os.fstat(self._descriptor(name))
        return status.st_size, 512 * status.st_blocks

    def chunks(self, name: str, most_bytes: int) -> Iterator[bytes]:
        """Give a file's content from its beginning, `most_bytes` at most."""
        descriptor, offset = self._descriptor(name), 0
        while chunk := os.pread(descriptor, min(_CHUNK_BYTES, most_bytes - offset), offset):
            offset += len(chunk)
            yield chunk

    def duplicate(self, name: str) -> int:
        """Return a descriptor of a file that the caller closes."""
        return os.dup(self._descriptor(name))

    def _descriptor(self, name: str) -> int:
        if not self.close.alive:
            raise OSError("it is closed")
        if name not in self._files:
            self._files[name] = _open_within(self._folder, name)
        return self._files[name]


def _close(folder: int, files: dict[str, int]) -> None:
    for descriptor in (folder, *files.values()):
        with suppress(OSError):
            os.close(descriptor)
    files.clear()


def _open_within(folder: int, name: str) -> int:
    """Open a file below an open folder; no part of its name may be a symbolic link."""
    *parts, last = name.split("/")
    inner = os.dup(folder)
    try:
        for part in parts:
            outer, inner = inner, _open_folder(inner, part)
            os.close(outer)
        return open_descriptor(last, inner, os.O_NOFOLLOW)
    finally:
        os.close(inner)


def _open_folder(outer: int, name: str) -> int:
    if stat.S_ISLNK(os.stat(name, dir_fd=outer, follow_symlinks=False).st_mode):
        raise NotRegular("a symbolic link", name)
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=outer)

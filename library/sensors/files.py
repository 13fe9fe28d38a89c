"""Files of /proc and /sys, read so that nothing in their place can block, fill memory or raise."""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path

from ...files.read import open_descriptor

_MOST_BYTES = 2**20  # /proc/stat of a thousand processors has less
_MOST_NAMES = 256
_WHOLE = re.compile(r"-?[0-9]{1,20}", re.ASCII)


def base(root: str | Path) -> str:
    """Return a root folder without the slash at its end, to put paths behind."""
    return os.fspath(root).rstrip("/")


def read_text(path: str) -> str | None:
    """Return what a file says; None where there is no plain, small file of text."""
    try:
        descriptor = open_descriptor(path)
    except (OSError, ValueError):
        return None
    try:
        data = _read(descriptor)
        return None if data is None else data.decode()
    except (OSError, UnicodeDecodeError):  # a driver fails, or the device has just gone
        return None
    finally:
        os.close(descriptor)


def read_whole(path: str, least: int = 0, most: int = 10**18) -> int | None:
    """Return the whole number that a file holds; None where it holds none in the range."""
    return whole(read_text(path), least, most)


def whole(text: str | None, least: int = 0, most: int = 10**18) -> int | None:
    """Return a text as a whole number; None where it is none in the range."""
    if text is None or not _WHOLE.fullmatch(text := text.strip()):
        return None
    return int(text) if least <= int(text) <= most else None


def read_table(path: str) -> dict[str, list[str]]:
    """Return the words after the first of each line, by the first; empty where unreadable."""
    lines = [line.split() for line in (read_text(path) or "").splitlines()]
    return {words[0].rstrip(":"): words[1:] for words in lines if words}


def names_in(folder: str) -> list[str]:
    """Return the names in a folder, in order; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in islice(entries, _MOST_NAMES))
    except (OSError, ValueError):
        return []


def _read(descriptor: int) -> bytes | None:
    """Read to the end; a file of /proc comes in pieces, and does not say its size."""
    pieces: list[bytes] = []
    left = _MOST_BYTES
    while left >= 0:
        piece = os.read(descriptor, left + 1)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        left -= len(piece)
    return None

"""Names that stand for something that is no plain small file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

KINDS = ("pipe", "device", "loop", "folder", "socket", "sparse")


def put(path: Path, kind: str) -> Path:
    """Put one of `KINDS` in a file's place."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        with path.open("wb") as file:
            file.truncate(2**40)
    return path

"""Files that a command writes."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import UsageError
from ...files import replace


def check_folder(path: Path) -> None:
    """Refuse, before long work, a file that cannot be written then."""
    if not os.path.isdir(path.parent):
        raise UsageError(f"{path}: the folder {path.parent} does not exist; make it first")
    if os.path.lexists(path) and not os.path.isfile(path):
        raise UsageError(f"{path} is no file, so it is not replaced; give the name of a file")
    try:
        replace.check_can_replace(path.with_name(f"{path.name}.new"))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all: to a temporary one beside it, which is then renamed."""
    check_folder(path)
    try:
        replace.write_whole(path, content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error

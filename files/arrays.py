"""NumPy's files from outside: their sizes are compared with the memory before they are read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import AdaspringError, first_line
from .read import memory_bytes, open_regular

_SAVE = "save it with np.savez(path, x=…, y=…)"
Array = NDArray[Any]


def read_npz(path: Path, error: type[AdaspringError], todo: str) -> dict[str, Array]:
    """Read all arrays of an ``.npz``, never a pickle; `error` with the reason where it is none.

    `todo` is the advice where there is no such file.
    """
    try:
        with open_regular(path, error, todo) as file:
            _check_fits(path, file, error)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except AdaspringError:
        raise
    except Exception as problem:
        why = f"{path} is not a readable .npz file ({first_line(problem)})"
        raise error(f"{why}; {_SAVE}") from problem


def read_npy(path: Path, error: type[AdaspringError], todo: str) -> Array:
    """Read the array of an ``.npy``, never a pickle; other errors than `error` are NumPy's."""
    with open_regular(path, error, todo, most_bytes=memory_bytes()) as file:
        array: Array = np.load(file, allow_pickle=False)
        return array


def _check_fits(path: Path, file: BinaryIO, error: type[AdaspringError]) -> None:
    """Add up what an archive says of its members, which cannot unpack to more."""
    with zipfile.ZipFile(file) as archive:
        needed_bytes = sum(entry.file_size for entry in archive.infolist())
    file.seek(0)
    if needed_bytes > memory_bytes():
        raise error(
            f"{path} holds {needed_bytes} bytes of arrays, more than this machine's memory of "
            f"{memory_bytes()}; give fewer samples"
        )

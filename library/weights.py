"""Weights on disk and in memory: each distinct tensor once, however many variants use it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import LibraryError

ALIGNMENT_BYTES = 64  # TVM's compiled code loads whole vectors from 64-byte boundaries
Array = NDArray[np.generic]


class TensorPool:
    """Collects tensors for one file; equal content, type and shape share one key."""

    def __init__(self) -> None:
        self.tensors: dict[str, Array] = {}
        self._keys: dict[str, str] = {}

    def add(self, name: str, value: Array) -> str:
        """Return the key under which the tensor is stored."""
        array = np.asarray(value, order="C")
        digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
        key = self._keys.setdefault(digest.hexdigest(), f"{name}@{digest.hexdigest()[:16]}")
        self.tensors[key] = array
        return key

    def save(self, path: Path) -> None:
        """Write the tensors as one safetensors file."""
        save_file(self.tensors, path)


def read_tensors(paths: Sequence[Path], keys: Iterable[str]) -> dict[str, Array]:
    """Return the tensors of these keys from safetensors files, each on a 64-byte boundary."""
    wanted = set(keys)
    found: dict[str, Array] = {}
    for path in paths:
        try:
            with safe_open(path, framework="np") as file:
                for key in wanted.intersection(file.keys()):
                    found[key] = aligned_copy(file.get_tensor(key))
        except (SafetensorError, OSError) as error:
            raise LibraryError(f"{path}: not a safetensors file: {error}") from error
    absent = sorted(wanted.difference(found))
    if absent:
        raise LibraryError(f"no weights file holds {absent[0]!r}; rebuild the library")
    return found


def aligned_copy(value: Array) -> Array:
    """Copy an array into contiguous memory that starts on a 64-byte boundary."""
    raw = np.empty(value.nbytes + ALIGNMENT_BYTES, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES
    copy = raw[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
    copy[...] = value
    return copy

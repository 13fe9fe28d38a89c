"""Weights on disk and in memory: each distinct tensor once, however many variants use it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
        digest.update(array.reshape(-1).view(np.uint8))
        key = self._keys.setdefault(digest.hexdigest(), f"{name}@{digest.hexdigest()[:16]}")
        self.tensors[key] = array
        return key

    def save(self, path: Path) -> None:
        """Write the tensors as one safetensors file."""
        save_file(self.tensors, path)


class TensorFile:
    """Tensors read on demand from safetensors files, kept and shared once read."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths
        self._loaded: dict[str, Array] = {}

    def load(self, keys: tuple[str, ...]) -> Mapping[str, Array]:
        """Return the tensors of these keys, 64-byte aligned; read only what is not here yet."""
        missing = set(keys).difference(self._loaded)
        for path in self._paths if missing else ():
            for key, value in _read(path, missing).items():
                self._loaded[key] = value
        absent = sorted(missing.difference(self._loaded))
        if absent:
            raise LibraryError(f"no weights file holds {absent[0]!r}; rebuild the library")
        return {key: self._loaded[key] for key in keys}

    def size_bytes(self) -> int:
        """Return the bytes of all tensors in memory."""
        return sum(value.nbytes for value in self._loaded.values())


def aligned_copy(value: Array) -> Array:
    """Copy an array into contiguous memory that starts on a 64-byte boundary."""
    raw = np.empty(value.nbytes + ALIGNMENT_BYTES, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES
    copy = raw[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
    copy[...] = value
    return copy


def _read(path: Path, keys: set[str]) -> dict[str, Array]:
    try:
        with safe_open(path, framework="np") as file:
            return {key: aligned_copy(file.get_tensor(key)) for key in keys & set(file.keys())}
    except (SafetensorError, OSError) as error:
        raise LibraryError(f"{path}: not a safetensors file: {error}") from error

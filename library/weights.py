"""Weights on disk and in memory: each distinct tensor once, however many variants use it.

The file is mapped, not read: compiled code takes its tensors where they lie. So all of them start
on a boundary that it accepts, which safetensors' own writer does not see to.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterable, Iterator
from mmap import ACCESS_COPY, MADV_DONTNEED, PAGESIZE, mmap
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryError
from .native.ffi import tvm_ffi

ALIGNMENT_BYTES = 64  # TVM's compiled code loads whole vectors from 64-byte boundaries
Array = NDArray[np.generic]

_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_LENGTH_BYTES = 8  # of the header's length, little endian, before the header
# The format allows no holes between tensors, so what fills up to the next boundary is one too.
# The name of a weight's tensor holds an @ (`TensorPool.add`), so it is never one of these.
_FILLER = "_filler."
_NUMPY_TYPES = {
    "F16": np.float16, "F32": np.float32, "F64": np.float64, "BOOL": np.bool_,
    "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
}  # fmt: skip
_FORMAT_TYPES: dict[np.dtype[Any], str] = {
    np.dtype(kind): name for name, kind in _NUMPY_TYPES.items()
}


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """Where a tensor lies: its bytes are [begin, end) behind the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def content_sha256(array: Array) -> str:
    """Return the SHA-256 of an array's type, shape and values, in hexadecimal."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(array.tobytes())
    return digest.hexdigest()


class TensorPool:
    """Collects tensors for one file; equal content, type and shape share one key."""

    def __init__(self) -> None:
        self.tensors: dict[str, Array] = {}
        self._keys: dict[str, str] = {}

    def add(self, name: str, value: Array) -> str:
        """Return the key under which the tensor is stored."""
        array = np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")
        digest = content_sha256(array)
        key = self._keys.setdefault(digest, f"{name}@{digest[:16]}")
        self.tensors[key] = array
        return key

    def save(self, path: Path) -> None:
        """Write a safetensors file in which every tensor starts on a 64-byte boundary."""
        header, end_bytes = {}, 0
        laid_out = dict(_without_holes(self.tensors))
        for key, array in laid_out.items():
            offsets = (end_bytes, end_bytes + array.nbytes)
            header[key] = _Entry(_FORMAT_TYPES[array.dtype], array.shape, offsets)
            end_bytes += array.nbytes
        text = msgspec.json.encode(header)
        text += b" " * _missing_bytes(_LENGTH_BYTES + len(text))  # the format lets spaces follow
        with path.open("wb") as file:
            file.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
            for array in laid_out.values():
                file.write(array.tobytes())


def map_tensors(file: BinaryIO) -> dict[str, Array]:
    """Return every weight of an open safetensors file, where it lies in a mapping of the file.

    Nothing is copied: a page comes from the file when it is first read, is shared with all other
    processes that mapped the file, and may be dropped and read again where memory is short. The
    mapping is private: a write would change this process's page, never the file. It holds until
    its last array is gone, also when the file was renamed or deleted. Only a file that is cut or
    overwritten in its place would change what is mapped, or end the process by SIGBUS.

    Raises:
        LibraryError: it is not such a file, or a tensor is not on a 64-byte boundary.

    """
    try:
        mapping = mmap(file.fileno(), 0, access=ACCESS_COPY)
        data_at = _LENGTH_BYTES + int.from_bytes(mapping[:_LENGTH_BYTES], "little")
        entries = msgspec.json.decode(mapping[_LENGTH_BYTES:data_at], type=dict[str, _Entry])
        return {
            key: _tensor(mapping, data_at, entry)
            for key, entry in entries.items()
            if not key.startswith(_FILLER)
        }
    except (OSError, ValueError, TypeError, KeyError, msgspec.DecodeError) as error:
        raise LibraryError(
            f"{file.name}: not a library's safetensors file: {error}; rebuild the library"
        ) from error


def _tensor(mapping: mmap, data_at: int, entry: _Entry) -> Array:
    begin, end = entry.data_offsets
    kind = _NUMPY_TYPES[entry.dtype]
    array: Array = np.ndarray(entry.shape, kind, buffer=mapping, offset=data_at + begin)
    if array.nbytes != end - begin:
        raise ValueError(f"a tensor of {array.nbytes} bytes has {end - begin}")
    if (data_at + begin) % ALIGNMENT_BYTES:
        raise ValueError(f"a tensor is not on a boundary of {ALIGNMENT_BYTES} bytes")
    return array


Span = tuple[int, int]  # addresses, from and up to


def whole_pages(arrays: Iterable[Array]) -> tuple[Span, ...]:
    """Return where whole pages hold nothing but these arrays of `map_tensors`."""
    spans: list[Span] = []
    for begin, size_bytes in sorted((array.ctypes.data, array.nbytes) for array in arrays):
        end = begin + size_bytes + _missing_bytes(size_bytes)
        spans.append((spans.pop()[0] if spans and spans[-1][1] == begin else begin, end))
    paged = ((-(-begin // PAGESIZE) * PAGESIZE, end // PAGESIZE * PAGESIZE) for begin, end in spans)
    return tuple(span for span in paged if span[0] < span[1])


def give_back_pages(spans: Iterable[Span]) -> None:
    """Take pages of mapped weights out of this process.

    The kernel may use their memory for something else then, without looking who reads them. Who
    does, a call under way too, gets them from the file again: nobody has written to them.
    """
    for begin, end in spans:
        _madvise(begin, end - begin, MADV_DONTNEED)


def aligned_copy(value: Array) -> Array:
    """Copy an array into contiguous memory that starts on a 64-byte boundary."""
    raw = np.empty(value.nbytes + ALIGNMENT_BYTES, dtype=np.uint8)
    # A tensor tells its address in a fraction of the time that NumPy takes.
    start = -tvm_ffi.from_dlpack(raw).data_ptr() % ALIGNMENT_BYTES
    copy: Array = np.ndarray(value.shape, value.dtype, raw, start)
    copy[...] = value
    return copy


def _without_holes(tensors: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    """Give the tensors in the order of the file, with fillers; those that need none come first."""
    whole = {key: array for key, array in tensors.items() if not _missing_bytes(array.nbytes)}
    yield from whole.items()
    for index, (key, array) in enumerate(tensors.items()):
        if key not in whole:
            yield key, array
            yield f"{_FILLER}{index}", np.zeros(_missing_bytes(array.nbytes), np.uint8)


def _missing_bytes(count: int) -> int:
    return -count % ALIGNMENT_BYTES

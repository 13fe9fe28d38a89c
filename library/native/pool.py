"""The process's thread pool: found or compiled, then given to code in place of TVM's.

A wheel brings it compiled, and so does a library for its board, where that could be done. Without
either (a clone) it is compiled once, by the C compiler, into the user's cache.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from ...errors import LibraryError, RuntimeMissing
from .build import SOURCE, build, file_name
from .compiled import C, find_or_compile
from .ffi import tvm_ffi
from .turns import LOAD_POOL, Turn

# Functions of tvm_ffi that bring an error from a worker to the caller, in the order of `pool.c`.
_ERRORS = (
    "TVMFFIErrorMoveFromRaised",
    "TVMFFIErrorSetRaised",
    "TVMFFIObjectDecRef",
    "TVMFFIErrorSetRaisedFromCStr",
)


_loaded: list[ctypes.PyDLL] = []  # at most one
_loading = Turn(LOAD_POOL)


def use(threads: int, cpus: Sequence[int], *, pinned: bool, spin_us: int) -> None:
    """Let this thread's launches use `threads` threads on these processors."""
    numbers = (ctypes.c_int * len(cpus))(*cpus)
    native().adaspring_pool_use(threads, numbers, len(cpus), pinned, ctypes.c_int64(spin_us))


def thread_count() -> int:
    """How many threads a launch of this thread uses, where the pool is free."""
    return int(native().adaspring_pool_threads())


def give_to(code: str) -> None:
    """Let code that is loaded from this file launch on the pool; `code` is its name to the loader.

    Raises:
        LibraryError: no such file is loaded.

    """
    if native().adaspring_pool_give_to(os.fsencode(code)) != 0:
        raise LibraryError(f"{code}: cannot be given the thread pool; it is not loaded")


def is_loaded() -> bool:
    """Whether this process has its pool."""
    return bool(_loaded)


def load(file: str) -> None:
    """Make a compiled pool this process's; the first stays.

    Raises:
        OSError: it is none, or for another machine.

    """
    with _loading:
        if not _loaded:
            _loaded.append(_start(file))


def native() -> ctypes.PyDLL:
    """Return the compiled code, loaded; RuntimeMissing where there is none and none can be made."""
    if not _loaded:
        file = path()
        try:
            load(str(file))
        except OSError as error:
            raise RuntimeMissing(
                f"{file}: the thread pool cannot be loaded: {error}; remove it, and set CC to a C "
                "compiler for this machine"
            ) from error
    return _loaded[0]


def _start(file: str) -> ctypes.PyDLL:
    pool = ctypes.PyDLL(file)  # its calls are short: the interpreter is not let go for them
    ffi = ctypes.CDLL(tvm_ffi.libinfo.find_libtvm_ffi())
    pool.adaspring_pool_start(*(ctypes.cast(ffi[name], ctypes.c_void_p) for name in _ERRORS))
    return pool


def prebuilt() -> Path | None:
    """Return the pool that the package brings compiled, or None."""
    file = _brought()
    return file if file.is_file() else None


def path() -> Path:
    """Return where the compiled pool is; compile it where it is not.

    Raises:
        RuntimeMissing: there is no C compiler, or it cannot compile the pool.

    """
    return find_or_compile("thread pool", _brought(), build, C)


def _brought() -> Path:
    return SOURCE.parent / file_name()

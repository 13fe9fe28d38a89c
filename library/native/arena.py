"""One arena for the activations of all variants (`arena.c`), where TVM has buffers for each."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from .ffi import tvm_ffi
from .pool import native

# Functions of tvm_ffi, in the order of `arena.c`.
_FUNCTIONS = (
    "TVMFFIFunctionGetGlobal",
    "TVMFFIFunctionCall",
    "TVMFFIObjectIncRef",
    "TVMFFIObjectDecRef",
)
_ALLOCATE = "vm.builtin.alloc_storage"


@contextmanager
def in_tvms_place() -> Iterator[None]:
    """Let the virtual machines that are initialised meanwhile take activations from the arena.

    A machine looks the function up when it is initialised, so TVM's own stays everybody else's. Two
    threads must not do this at the same time.
    """
    ours, tvms = _allocate(), tvm_ffi.get_global_func(_ALLOCATE)
    tvm_ffi.register_global_func(_ALLOCATE, ours, override=True)
    try:
        yield
    finally:
        tvm_ffi.register_global_func(_ALLOCATE, tvms, override=True)


def clear() -> None:
    """Give back what no call uses."""
    native().adaspring_arena_clear()


def size_bytes() -> int:
    """How large the arena is, over all calls that ran at the same time."""
    return int(native().adaspring_arena_bytes())


@cache
def _allocate() -> Any:
    """The arena's function; TVM's runtime is loaded before."""
    code, ffi = native(), ctypes.CDLL(tvm_ffi.libinfo.find_libtvm_ffi())
    code.adaspring_arena_bytes.restype = ctypes.c_int64
    functions = (ctypes.c_void_p * len(_FUNCTIONS))(
        *(ctypes.cast(ffi[name], ctypes.c_void_p).value for name in _FUNCTIONS)
    )
    if code.adaspring_arena_start(functions) != 0:
        raise RuntimeError("the arena was started before TVM's runtime was loaded")
    address = ctypes.cast(code.adaspring_arena_allocate, ctypes.c_void_p).value
    return tvm_ffi.Function.__from_extern_c__(address)

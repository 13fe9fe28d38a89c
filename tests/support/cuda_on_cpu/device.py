"""TVM's device "cuda" in a process that has TVM's runtime, and never NVIDIA's."""

from __future__ import annotations

import ctypes
from importlib.metadata import version
from pathlib import Path

import tvm_ffi

from adaspring.library.opencl.build import include_folders
from adaspring.library.runtime import runtime_path

from .compiled import FOLDER, compile_cpp, load


def load_driver(folder: Path, capability: int) -> None:
    """Let this process find NVIDIA's driver, with one device of that compute capability."""
    library = folder / f"driver-{capability}.so"
    if not library.exists():
        options = ("-xc", f"-DCAPABILITY={capability}", "-Wl,-soname,libcuda.so.1")
        compile_cpp(FOLDER / "driver.c", library, *options)
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def start(folder: Path, capability: int = 87) -> None:
    """Let this process's TVM run libraries for CUDA boards; what is compiled lies in `folder`."""
    load_driver(folder, capability)
    ctypes.CDLL(str(runtime_path(version("apache-tvm"))), ctypes.RTLD_GLOBAL)
    library = folder / "device_api.so"
    if not library.exists():
        headers = [f"-isystem{path}" for path in include_folders()]
        compile_cpp(FOLDER / "device_api.cc", library, *headers)
    ctypes.CDLL(str(library))
    tvm_ffi.register_global_func(
        "ffi.Module.load_from_bytes.cuda", lambda data: load(bytes(data), folder)
    )

"""OpenCL devices for tests, and modules of kernels as TVM serializes them."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi

from adaspring.errors import AdaspringError
from adaspring.library.opencl import plugin
from adaspring.targets import host_opencl

from .requirements import missing

OCLGRIND = Path("/usr/lib/oclgrind/liboclgrind-rt-icd.so")
"""A simulated device that reports what a kernel must not do (Debian's package oclgrind)."""
Argument = tuple[int, int, int]
POINTER, INT32, FLOAT32 = (3, 64, 1), (0, 32, 1), (2, 32, 1)
"""(code, bits, lanes), as DLPack has them."""


AXES = ("blockIdx.x", "threadIdx.x")
SCALED = """// Function: scaled
__kernel void scaled(__global float* y, __global const float* x, float by, int count) {
  int i = get_global_id(0);
  if (i < count) y[i] = by * x[i];
}
"""
SUM = """// Function: total
__kernel void total(__global int* y, __global const int* x, int first) {
  int i = get_global_id(0), j = get_global_id(1), k = get_global_id(2);
  int place = (k * get_global_size(1) + j) * get_global_size(0) + i;
  y[place] = x[place] + 100 * k + 10 * j + i + first;
}
"""


@cache
def require_opencl() -> None:
    """Ask for an OpenCL device, with our runtime in this process's TVM."""
    import tvm  # noqa: F401  (its runtime is what is extended)

    try:
        plugin.start(host_opencl().target, "host-opencl")
    except AdaspringError as error:
        missing(str(error))


@dataclass(frozen=True)
class Simulated:
    """What makes a process's OpenCL Oclgrind's, and where that reports what it finds."""

    variables: dict[str, str]
    log: Path


def oclgrind(folder: Path) -> Simulated:
    """Ask for Oclgrind, which keeps its log, and no programs of another's, in `folder`."""
    if not OCLGRIND.is_file():
        missing("oclgrind is not installed (Debian package oclgrind)")
    vendors, log = folder / "vendors", folder / "oclgrind.log"
    vendors.mkdir()
    (vendors / "oclgrind.icd").write_text(f"{OCLGRIND}\n")
    variables = {
        "OCL_ICD_VENDORS": str(vendors),
        "OCLGRIND_DATA_RACES": "1",
        "OCLGRIND_CHECK_API": "1",
        "OCLGRIND_LOG": str(log),
    }
    return Simulated(variables, log)


def module_bytes(
    kernels: Sequence[tuple[str, Sequence[Argument], Sequence[str]]], source: str, kind: str = "cl"
) -> bytes:
    """Serialize kernels: for each its name, argument types, and launch parameters."""
    parts = [_text(kind), _count(len(kernels))]
    for name, arguments, axes in kernels:
        parts += [_text(name), _text(name), _count(len(arguments))]
        parts += [struct.pack("<BBH", *each) for each in arguments]
        parts += [_count(len(axes)), *map(_text, axes), _count(0)]
    return b"".join([*parts, _text(source)])


def run_python(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, with these environment variables."""
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _count(value: int) -> bytes:
    return struct.pack("<Q", value)


def _text(value: str) -> bytes:
    return _count(len(value.encode())) + value.encode()


def loaded(*kernels: tuple[str, Sequence[Argument], Sequence[str]], source: str) -> Any:
    """Load a module of kernels."""
    load = tvm_ffi.get_global_func("ffi.Module.load_from_bytes.opencl")
    return load(module_bytes(kernels, source))


def scaled(source: str = SCALED) -> Any:
    """The kernel that multiplies by a number."""
    kernel = ("scaled", (POINTER, POINTER, FLOAT32, INT32), AXES)
    return loaded(kernel, source=source)["scaled"]


def on_device(array: np.ndarray) -> Any:
    """Copy an array to the device."""
    import tvm

    return tvm.runtime.tensor(array, tvm.opencl(0))


def data(tensor: Any) -> ctypes.c_void_p:
    """Return what a kernel takes for an array: its buffer."""
    return ctypes.c_void_p(tensor.data_ptr())


def run_scaled(function: Any, x: np.ndarray, by: float) -> np.ndarray:
    """Multiply an array on the device."""
    there, y = on_device(x), on_device(np.zeros_like(x))
    function(data(y), data(there), by, x.size, -(-x.size // 64), 64)
    return y.numpy()

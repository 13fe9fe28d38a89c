"""OpenCL devices for tests, and modules of kernels as TVM serializes them."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from adaspring.errors import AdaspringError
from adaspring.library.opencl import plugin
from adaspring.targets import host_opencl

from .requirements import missing

OCLGRIND = Path("/usr/lib/oclgrind/liboclgrind-rt-icd.so")
Argument = tuple[int, int, int]
POINTER, INT32, FLOAT32 = (3, 64, 1), (0, 32, 1), (2, 32, 1)
"""(code, bits, lanes), as DLPack has them."""


@cache
def require_opencl() -> None:
    """Ask for an OpenCL device, with our runtime in this process's TVM."""
    import tvm  # noqa: F401  (its runtime is what is extended)

    try:
        plugin.start(host_opencl().target, "host-opencl")
    except AdaspringError as error:
        missing(str(error))


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

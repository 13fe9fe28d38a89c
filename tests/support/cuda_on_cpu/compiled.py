"""Modules of CUDA C++ as TVM serializes them, compiled for this machine's processor.

A compiled module is a library as any other of TVM's. It lies in a folder under its source's
digest: what is there is not compiled again.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import re
import struct
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from tvm_ffi import Module, load_module
from tvm_ffi.libinfo import find_include_path

from adaspring.library.native.compiled import CXX

from ..requirements import missing

FOLDER = Path(__file__).parent
AXES = (
    "blockIdx.x",
    "blockIdx.y",
    "blockIdx.z",
    "threadIdx.x",
    "threadIdx.y",
    "threadIdx.z",
    "tirx.use_dyn_shared_memory",
)
"""In the order of `launch.h`."""
_OPTIONS = ("-std=c++17", "-O1", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-ffp-contract=off", "-w")
_CHECKS = ("-fsanitize=bounds", "-fno-sanitize-recover=all", "-fvisibility=hidden")


def load(data: bytes, folder: Path) -> Module:
    """Load a module from what TVM has of it in a library."""
    kernels, source = _read(io.BytesIO(data))
    return load_source(source, kernels, folder)


def load_source(source: str, kernels: Mapping[str, Sequence[str]], folder: Path) -> Module:
    """Load kernels: each is called with its arguments, then a number for each of its `AXES`."""
    _load_threads()
    entries = [_entry(name, axes) for name, axes in kernels.items()]
    text = "\n".join([_as_cpp(source), '#include "launch.h"', *entries])
    compiled = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    if not compiled.exists():
        written = compiled.with_suffix(".cc")
        written.write_text(text)
        includes = [f"-I{FOLDER / 'include'}", f"-isystem{find_include_path()}"]
        compile_cpp(written, compiled, *_CHECKS, *includes)
    return load_module(str(compiled))


def compile_cpp(source: Path, library: Path, *options: str) -> None:
    """Compile a file of C++ into a shared library."""
    compiler = CXX.compiler()
    if compiler is None:
        missing("no C++ compiler is here (Debian package g++)")
    command = [compiler, *_OPTIONS, *options, str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@cache
def _load_threads() -> None:
    """Load what compiled kernels are linked against."""
    library = Path(mkdtemp(prefix="cuda-on-cpu-")) / "block.so"
    compile_cpp(FOLDER / "block.cc", library)
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


_ASM = r"(?:asm volatile|__asm__ __volatile__)\("
_COPIES = {
    rf'{_ASM}"cp\.async\.commit_group;".*?\);': "cuda_on_cpu_commit_copies();",
    rf'{_ASM}"cp\.async\.wait_group (\d+);".*?\);': r"cuda_on_cpu_wait_for_copies(\1);",
    rf'unsigned int dst_addr = [^;]*;\s*{_ASM}\s*"cp\.async[^)]*\)[^)]*\), "n"\((\d+)\)\s*\);': (
        r"cuda_on_cpu_copy(dst_p, src_p, \1);"
    ),
    rf'unsigned int dst_addr = [^;]*;\s*{_ASM}\s*"{{.*?"n"\((\d+)\), "r"\(predicate\).*?\);': (
        r"cuda_on_cpu_copy(dst_p, predicate == 1 ? src_p : nullptr, \1);"
    ),
}
"""Assembly that TVM writes for asynchronous copies, and what takes its place."""


def _as_cpp(source: str) -> str:
    """What no macro can make C++ of CUDA."""
    for written, ours in _COPIES.items():
        source = re.sub(written, ours, source, flags=re.DOTALL)
    source = source.replace("extern __shared__", "extern")  # block.cc has it
    return re.sub(r"__shared__ (alignas\(\d+\))", r"\1 __shared__", source)


def _entry(name: str, axes: Sequence[str]) -> str:
    return f"CUDA_ON_CPU_KERNEL({', '.join([name, *(str(AXES.index(axis)) for axis in axes)])})"


def _read(stream: io.BytesIO) -> tuple[dict[str, list[str]], str]:
    """Each kernel's axes, and the source of all (see `library/opencl/module.cc`)."""

    def count() -> int:
        return int(struct.unpack("<Q", stream.read(8))[0])

    def text() -> str:
        return stream.read(count()).decode()

    assert text() == "cuda", "the kernels are no CUDA C++"
    kernels = {}
    for _ in range(count()):
        _, name = text(), text()
        stream.read(4 * count())  # types of the arguments
        kernels[name] = [text() for _ in range(count())]
        stream.read(4 * count())
    return kernels, text()

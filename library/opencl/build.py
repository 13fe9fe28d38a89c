"""Compiles the OpenCL runtime; standard library alone, because `setup.py` runs this file.

It is a part of TVM's runtime, by whose headers it is compiled: of one release, and of no other.
The compiled file's name holds the digest of its sources and that release, so that none serves for
others.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

TVM_RELEASE = "0.27"
"""The release whose modules and devices the sources are written for."""

FOLDER = Path(__file__).parent
SOURCES = tuple(sorted(FOLDER.glob("*.cc")))
HEADERS = tuple(sorted(FOLDER.glob("*.h")))
_OPTIONS = ("-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")
_NEEDED = ("libtvm_runtime.so", "libtvm_ffi.so")  # loaded before; found by these names again
_TIMEOUT_S = 180


def file_name(machine: str = platform.machine()) -> str:
    """Return the name of the runtime that is compiled for machines of a kind."""
    text = b"".join(path.read_bytes() for path in (*SOURCES, *HEADERS))
    text += " ".join((*_OPTIONS, *_NEEDED, TVM_RELEASE)).encode()
    return f"opencl-{machine}-{hashlib.sha256(text).hexdigest()[:16]}.so"


def include_folders() -> tuple[Path, ...]:
    """Where the headers of the installed TVM are; neither package is imported.

    Raises:
        FileNotFoundError: it is not installed, or without its headers.

    """
    found = []
    for package in ("tvm", "tvm_ffi"):
        spec = find_spec(package)
        folder = Path(spec.origin).parent / "include" if spec and spec.origin else None
        if folder is None or not folder.is_dir():
            raise FileNotFoundError(f"the headers of {package} are not installed")
        found.append(folder)
    return tuple(found)


def build(compiler: str, folder: Path, machine: str = platform.machine()) -> Path:
    """Compile the runtime into a folder, all at once: no other process sees half of a file.

    `machine` is what `compiler` compiles for.

    Raises:
        OSError: there is no such compiler, no header, or the folder cannot be written.
        subprocess.SubprocessError: the compiler refuses, or takes more than three minutes.

    """
    folder.mkdir(parents=True, exist_ok=True)
    headers = [f"-isystem{path}" for path in include_folders()]
    with tempfile.TemporaryDirectory(prefix=".opencl-", dir=folder) as unfinished:
        work = Path(unfinished)
        # Empty stand-ins by the names that the loader looks for, whatever machine they are for.
        for name in _NEEDED:
            empty = ["-shared", "-nostdlib", f"-Wl,-soname,{name}", "-xc", "/dev/null"]
            _run([compiler, *empty, "-o", str(work / name)])
        linked = ["-Wl,--no-as-needed", *(str(work / name) for name in _NEEDED), "-ldl"]
        output = work / "opencl.so"
        _run([compiler, *_OPTIONS, *headers, *map(str, SOURCES), "-o", str(output), *linked])
        return output.replace(folder / file_name(machine))


def _run(command: list[str]) -> None:
    subprocess.run(
        command, check=True, timeout=_TIMEOUT_S, capture_output=True, stdin=subprocess.DEVNULL
    )

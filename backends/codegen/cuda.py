"""CUDA libraries that hold machine code, built where no GPU and no driver need be.

TVM compiles CUDA source only while its CUDA runtime is loaded, which needs a driver. So the last
step of a build runs in a child process, where a stand-in takes its place (`cuda_compiler.py`).
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ...errors import BuildError
from ...targets import Board
from ...targets.cuda import capability
from .cuda_toolchain import find_toolchain
from .link import find_linker

_ELF = b"\x7fELF\x02\x01\x01"
_HEADER_BYTES = 64
_MACHINE_CUDA = 190  # e_machine of a cubin
_ABI_CUDA_13 = 8  # from this ABI version on, e_flags has the architecture in its second byte


def available() -> str | None:
    """Why CUDA libraries cannot be built here, or None where they can."""
    try:
        find_toolchain()
        find_linker("x86_64")
    except BuildError as error:
        return str(error)
    return None


def compile_library(module_json: str, board: Board, code: Path) -> None:
    """Compile a finished Relax module (`tvm.ir.save_json`) for `board` into the library `code`."""
    find_toolchain()
    request = {
        "module": module_json,
        "target": dict(board.target),
        "architecture": board.architecture,
        "code": str(code),
    }
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.cuda_child"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise BuildError(f"could not compile for {board.name}: {last}")
    expected = capability(str(board.target["arch"]))
    found = machine_code(code)
    if expected not in found:
        code.unlink()
        held = ", ".join(f"sm_{number}" for number in sorted(found)) or "no machine code"
        raise BuildError(
            f"the library for {board.name} holds {held} instead of sm_{expected}; "
            "check the CUDA compiler with `adaspring doctor`"
        )


def machine_code(library: Path) -> frozenset[int]:
    """Give the compute capabilities (90 for sm_90) of the CUDA machine code inside a library.

    Source  the e_flags of each embedded cubin, as binutils and cuobjdump show them.
    """
    return frozenset(_capability(cubin) for cubin in cubins(library))


def cubins(library: Path) -> Iterator[bytes]:
    """Give each embedded cubin, an ELF file up to the last of its header tables."""
    data = library.read_bytes()
    for found in re.finditer(re.escape(_ELF), data):
        at = found.start()
        if int.from_bytes(data[at + 18 : at + 20], "little") != _MACHINE_CUDA:
            continue
        programs, sections = struct.unpack_from("<QQ", data, at + 32)
        sizes = struct.unpack_from("<4H", data, at + 54)
        tables = programs + sizes[0] * sizes[1], sections + sizes[2] * sizes[3]
        end = max(_HEADER_BYTES, *tables)
        yield data[at : at + end]


def _capability(header: bytes) -> int:
    return header[49] if header[8] >= _ABI_CUDA_13 else header[48]

"""What NVIDIA's cuobjdump tells of the machine code in a library.

`pip install nvidia-cuda-cuobjdump` brings it.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

_ELF, _MACHINE_CUDA = b"\x7fELF\x02\x01\x01", 190
_USAGE = re.compile(r"Function (\w+?)_kernel(?:_\d+)?:\s+REG:(\d+)")


def registers(library: Path) -> dict[str, int]:
    """Registers that a thread of each function takes, the most of its kernels'."""
    found: dict[str, int] = {}
    for cubin in _cubins(library.read_bytes()):
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(cubin)
            file.flush()
            command = [_cuobjdump(), "-res-usage", file.name]
            told = subprocess.run(command, check=True, capture_output=True, text=True)
        for name, count in _USAGE.findall(told.stdout + told.stderr):
            found[name] = max(found.get(name, 0), int(count))
    return found


def _cuobjdump() -> str:
    brought = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin" / "cuobjdump"
    known = shutil.which("cuobjdump") or (str(brought) if brought.is_file() else None)
    if known is None:
        raise SystemExit("cuobjdump is not here: pip install nvidia-cuda-cuobjdump")
    return known


def _cubins(data: bytes) -> Iterator[bytes]:
    """The ELF files for CUDA in a library, each up to the last of its headers."""
    for found in re.finditer(re.escape(_ELF), data):
        at = found.start()
        if struct.unpack_from("<H", data, at + 18)[0] != _MACHINE_CUDA:
            continue
        programs, sections = struct.unpack_from("<QQ", data, at + 32)
        program_size, programs_count, section_size, sections_count = struct.unpack_from(
            "<4H", data, at + 54
        )
        end = max(
            programs + program_size * programs_count, sections + section_size * sections_count
        )
        yield data[at : at + end]

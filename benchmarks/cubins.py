"""What NVIDIA's tools tell of the machine code in a library.

`pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm` brings them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from adaspring.backends.codegen.cuda import cubins

_USAGE = re.compile(r"Function (\w+?)_kernel(?:_\d+)?:\s+REG:(\d+)")
_INSTRUCTION = re.compile(
    r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]+)", re.MULTILINE
)


def registers(library: Path) -> dict[str, int]:
    """Registers that a thread of each function takes, the most of its kernels'."""
    found: dict[str, int] = {}
    for told in _told(library, "cuobjdump", "-res-usage"):
        for name, count in _USAGE.findall(told):
            found[name] = max(found.get(name, 0), int(count))
    return found


def instructions(library: Path) -> Counter[str]:
    """How often each instruction stands in the machine code of all kernels."""
    found: Counter[str] = Counter()
    for told in _told(library, "nvdisasm", "--print-code"):
        found.update(_INSTRUCTION.findall(told))
    return found


def tool_path(name: str) -> str | None:
    """Where one of the tools is, or None."""
    brought = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin" / name
    return shutil.which(name) or (str(brought) if brought.is_file() else None)


def _told(library: Path, tool: str, option: str) -> Iterator[str]:
    path = tool_path(tool)
    if path is None:
        raise SystemExit(f"{tool} is not here: pip install nvidia-cuda-{tool}")
    for cubin in cubins(library):
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(cubin)
            file.flush()
            told = subprocess.run(
                [path, option, file.name], check=True, capture_output=True, text=True
            )
        yield told.stdout + told.stderr

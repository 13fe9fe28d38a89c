"""What NVIDIA's cuobjdump tells of the machine code in a library.

`pip install nvidia-cuda-cuobjdump` brings it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from adaspring.backends.codegen.cuda import cubins

_USAGE = re.compile(r"Function (\w+?)_kernel(?:_\d+)?:\s+REG:(\d+)")


def registers(library: Path) -> dict[str, int]:
    """Registers that a thread of each function takes, the most of its kernels'."""
    found: dict[str, int] = {}
    for cubin in cubins(library):
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

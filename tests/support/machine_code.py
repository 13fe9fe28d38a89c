"""What NVIDIA's disassembler reads in a library for a CUDA board."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path

from adaspring.backends.codegen.cuda import cubins

from .requirements import missing

_INSTRUCTION = re.compile(
    r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]+)", re.MULTILINE
)


def instructions(library: Path) -> Counter[str]:
    """How often each instruction stands in the machine code of all kernels."""
    found: Counter[str] = Counter()
    for cubin in cubins(library):
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(cubin)
            file.flush()
            command = [_nvdisasm(), "--print-code", file.name]
            told = subprocess.run(command, check=True, capture_output=True, text=True)
        found.update(_INSTRUCTION.findall(told.stdout))
    return found


def _nvdisasm() -> str:
    brought = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin" / "nvdisasm"
    known = shutil.which("nvdisasm") or (str(brought) if brought.is_file() else None)
    if known is None:
        missing("nvdisasm is not here (package nvidia-cuda-nvdisasm)")
    return known

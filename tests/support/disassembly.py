"""The instructions in a library."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .requirements import require_tool


def disassembly(tool: str, code: Path) -> str:
    """What a board's `objdump` makes of its code."""
    require_tool(tool, "binutils-aarch64-linux-gnu" if "aarch64" in tool else "binutils")
    done = subprocess.run([tool, "-d", code], capture_output=True, text=True, check=True)
    return done.stdout

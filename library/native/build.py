"""Compiles thread pool and arena; standard library alone, because `setup.py` runs this file.

The compiled file's name holds the digest of its sources, so that none serves for others.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("pool.c")
ARENA = Path(__file__).with_name("arena.c")
_OPTIONS = ("-std=c11", "-O2", "-shared", "-fPIC", "-pthread", "-fvisibility=hidden")
_LIBRARIES = ("-ldl",)
_TIMEOUT_S = 60


def file_name(machine: str = platform.machine()) -> str:
    """Return the name of the pool that is compiled for machines of a kind."""
    text = SOURCE.read_bytes() + ARENA.read_bytes() + " ".join((*_OPTIONS, *_LIBRARIES)).encode()
    return f"pool-{machine}-{hashlib.sha256(text).hexdigest()[:16]}.so"


def build(compiler: str, folder: Path, machine: str = platform.machine()) -> Path:
    """Compile the pool into a folder, all at once: no other process sees half of a file.

    `machine` is what `compiler` compiles for.

    Raises:
        OSError: there is no such compiler, or the folder cannot be written.
        subprocess.SubprocessError: the compiler refuses, or takes more than a minute.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pool-", dir=folder) as unfinished:
        output = Path(unfinished) / "pool.so"
        command = [compiler, *_OPTIONS, "-o", str(output)]
        command += [str(SOURCE), str(ARENA), *_LIBRARIES]
        subprocess.run(
            command, check=True, timeout=_TIMEOUT_S, capture_output=True, stdin=subprocess.DEVNULL
        )
        return output.replace(folder / file_name(machine))

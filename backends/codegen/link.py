"""Link LLVM's objects into the shared library that an app loads; no C compiler is needed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ...errors import BuildError
from ...files.replace import DISK_FULL

_LINKERS: dict[str, tuple[str, ...]] = {
    "x86_64": ("x86_64-linux-gnu-ld", "ld.lld"),
    "aarch64": ("aarch64-linux-gnu-ld", "ld.lld"),
}
# What the disk must take before LLVM writes objects: where it is full, LLVM ends the process.
OBJECT_BYTES = 2**24
_PACKAGES = {"x86_64": "binutils", "aarch64": "binutils-aarch64-linux-gnu"}


def find_linker(architecture: str) -> str:
    """The linker for an architecture; BuildError names the package that brings one."""
    names = _LINKERS[architecture]
    if platform.machine() == architecture:
        names = ("ld", *names)
    for name in names:
        if shutil.which(name):
            return name
    raise BuildError(
        f"no linker for {architecture} code ({', '.join(names)}); "
        f"install Debian's {_PACKAGES[architecture]}, or lld"
    )


def _failure(command: str, output: str, said: str) -> BuildError:
    """What a linker said, with the system's error as its cause where the disk is full."""
    text = f"{command} could not link {output}"
    for code in DISK_FULL:
        if os.strerror(code).lower() in said.lower():
            failure = BuildError(f"{text}: {OSError(code, os.strerror(code))}")
            failure.__cause__ = OSError(code, os.strerror(code), output)
            return failure
    return BuildError(f"{text}: {said.strip()[-500:]}")


def linker(architecture: str) -> Callable[..., None]:
    """The `fcompile` of `export_library` that links for an architecture."""
    command = find_linker(architecture)

    def link(output: str, objects: list[str], **_: object) -> None:
        done = subprocess.run(
            [command, "-shared", "--strip-debug", "-o", output, *map(str, objects)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            Path(output).unlink(missing_ok=True)
            raise _failure(command, output, done.stderr)

    return link

"""Link LLVM's objects into the shared library that an app loads; no C compiler is needed."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ...errors import BuildError

_LINKERS: dict[str, tuple[str, ...]] = {
    "x86_64": ("x86_64-linux-gnu-ld", "ld.lld"),
    "aarch64": ("aarch64-linux-gnu-ld", "ld.lld"),
}
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


def linker(architecture: str) -> Callable[..., None]:
    """The `fcompile` of `export_library` that links for an architecture."""
    command = find_linker(architecture)

    def link(output: str, objects: list[str], **_: object) -> None:
        done = subprocess.run(
            [command, "-shared", "-o", output, *map(str, objects)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            Path(output).unlink(missing_ok=True)
            raise BuildError(f"{command} could not link {output}: {done.stderr.strip()[-500:]}")

    return link

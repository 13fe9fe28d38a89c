"""Native code: as a wheel brought it compiled, or compiled once into the user's cache."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import RuntimeMissing
from ...targets.machine import cache_folder


@dataclass(frozen=True)
class Language:
    """What compiles it: the variable that names a compiler, and those that are looked for."""

    name: str
    variable: str
    compilers: tuple[str, ...]

    def compiler(self) -> str | None:
        """Return the path of a compiler for this machine, or None."""
        # by its full name first: where a processor is emulated, `cc` is the other one's
        full = f"{platform.machine()}-linux-gnu-{self.compilers[-1]}"
        names = (os.environ.get(self.variable), full, *self.compilers)
        return next(filter(None, (shutil.which(name) for name in names if name)), None)


C = Language("C", "CC", ("cc", "gcc"))
CXX = Language("C++", "CXX", ("c++", "g++"))


def kept_folder() -> Path:
    """Where what is compiled here is kept for the user."""
    return cache_folder() / "native"


def find(brought: Path) -> Path | None:
    """Return where code is compiled, as a wheel brought it or in the user's cache, or None."""
    places = (brought, kept_folder() / brought.name)
    return next((file for file in places if file.is_file()), None)


def find_or_compile(
    what: str, brought: Path, build: Callable[[str, Path], Path], language: Language
) -> Path:
    """Return where compiled code is; compile it where it is not.

    Args:
        what: its name in errors.
        brought: where a wheel has it.
        build: compiles with a compiler into a folder, under the same name.
        language: what it is written in.

    Raises:
        RuntimeMissing: there is no compiler, or it cannot compile this.

    """
    if (found := find(brought)) is not None:
        return found
    kept, compiler, gnu = kept_folder(), language.compiler(), language.compilers[-1]
    if compiler is None:
        raise RuntimeMissing(
            f"the {what} is not compiled for this machine, and no {language.name} compiler "
            f"({', '.join(language.compilers)}) is here; install one (apt install {gnu}), or a "
            f"wheel of adaspring for this machine, or compile the library anew where {gnu} for "
            "this machine is: then it brings it"
        )
    try:
        return build(compiler, kept)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeMissing(
            f"{compiler} cannot compile the {what} into {kept}: {''.join(last)}; mend that, "
            "or install a wheel of adaspring for this machine"
        ) from error

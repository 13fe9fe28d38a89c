"""The package's own source files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import adaspring

ROOT = Path(adaspring.__file__).parent


def package_folders(folder: Path = ROOT) -> Iterator[Path]:
    """The root and every package below it."""
    yield folder
    for init in sorted(folder.glob("*/__init__.py")):
        yield from package_folders(init.parent)


def package_files(root: Path = ROOT) -> list[Path]:
    """Every module of the package, relative to the root."""
    files = (file for folder in package_folders(root) for file in sorted(folder.glob("*.py")))
    return [file.relative_to(root) for file in files if file.name != "setup.py"]

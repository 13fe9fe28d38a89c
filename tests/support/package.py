"""The package's own source files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import adaspring

from .requirements import missing, require_tool

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


def copy_checkout(folder: Path) -> Path:
    """The checkout's files without what git ignores, so that no earlier build is in the way."""
    require_tool("git", "git")
    if not (ROOT / ".git").exists():
        missing("the package is not in a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder

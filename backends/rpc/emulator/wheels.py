"""Fetches the aarch64 wheels of TVM's runtime and of the app side, and unpacks them."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ....errors import BoardError

_PLATFORMS = ("manylinux_2_28", "manylinux2014", "manylinux_2_17")
_DOWNLOAD_S = 900
PINNED = ("apache-tvm", "apache-tvm-ffi")
_APP_SIDE = ("msgspec", "numpy")
# The compiler above all: a board has none. Then what only a compiler of C++ would read.
_LEFT_OUT = re.compile(
    r"libtvm_compiler|libtvm_runtime_cuda|/tests?/"
    r"|^tvm/(include|src|3rdparty|cmake|web|licenses)/|^tvm_ffi/(include|src|3rdparty)/"
    r"|^numpy/.*\.(pyi|a|h)$"
)


def fetch_wheels(folder: Path, python: str) -> list[Path]:
    """Download the wheels, with what they depend on, for an aarch64 Python (as "3.11")."""
    wanted = [f"{name}=={version(name)}" for name in PINNED] + list(_APP_SIDE)
    return download(folder, wanted, python, "aarch64")


def download(
    folder: Path, wanted: Sequence[str], python: str, architecture: str, *options: str
) -> list[Path]:
    """Download wheels for a Python of another architecture; BoardError where pip cannot."""
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--dest", str(folder), "--only-binary", ":all:", "--python-version", python]
    for platform in _PLATFORMS:
        command += ["--platform", f"{platform}_{architecture}"]
    command += options
    try:
        done = subprocess.run(
            [*command, *wanted], capture_output=True, text=True, timeout=_DOWNLOAD_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BoardError(
            f"pip timed out after {_DOWNLOAD_S} s fetching the board's wheels; check the network"
        ) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        last = lines[-1].removeprefix("ERROR: ") if lines else "it gave no reason"
        raise BoardError(f"pip could not fetch the board's wheels: {last}; check the network")
    return sorted(folder.glob("*.whl"))


def unpack_wheel(wheel: Path, site: Path) -> None:
    """Unpack what a board needs of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site, [n for n in archive.namelist() if not _LEFT_OUT.search(n)])

"""What apps need beside a variant's code, for a board's architecture, to be packed into libraries.

TVM's runtime with its licence, and the thread pool.
"""

from __future__ import annotations

import logging
import platform
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import tvm
from tvm.libinfo import find_libtvm_runtime

from ...backends.rpc.emulator.wheels import download
from ...errors import BoardError
from ...files.replace import folder_beside
from ...library.native import build, pool
from ...targets import Board
from ...targets.machine import cache_folder

_log = logging.getLogger(__name__)
_MEMBERS = ("lib/libtvm_runtime.so", "LICENSE", "NOTICE")  # below `tvm/`
_PACKAGE = "apache-tvm"
_PATIENCE = ("--no-deps", "--retries", "1", "--timeout", "15")


def runtime_files(board: Board) -> tuple[Path, ...]:
    """libtvm_runtime, licence and notice for apps of a CPU board; none for GPUs.

    Of another architecture they come out of that one's wheel of the installed release: 95 MB,
    fetched by pip once, of which 3 MB are kept in the user's cache folder. Where it cannot be
    fetched a warning says what to install on the board, and the library does without.
    """
    if board.device != "cpu":
        return ()
    tvms = _tvms_files(board)
    return (*tvms, *_pool_files(board)) if tvms else ()


def _pool_files(board: Board) -> tuple[Path, ...]:
    """The compiled thread pool, or nothing, with a warning that says what is missing."""
    machine = board.architecture
    if machine == platform.machine():
        return (pool.path(),)
    kept = cache_folder() / "native"
    if (kept / build.file_name(machine)).is_file():
        return (kept / build.file_name(machine),)
    compiler = shutil.which(f"{machine}-linux-gnu-gcc")
    try:
        if compiler is not None:
            return (build.build(compiler, kept, machine),)
        reason = f"{machine}-linux-gnu-gcc is not installed"
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(error)
    _log.warning(
        "%s: no thread pool is packed into its library (%s; Debian: gcc-%s-linux-gnu); the board "
        "compiles it at first use, for which it needs gcc",
        board.name,
        reason,
        machine.replace("_", "-"),
    )
    return ()


def _tvms_files(board: Board) -> tuple[Path, ...]:
    if board.architecture == platform.machine():
        _, *notices = _MEMBERS
        package = Path(tvm.__file__).parent
        return (Path(find_libtvm_runtime()), *(package / name for name in notices))
    release = version(_PACKAGE)
    folder = cache_folder() / "runtime" / f"{board.architecture}-tvm{release}"
    try:
        if not folder.is_dir():
            _fetch(folder, f"{_PACKAGE}=={release}", board.architecture)
    except (BoardError, OSError, zipfile.BadZipFile, KeyError) as error:
        _log.warning(
            "%s: no runtime is packed into its library (%s); on the board, "
            "`pip install %s==%s` brings it",
            board.name,
            error,
            _PACKAGE,
            release,
        )
        return ()
    return tuple(folder / Path(name).name for name in _MEMBERS)


def _fetch(folder: Path, wanted: str, architecture: str) -> None:
    """Put the files into `folder`, all or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with folder_beside(folder) as work:
        (wheel,) = download(work / "wheel", [wanted], python, architecture, *_PATIENCE)
        new = work / "files"
        new.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in _MEMBERS:
                (new / Path(name).name).write_bytes(archive.read(f"tvm/{name}"))
        new.rename(folder)

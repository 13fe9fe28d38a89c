"""What apps need beside a variant's code, for a board's architecture, to be packed into libraries.

TVM's runtime with its licence, the thread pool, and for OpenCL boards that runtime.
"""

from __future__ import annotations

import logging
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import tvm
from tvm.libinfo import find_libtvm_runtime

from ...backends.rpc.emulator.wheels import download
from ...errors import BoardError
from ...files.replace import folder_beside
from ...library.native import build as pool_build
from ...library.native import pool
from ...library.opencl import build as opencl_build
from ...library.opencl import plugin as opencl
from ...targets import Board
from ...targets.machine import cache_folder

_log = logging.getLogger(__name__)
_MEMBERS = ("lib/libtvm_runtime.so", "LICENSE", "NOTICE")  # below `tvm/`
_PACKAGE = "apache-tvm"
_PATIENCE = ("--no-deps", "--retries", "1", "--timeout", "15")


def runtime_files(board: Board) -> tuple[Path, ...]:
    """libtvm_runtime, licence and notice, and our own native code; none for CUDA.

    Of another architecture they come out of that one's wheel of the installed release: 95 MB,
    fetched by pip once, of which 3 MB are kept in the user's cache folder. Where it cannot be
    fetched a warning says what to install on the board, and the library does without.
    """
    if board.device == "cuda":
        return ()
    tvms = _tvms_files(board)
    if not tvms:
        return ()
    own = _own_file("thread pool", pool.path, pool_build, "gcc", board)
    if board.device == "opencl":
        own += _own_file("OpenCL runtime", opencl.path, opencl_build, "g++", board)
    return (*tvms, *own)


def _own_file(
    what: str, here: Callable[[], Path], source: ModuleType, compiler: str, board: Board
) -> tuple[Path, ...]:
    """Native code of ours compiled for the board, or nothing, with a warning that says what lacks.

    `here` gives that of this machine, `source` compiles it with another's `compiler`.
    """
    machine, kept = board.architecture, cache_folder() / "native"
    if machine == platform.machine():
        return (here(),)
    if (file := kept / source.file_name(machine)).is_file():
        return (file,)
    full = f"{machine}-linux-gnu-{compiler}"
    try:
        if (found := shutil.which(full)) is not None:
            return (source.build(found, kept, machine),)
        reason = f"{full} is not installed"
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(error)
    _log.warning(
        "%s: no %s is packed into its library (%s; Debian: %s-%s-linux-gnu); the board compiles it "
        "at first use, for which it needs %s",
        board.name,
        what,
        reason,
        compiler,
        machine.replace("_", "-"),
        compiler,
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

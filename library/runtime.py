"""libtvm_runtime without the compiler: found, loaded once, its threads replaced by our pool.

Neither tvm nor torch is imported: the shared library comes from the opened library, or out of an
installed apache-tvm that is located but not run.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ..errors import LibraryError, RuntimeMissing, WrongBoard
from ..targets.board import Affinity
from ..targets.detect import this_architecture
from ..targets.machine import cpu_flags, fastest_cpus
from .ffi import tvm_ffi
from .manifest import BoardRecord, Manifest
from .native import pool
from .native.turns import LOAD_CODE, Turn

ROAMING = Affinity()
SPIN_US = 200
_ANY_TVM_FUNCTION = "runtime.NumThreads"
_loading = Turn(LOAD_CODE)
_configured = threading.local()
_in_use: WeakValueDictionary[tuple[int, int], LoadedCode] = WeakValueDictionary()


def check_machine(board: BoardRecord) -> None:
    """Refuse a library whose code this machine cannot run: WrongBoard."""
    here = this_architecture()
    if board.architecture != here:
        raise WrongBoard(
            f"this library is for {board.name} ({board.architecture}), this machine is {here}; "
            "rebuild with `adaspring compile --target host`"
        )
    missing = sorted(set(board.cpu_features) - cpu_flags())
    if missing:
        raise WrongBoard(
            f"this library is for {board.name} and uses {', '.join(missing)}, which this processor "
            "lacks; rebuild with `adaspring compile --target host`"
        )
    check_affinity(board.affinity, board.name)


def load_runtime(folder: Path, manifest: Manifest) -> None:
    """Load libtvm_runtime, and the device's part of it, unless this process has them already.

    Raises:
        RuntimeMissing: it is in neither place, or the installed one has another version.

    """
    with _loading:
        if not _has(_ANY_TVM_FUNCTION):
            _open(runtime_path(folder, manifest))
        device = manifest.board.device
        if device == "cpu" or _has(f"device_api.{device}"):
            return
        part = runtime_path(folder, manifest).with_name(f"libtvm_runtime_{device}.so")
        if not part.is_file():
            raise RuntimeMissing(f"{part}: no such file, so {device} code cannot run here")
        _open(part)


def check_affinity(affinity: Affinity, board: str) -> None:
    """Refuse an affinity to processors that this process may not use: WrongBoard."""
    lacking = sorted(set(affinity.cpus) - _usable())
    if lacking:
        raise WrongBoard(
            f"the threads of {board} run on processors {_listed(affinity.cpus)}, this process may "
            f"use {_listed(sorted(_usable()))}; allow it the others (taskset, cpuset), or rebuild "
            "for a board with another affinity"
        )


def use_threads(count: int, affinity: Affinity = ROAMING, spin_us: int = SPIN_US) -> None:
    """Let this thread's calls use `count` processors, at most those that `affinity` allows.

    `spin_us`: microseconds for which a thread that waits stays awake.

    Raises:
        WrongBoard: the affinity names a processor that this process may not use.
        RuntimeMissing: the thread pool is not compiled, and cannot be.

    """
    if getattr(_configured, "wanted", None) == (count, affinity, spin_us):
        return
    check_affinity(affinity, "the board")
    cpus = affinity.cpus or _fastest()
    os.sched_setaffinity(0, cpus[:1] if affinity.pinned else cpus)
    pool.use(min(count, len(cpus)), cpus, pinned=affinity.pinned, spin_us=spin_us)
    _configured.wanted = (count, affinity, spin_us)


@cache
def _usable() -> frozenset[int]:
    """The processors of this process, asked once: `use_threads` may narrow a thread's own."""
    return frozenset(os.sched_getaffinity(0))


@cache
def _fastest() -> tuple[int, ...]:
    return tuple(sorted(fastest_cpus(Path("/"), _usable())))


def _listed(cpus: Iterable[int]) -> str:
    return ", ".join(str(cpu) for cpu in cpus)


def give_back_unused() -> None:
    """Free the buffers that TVM keeps from earlier calls, of all variants; those in use stay."""
    tvm_ffi.get_global_func("vm.builtin.memory_manager.clear")()


@dataclass(frozen=True, eq=False)
class LoadedCode:
    """A variant's compiled functions, in use by all machines that run it."""

    module: Any


@dataclass(frozen=True)
class Machine:
    """A virtual machine's functions by name; it keeps its code from being loaded twice."""

    code: LoadedCode
    functions: Any

    def __getitem__(self, name: str) -> Any:
        return self.functions[name]


def start_machine(path: Path, devices: tuple[tuple[int, int], ...]) -> Machine:
    """Return the compiled library's virtual machine, started on (type, index) devices."""
    try:
        with _loading:
            code = _load_code(path)
        functions = code.module["vm_load_executable"]()
        pooled = 2
        functions["vm_initialization"](*(word for pair in devices for word in (*pair, pooled)))
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LibraryError(f"{path}: cannot be loaded: {first}; rebuild the library") from error
    return Machine(code, functions)


def _load_code(path: Path) -> LoadedCode:
    """Load a file once, while it is in use: loading it again would point it at TVM's pool again.

    It is opened through a name of its own: the loader takes a name that it has seen for the file
    that it had then, so a library compiled anew in the same place would run its old code.
    """
    status = path.stat()
    file = (status.st_dev, status.st_ino)
    if (code := _in_use.get(file)) is None:
        with tempfile.TemporaryDirectory(prefix="adaspring-") as folder:
            fresh = Path(folder) / path.name
            fresh.symlink_to(path.resolve())
            code = LoadedCode(tvm_ffi.load_module(str(fresh)))
            pool.give_to(fresh)
        _in_use[file] = code
    return code


def runtime_path(folder: Path, manifest: Manifest) -> Path:
    """Where libtvm_runtime is: in the library's folder, else in the installed apache-tvm."""
    if manifest.runtime is not None:
        return folder / manifest.runtime
    spec = find_spec("tvm")
    if spec is None or spec.origin is None:
        raise RuntimeMissing(
            "libtvm_runtime is neither in the library nor installed; "
            f"`pip install apache-tvm=={manifest.tvm_version}`, or pack it when compiling"
        )
    installed = _installed_version()
    if _release(installed) != _release(manifest.tvm_version):
        raise RuntimeMissing(
            f"the library was built with TVM {manifest.tvm_version}, installed is {installed}; "
            f"`pip install apache-tvm=={manifest.tvm_version}`, or pack the runtime when compiling"
        )
    return Path(spec.origin).parent / "lib" / "libtvm_runtime.so"


def _installed_version() -> str:
    try:
        return version("apache-tvm")
    except PackageNotFoundError:
        return "unknown"


def _release(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")[:3])


def _open(path: Path) -> None:
    try:
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise RuntimeMissing(f"{path}: cannot be loaded: {error}") from error


def _has(function: str) -> bool:
    return tvm_ffi.get_global_func(function, allow_missing=True) is not None

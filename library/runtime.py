"""libtvm_runtime without the compiler: found, loaded once, its threads set.

Neither tvm nor torch is imported: the shared library comes from the opened library, or out of an
installed apache-tvm that is located but not run.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
import warnings
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import LibraryError, RuntimeMissing, WrongBoard
from ..targets.board import Affinity
from ..targets.detect import this_architecture
from ..targets.machine import cpu_flags, fastest_cpus
from .ffi import tvm_ffi
from .manifest import BoardRecord, Manifest

_SHARE_CPUS = -3  # kSpecifyThreadShareAllCore: threads roam over the given processors, unpinned
_ONE_CPU_EACH = -2  # kSpecifyOneCorePerThread: the n-th thread stays on the n-th of them
ROAMING = Affinity()
_ANY_TVM_FUNCTION = "runtime.config_threadpool"
_loading = threading.Lock()
_configured = threading.local()


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


def use_threads(count: int, affinity: Affinity = ROAMING) -> None:
    """Let this thread's calls use `count` processors, at most those that `affinity` allows.

    TVM keeps a pool for each calling thread, with half of the x86 processors by default; the pool
    takes its size when first used and can shrink but not grow.

    Raises:
        WrongBoard: the affinity names a processor that this process may not use.

    """
    if getattr(_configured, "wanted", None) == (count, affinity):
        return
    check_affinity(affinity, "the board")
    cpus = affinity.cpus or tuple(sorted(fastest_cpus(Path("/"), _usable())))
    wanted = min(count, len(cpus))
    # A pool that has more threads than it is given places for would not be pinned.
    _configured.places = max(len(cpus), getattr(_configured, "places", 0))
    places = [str(cpus[index % len(cpus)]) for index in range(_configured.places)]
    mode = _ONE_CPU_EACH if affinity.pinned else _SHARE_CPUS
    tvm_ffi.get_global_func(_ANY_TVM_FUNCTION)(mode, wanted, places)
    if affinity.pinned:  # TVM pins the pool's own threads, and lets the caller roam over all cpus
        os.sched_setaffinity(0, cpus[:1])
    got = tvm_ffi.get_global_func("runtime.NumThreads")()
    if got != wanted:
        warnings.warn(
            f"this thread's TVM pool was started with {got} threads before adaspring asked for "
            f"{wanted}; run the library before other TVM code, or in another thread",
            RuntimeWarning,
            stacklevel=2,
        )
    _configured.wanted = (count, affinity)


@cache
def _usable() -> frozenset[int]:
    """The processors of this process, asked once: `use_threads` may narrow a thread's own."""
    return frozenset(os.sched_getaffinity(0))


def _listed(cpus: Iterable[int]) -> str:
    return ", ".join(str(cpu) for cpu in cpus)


def give_back_unused() -> None:
    """Free the buffers that TVM keeps from earlier calls, of all variants; those in use stay."""
    tvm_ffi.get_global_func("vm.builtin.memory_manager.clear")()


def load_code(path: Path, devices: tuple[tuple[int, int], ...]) -> Any:
    """Return the compiled library's virtual machine, started on (type, index) devices.

    It is opened through a name of its own: the loader takes a name that it has seen for the file
    that it had then, so a library compiled anew in the same place would run its old code.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="adaspring-") as folder:
            fresh = Path(folder) / path.name
            fresh.symlink_to(path.resolve())
            machine = tvm_ffi.load_module(str(fresh))["vm_load_executable"]()
        pooled = 2
        machine["vm_initialization"](*(word for pair in devices for word in (*pair, pooled)))
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LibraryError(f"{path}: cannot be loaded: {first}; rebuild the library") from error
    return machine


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

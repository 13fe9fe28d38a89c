"""libtvm_runtime without the compiler: found, loaded once, its threads replaced by our pool.

Neither tvm nor torch is imported: the shared library comes from the opened library, or out of an
installed apache-tvm that is located but not run.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ..errors import LibraryError, RuntimeMissing, WrongBoard, first_line
from ..targets.board import Affinity
from ..targets.detect import this_architecture
from ..targets.machine import cpu_flags, fastest_cpus
from .devices import cuda
from .manifest import RUNTIME_FOLDER, BoardRecord, Manifest
from .native import arena, pool
from .native import build as pool_build
from .native.ffi import tvm_ffi
from .native.turns import LOAD_CODE, Turn
from .opencl import build as opencl_build
from .opencl import plugin as opencl
from .reader import LibraryFolder
from .tensors import machine_words

ROAMING = Affinity()
SPIN_US = 200
_ANY_TVM_FUNCTION = "runtime.NumThreads"
_loading = Turn(LOAD_CODE)
_modules: WeakValueDictionary[bytes, _Code] = WeakValueDictionary()  # by the SHA-256 of their code
_names = itertools.count(1)
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


def load_runtime(folder: LibraryFolder | None, manifest: Manifest) -> None:
    """Load libtvm_runtime, and the device's part of it, unless this process has them already.

    What is packed in the library is used only where its manifest lists it, from the file that was
    verified; else the installed one.

    Raises:
        RuntimeMissing: it is in neither place, or the installed one has another version.
        WrongBoard: it is for a GPU that is not here.

    """
    with _loading:
        if not has(_ANY_TVM_FUNCTION):
            _open(folder, manifest, manifest.runtime)
        _load_pool(folder, manifest)
        device = manifest.board.device
        if device == "opencl":
            _load_opencl(folder, manifest)
        elif device == "cuda":
            _load_cuda(folder, manifest)


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
    """Free what earlier calls left in TVM's pools: outputs, and activations of older libraries."""
    tvm_ffi.get_global_func("vm.builtin.memory_manager.clear")()


def give_back_all() -> None:
    """Free the arena, too; what a call or an app's tensor uses stays."""
    arena.clear()
    give_back_unused()


class _Code:
    """A loaded library of code. It is unloaded when neither this nor a function of it is left."""

    def __init__(self, code: bytes, name: str) -> None:
        with open(os.memfd_create(f"adaspring:{name}"), "wb") as file:
            file.write(code)
            file.flush()
            fresh = _fresh_name(file.fileno())
            self.module = tvm_ffi.get_global_func("ffi.Module.load_from_file.so")(fresh, "so")
            pool.give_to(fresh)


class Machine:
    """A virtual machine: its functions by name. It keeps its code loaded."""

    def __init__(self, code: _Code, device: tuple[int, int]) -> None:
        self._code = code
        self._machine = code.module["vm_load_executable"]()
        with arena.in_tvms_place():
            self._machine["vm_initialization"](*machine_words(device))

    def __getitem__(self, name: str) -> Any:
        return self._machine[name]


def load_code(code: bytes, path: Path, device: tuple[int, int]) -> Machine:
    """Return the virtual machine of a compiled library, started on a (type, index) device.

    The bytes given are what is run: they are loaded from memory of this process, not from a file
    that may be another by then. Equal bytes are loaded once, as long as a machine runs them.
    """
    digest = hashlib.sha256(code).digest()
    try:
        with _loading:
            loaded = _modules.get(digest)
            if loaded is None:
                loaded = _modules[digest] = _Code(code, path.name)
            return Machine(loaded, device)
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        why = f"{path}: cannot be loaded: {first_line(error)}"
        raise LibraryError(f"{why}; rebuild the library") from error


def _fresh_name(descriptor: int) -> str:
    """A name of an open file, each time another.

    The loader takes a name that it has seen for the file that it had then, and a descriptor's
    number is used again. So each bit of a count becomes a part of the path that leads nowhere else.
    """
    detour = "".join("/." if bit == "1" else "//" for bit in f"{next(_names):b}")
    return f"/proc/self/fd{detour}/{descriptor}"


def runtime_path(tvm_version: str, name: str = "libtvm_runtime.so") -> Path:
    """Where a part of the installed apache-tvm's runtime is, of the release that is asked for."""
    package = installed_tvm()
    if package is None:
        raise RuntimeMissing(
            f"{name} is neither in the library nor installed; "
            f"`pip install apache-tvm=={tvm_version}`, or compile the library anew: it is packed "
            "for CPU boards"
        )
    installed = _installed_version()
    if _release(installed) != _release(tvm_version):
        raise RuntimeMissing(
            f"the library was built with TVM {tvm_version}, installed is {installed}; "
            f"`pip install apache-tvm=={tvm_version}`, or compile the library anew"
        )
    path = package / "lib" / name
    if not path.is_file():
        raise RuntimeMissing(f"{path}: no such file, so code that needs it cannot run here")
    return path


def installed_tvm() -> Path | None:
    """The folder of the installed apache-tvm, which is not imported; None where there is none."""
    try:
        spec = find_spec("tvm")
    except ImportError:  # hidden from this process
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _installed_version() -> str:
    try:
        return version("apache-tvm")
    except PackageNotFoundError:
        return "unknown"


def _release(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")[:3])


def _open(
    folder: LibraryFolder | None,
    manifest: Manifest,
    packed: str | None,
    name: str = "libtvm_runtime.so",
) -> None:
    """Open a part of the runtime for all libraries: a packed file, or where None the installed."""
    try:
        if folder is None or packed is None:
            ctypes.CDLL(str(runtime_path(manifest.tvm_version, name)), ctypes.RTLD_GLOBAL)
            return
        record = next(record for record in manifest.files if record.path == packed)
        folder.verify((record,))
        with folder.open(record) as file:
            ctypes.CDLL(_fresh_name(file.fileno()), ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise RuntimeMissing(f"{packed or name}: cannot be loaded: {error}") from error


def _load_pool(folder: LibraryFolder | None, manifest: Manifest) -> None:
    """Take the thread pool that the library brings, unless this process or package has one."""
    if not pool.is_loaded() and pool.prebuilt() is None:
        _load_packed(folder, manifest, pool_build.file_name(), pool.load)


def _load_opencl(folder: LibraryFolder | None, manifest: Manifest) -> None:
    """Take the OpenCL runtime that the library brings, unless this process or package has one."""
    if not opencl.is_loaded() and opencl.compiled() is None:
        _load_packed(folder, manifest, opencl_build.file_name(), opencl.load)
    opencl.start(manifest.board.target, manifest.board.name)


def _load_cuda(folder: LibraryFolder | None, manifest: Manifest) -> None:
    """Take TVM's runtime for CUDA, of the library or the installed, unless this process has it."""
    cuda.check_device(manifest.board.target, manifest.board.name)
    if has("device_api.cuda"):
        return
    cuda.load_cudart()
    packed = f"{RUNTIME_FOLDER}/{cuda.RUNTIME}"
    listed = packed in {record.path for record in manifest.files}
    _open(folder, manifest, packed if listed else None, cuda.RUNTIME)


def _load_packed(
    folder: LibraryFolder | None, manifest: Manifest, name: str, load: Callable[[str], None]
) -> None:
    """Load a file of the library's runtime, verified, where it has one of that name."""
    packed = f"{RUNTIME_FOLDER}/{name}"
    record = next((record for record in manifest.files if record.path == packed), None)
    if folder is None or record is None:
        return
    folder.verify((record,))
    with folder.open(record) as file:
        load(_fresh_name(file.fileno()))


def has(function: str) -> bool:
    """Whether TVM's runtime of this process has a function of that name."""
    return tvm_ffi.get_global_func(function, allow_missing=True) is not None

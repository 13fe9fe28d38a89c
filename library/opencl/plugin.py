"""OpenCL for TVM's runtime, which comes without: found or compiled, then loaded into this process.

On a host every `import tvm` loads it, by TVM's entry point for back ends, if it is compiled
already; an app loads it with a library that needs it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...errors import RuntimeMissing, WrongBoard
from ...targets.machine import cache_folder
from ..native.compiled import CXX, find, find_or_compile
from ..native.ffi import tvm_ffi
from ..native.turns import LOAD_OPENCL, Turn
from ..tensors import DEVICES
from .build import FOLDER, TVM_RELEASE, build, file_name

_ANY_FUNCTION = "adaspring.opencl.devices_count"
# TVM's DeviceAttrKind
_DEVICE_NAME = 5
_LIMITS = {"max_threads_per_block": 1, "max_shared_memory_per_block": 3}
_loading = Turn(LOAD_OPENCL)


def load(file: str | None = None) -> None:
    """Let this process's TVM run OpenCL, by a compiled file or the package's own; once.

    TVM's runtime is loaded before.

    Raises:
        RuntimeMissing: it is not compiled and cannot be, or is for another release of TVM.

    """
    with _loading:
        if is_loaded():
            return
        if file is None:
            _check_release()
            file = str(path())
        try:
            ctypes.CDLL(file)
        except OSError as error:
            raise RuntimeMissing(f"{file}: the OpenCL runtime cannot be loaded: {error}") from error
        _function("set_program_folder")(str(cache_folder() / "opencl"))


def autoload() -> None:
    """Load what is there compiled for the installed TVM; say nothing where there is nothing.

    TVM calls this whenever it is imported: no device is looked for.
    """
    if _is_for(_installed()) and (there := compiled()) is not None:
        load(str(there))


def compiled() -> Path | None:
    """Return where the runtime is that was compiled for this machine, or None."""
    return find(_brought())


def is_loaded() -> bool:
    """Whether this process's TVM runs OpenCL, by this runtime."""
    return tvm_ffi.get_global_func(_ANY_FUNCTION, allow_missing=True) is not None


def path() -> Path:
    """Return where the compiled runtime is; compile it where it is not.

    Raises:
        RuntimeMissing: there is no C++ compiler, or it cannot compile it.

    """
    return find_or_compile("OpenCL runtime", _brought(), build, CXX)


def start(target: Mapping[str, Any], board: str) -> None:
    """Load the runtime, and refuse a board's kernels that cannot run here.

    Raises:
        RuntimeMissing: the runtime cannot be had.
        WrongBoard: there is no OpenCL device here, or its limits are lower than the board's.

    """
    load()
    _check_device(target, board)


def device_name() -> str:
    """The first OpenCL device's own name."""
    return str(_attribute(_DEVICE_NAME))


def _check_device(target: Mapping[str, Any], board: str) -> None:
    if _function("devices_count")() == 0:
        raise WrongBoard(
            f"{board} computes through OpenCL, and no OpenCL device is here; install its driver "
            "(Debian: apt install pocl-opencl-icd for one on the CPU)"
        )
    for name, kind in _LIMITS.items():
        wanted, has = target.get(name, 0), _attribute(kind)
        if wanted > has:
            raise WrongBoard(
                f"{board} has {wanted} for {name}, the OpenCL device here {has}; compile for a "
                "board with its limits (a .toml file)"
            )


KernelTimes = list[tuple[str, float]]
"""Name and milliseconds of each kernel, in the order of the launches."""


@contextmanager
def timed_kernels() -> Iterator[Callable[[], KernelTimes]]:
    """Time the kernels that are launched meanwhile, other threads' too, by the device's own clock.

    Gives what waits for the device, and gives the times of those since it was called last.
    """
    _function("time_kernels")(0, True)
    try:
        yield _take_times
    finally:
        _take_times()
        _function("time_kernels")(0, False)


def _take_times() -> KernelTimes:
    found = list(_function("take_times")(0))
    return [(str(name), 1e-3 * us) for name, us in zip(found[::2], found[1::2], strict=True)]


def _attribute(kind: int) -> Any:
    return tvm_ffi.get_global_func("runtime.GetDeviceAttr")(*DEVICES["opencl"], kind)


def _function(name: str) -> Any:
    return tvm_ffi.get_global_func(f"adaspring.opencl.{name}")


def _brought() -> Path:
    return FOLDER / file_name()


def _installed() -> str:
    try:
        return version("apache-tvm")
    except PackageNotFoundError:
        return "none"


def _is_for(release: str) -> bool:
    return release.startswith(f"{TVM_RELEASE}.")


def _check_release() -> None:
    if not _is_for(_installed()):
        raise RuntimeMissing(
            f"the OpenCL runtime is for TVM {TVM_RELEASE}, installed is {_installed()}; "
            f"`pip install 'apache-tvm=={TVM_RELEASE}.*'`"
        )

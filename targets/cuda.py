"""The CUDA device of this machine, as NVIDIA's driver describes it: no toolkit, no tvm."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import cache

from ..errors import BoardError

_DRIVER = "libcuda.so.1"
# CUdevice_attribute, in the driver's cuda.h
_MAJOR, _MINOR = 75, 76
_LIMITS = {
    "max_threads_per_block": 1,
    "max_shared_memory_per_block": 8,
    "thread_warp_size": 10,
    "registers_per_block": 12,
    "l2_cache_size_bytes": 38,
}
_NAME_BYTES = 256


def capability(arch: str) -> int:
    """sm_90a → 90; 0 where it names none."""
    number = re.fullmatch(r"sm_(\d{2,3})[af]?", arch)
    return int(number[1]) if number else 0


@dataclass(frozen=True)
class CudaDevice:
    """The first device: its compute capability (90 for sm_90), and limits by TVM's names."""

    name: str
    capability: int
    memory_bytes: int
    limits: dict[str, int]


@cache
def cuda_device() -> CudaDevice:
    """Ask the driver; BoardError where there is none, or no device."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        raise BoardError(
            f"no CUDA device is here: NVIDIA's driver ({_DRIVER}) is not installed"
        ) from None

    def call(name: str, *arguments: object) -> None:
        function = getattr(driver, name, None)
        if function is None or (status := function(*arguments)):
            how = "is missing" if function is None else f"gave error {status}"
            raise BoardError(f"no CUDA device is here: the driver's {name} {how}")

    device, count, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    call("cuInit", 0)
    call("cuDeviceGetCount", ctypes.byref(count))
    if count.value == 0:
        raise BoardError("no CUDA device is here: the driver has none")
    call("cuDeviceGet", ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    call("cuDeviceGetName", name, _NAME_BYTES, device)
    call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)

    def attribute(kind: int) -> int:
        value = ctypes.c_int()
        call("cuDeviceGetAttribute", ctypes.byref(value), kind, device)
        return value.value

    return CudaDevice(
        name=name.value.decode(errors="replace"),
        capability=10 * attribute(_MAJOR) + attribute(_MINOR),
        memory_bytes=memory.value,
        limits={name: attribute(kind) for name, kind in _LIMITS.items()},
    )

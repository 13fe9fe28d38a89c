"""Make this process ready for the device of a board."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ...errors import RuntimeMissing
from ..opencl import plugin as opencl
from ..runtime import has, runtime_path
from . import cuda


def start(device: str, target: Mapping[str, Any], board: str) -> None:
    """Load what TVM's runtime, which is loaded, lacks for a device; nothing for processors.

    Raises:
        RuntimeMissing: that cannot be had.
        WrongBoard: no such device is here, or not with what the board's kernels need.

    """
    if device == "opencl":
        opencl.start(target, board)
    elif device == "cuda":
        cuda.check_device(target, board)
        load_cuda()


def load_cuda() -> None:
    """Load TVM's runtime for CUDA, once; RuntimeMissing where it or NVIDIA's cannot be had."""
    if has("device_api.cuda"):
        return
    cuda.load_cudart()
    path = runtime_path(version("apache-tvm"), cuda.RUNTIME)
    try:
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise RuntimeMissing(f"{path}: cannot be loaded: {error}") from error

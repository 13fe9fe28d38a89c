"""CUDA for TVM's runtime: its own library for it, which needs NVIDIA's driver and CUDA runtime."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import BoardError, RuntimeMissing, WrongBoard
from ...targets.cuda import CudaDevice, capability, cuda_device

CUDART = "libcudart.so.13"
RUNTIME = "libtvm_runtime_cuda.so"


def check_device(target: Mapping[str, Any], board: str) -> None:
    """Refuse a board's kernels that cannot run here: WrongBoard.

    Machine code is for one generation of GPUs alone.
    """
    try:
        here = cuda_device()
    except BoardError as error:
        raise WrongBoard(f"{board} computes on CUDA, and {error}") from error
    wanted = capability(str(target.get("arch")))
    if wanted != here.capability:
        raise WrongBoard(
            f"{board} has code for sm_{wanted}, the GPU here ({here.name}) is "
            f"sm_{here.capability}; compile with `--target host-cuda`"
        )
    _check_limits(target, board, here)


def load_cudart() -> None:
    """Load NVIDIA's CUDA runtime: the system's, or that of its package; RuntimeMissing if none."""
    root = pip_root()
    for name in (CUDART, *([str(root / "lib" / CUDART)] if root else [])):
        try:
            ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return
    raise RuntimeMissing(
        f"{CUDART} is not here; install CUDA 13, or `pip install 'nvidia-cuda-runtime>=13,<14'`"
    )


def _check_limits(target: Mapping[str, Any], board: str, here: CudaDevice) -> None:
    for name, has in here.limits.items():
        wanted = int(target.get(name, 0))
        if name.startswith("max_") and wanted > has:
            raise WrongBoard(
                f"{board} has {wanted} for {name}, the GPU here ({here.name}) {has}; "
                "compile with `--target host-cuda`"
            )


def pip_root() -> Path | None:
    """Find the folder where NVIDIA's CUDA 13 wheels put their `lib` and `include`."""
    spec = find_spec("nvidia")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return next((Path(f) / "cu13" for f in folders if (Path(f) / "cu13").is_dir()), None)

"""Find what turns CUDA source into machine code: nvcc, or NVRTC from pip's packages.

Needs no GPU, no driver, and no tvm.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import BuildError
from ...library.devices.cuda import CUDART, pip_root

TOOLKITS = (Path("/usr/local/cuda"), Path("/opt/cuda"))
"""Where NVIDIA's installer and distributions put the toolkit."""

_NVRTC = "libnvrtc.so.13"
_INSTALL = 'install CUDA 13\'s toolkit, or `pip install "adaspring[cuda]"`'


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """A CUDA compiler, and the CUDA runtime that TVM's own CUDA runtime is linked against."""

    kind: Literal["nvcc", "nvrtc"]
    compiler: str
    include_dirs: tuple[str, ...]
    cudart: str


def find_toolchain() -> Toolchain:
    """Find the installed toolchain, nvcc first; BuildError says what to install."""
    pip = pip_root()
    roots = (*TOOLKITS, *([pip] if pip else []))
    cudart = _library(CUDART, roots)
    nvcc = _nvcc()
    if nvcc is not None and cudart is not None:
        return Toolchain(kind="nvcc", compiler=nvcc, include_dirs=(), cudart=cudart)
    nvrtc = _library(_NVRTC, roots)
    if nvcc is None and nvrtc is None:
        raise BuildError(f"no CUDA compiler (neither nvcc nor {_NVRTC}); {_INSTALL}")
    if cudart is None:
        raise BuildError(f"no CUDA runtime ({CUDART}); {_INSTALL}")
    includes = _include_dirs(roots)
    if not includes:
        raise BuildError(f"no CUDA headers (cuda_fp16.h, cuda/std/cstdint); {_INSTALL}")
    assert nvrtc is not None
    return Toolchain(kind="nvrtc", compiler=nvrtc, include_dirs=includes, cudart=cudart)


def _nvcc() -> str | None:
    beside = os.pathsep.join(str(root / "bin") for root in TOOLKITS)
    return shutil.which("nvcc") or shutil.which("nvcc", path=beside)


def _library(name: str, roots: tuple[Path, ...]) -> str | None:
    searched = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    folders = [Path(folder) for folder in searched if folder]
    folders += [root / lib for root in roots for lib in ("lib64", "lib")]
    return next((str(folder / name) for folder in folders if (folder / name).is_file()), None)


def _include_dirs(roots: tuple[Path, ...]) -> tuple[str, ...]:
    """Folders that hold all the headers of TVM's source, from one root."""
    for root in roots:
        include = root / "include"
        standard = next(
            (f for f in (include, include / "cccl") if (f / "cuda/std/cstdint").is_file()), None
        )
        if standard and (include / "cuda_fp16.h").is_file():
            return tuple(dict.fromkeys((str(include), str(standard))))
    return ()

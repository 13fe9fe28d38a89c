"""Libraries for CUDA boards that hold their kernels' source, for this machine's processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import tvm
import tvm_ffi

from adaspring.backends.build import generate_library
from adaspring.backends.codegen import cuda, cuda_compiler
from adaspring.targets import Board

from ..boards import NULL


def on_this_host(board: Board) -> Board:
    """The board's GPU in this machine, so that its kernels are the board's, and its host runs."""
    target = {**board.target, "host": dict(NULL.target)}
    return msgspec.structs.replace(
        board, target=target, architecture=NULL.architecture, cpu_features=NULL.cpu_features
    )


@contextmanager
def as_source() -> Iterator[None]:
    """Let builds end before CUDA's compiler, which a processor's takes the place of."""
    if tvm_ffi.get_global_func("device_api.cuda", allow_missing=True) is not None:
        pytest.skip("a CUDA driver is here, so TVM's own CUDA runtime is loaded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "compile_library", _compile_library)
        patch.setattr(cuda_compiler, "start", lambda arch: None)
        yield


def _compile_library(module_json: str, board: Board, code: Path) -> None:
    """In this process, where no CUDA compiler is: the library has its kernels' source."""
    generate_library(tvm.ir.load_json(module_json), board, code)

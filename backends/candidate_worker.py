"""What runs in the tuner's worker processes: build one candidate, time one candidate.

A worker imports TVM once and serves many candidates. Nothing here runs in the tuner's own process,
and this stands apart from the tuner so that a worker starts in one second, not in four.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..targets.board import Affinity

_ROAMING = Affinity()
# How a candidate is timed, here and on a board over RPC: three times 8 ms at least.
TIMING = {"number": 1, "repeat": 3, "min_repeat_ms": 8}

# A device, its target, and the board's name.
DeviceBoard = tuple[str, Mapping[str, Any], str]

_tensors: dict[tuple[tuple[int, ...], str, int, str], object] = {}


@dataclass(frozen=True)
class BuiltCandidate:
    """The bytes of a shared library, and the seconds that each stage of building took."""

    code: bytes
    stages_s: dict[str, float]


def start_worker(
    thread_count: int, affinity: Affinity = _ROAMING, board: DeviceBoard | None = None
) -> None:
    """Make this worker ready: TVM imported, its threads set, its `board`'s device started."""
    # TVM imports torch where it can, which takes a second: None makes that an ImportError.
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    import tvm  # noqa: F401 - the point of a warm worker

    from adaspring.backends.tvm_threads import use_threads

    use_threads(thread_count, affinity)
    if board is not None:
        from adaspring.library.devices.start import start

        start(*board)


def build_candidate(module_json: str, target_json: str, architecture: str) -> BuiltCandidate:
    """Compile one scheduled function and link it; its bytes, so that it may come from far."""
    import tvm
    from tvm.target import Target

    from adaspring.backends.codegen import cuda_compiler, tir_pipeline
    from adaspring.backends.codegen.link import OBJECT_BYTES, linker
    from adaspring.files.replace import reserve

    begin = time.perf_counter()
    target = Target(target_json)
    if target.kind.name == "cuda":
        cuda_compiler.start(str(target.attrs["arch"]))
    lowered = tir_pipeline.lower(tvm.ir.load_json(module_json), target)
    lowered_at = time.perf_counter()
    linking_s = 0.0
    link = linker(architecture)

    def timed_link(output: str, objects: list[str], **options: object) -> None:
        nonlocal linking_s
        start_s = time.perf_counter()
        link(output, objects, **options)
        linking_s = time.perf_counter() - start_s

    # The checks of its arguments, which the tuner makes itself, are a third of what LLVM compiles.
    unchecked = tvm.transform.PassContext(config={"tirx.disable_assert": True})
    with unchecked, tempfile.TemporaryDirectory(prefix="adaspring-candidate-") as folder:
        reserve(Path(folder), OBJECT_BYTES)
        path = Path(folder) / f"{os.getpid()}.so"
        tir_pipeline.generate(lowered, target).export_library(
            str(path), fcompile=timed_link, workspace_dir=folder
        )
        code = path.read_bytes()
    generated_s = time.perf_counter() - lowered_at - linking_s
    stages = {"lower": lowered_at - begin, "llvm": generated_s, "link": linking_s}
    return BuiltCandidate(code, stages)


def time_candidate(
    code: str, arguments: list[tuple[tuple[int, ...], str]], device: str
) -> list[float]:
    """Seconds of one call, several times over, on a device of this machine, by TVM's name."""
    import tvm

    function = tvm.runtime.load_module(code)
    tensors = [
        _argument(shape, dtype, index, device) for index, (shape, dtype) in enumerate(arguments)
    ]
    timer = function.time_evaluator("main", tvm.device(device), **TIMING)
    return [float(second) for second in timer(*tensors).results]


def _argument(shape: tuple[int, ...], dtype: str, index: int, device: str) -> object:
    """A tensor of small values, made once: subnormal or overflowing ones would time wrongly."""
    import numpy as np
    import tvm

    key = (shape, dtype, index, device)
    if key not in _tensors:
        values = np.random.default_rng(index).integers(0, 3, shape)
        if dtype == "uint16":  # the bits of bfloat16 (`kernels/half.py`)
            values = values.astype(np.float32).view(np.uint32) >> 16
        _tensors[key] = tvm.runtime.tensor(values.astype(dtype), tvm.device(device))
    return _tensors[key]

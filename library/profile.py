"""Times every function of a variant within the running network, one call after the other.

TVM's virtual machine tells of each call before and after it. Telling costs a few microseconds a
call, so the network is timed without it too, in turn. On an OpenCL device functions are timed by
its own clock, the network by the processor's: between them lies what launching costs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import LibraryError, UsageError
from ..targets.machine import kernel_is_foreign
from .executable import Executable
from .loader import Library
from .manifest import BoardRecord, FunctionRecord
from .native.ffi import Tensor
from .tensors import DEVICES, checked_array, to_device, wait_for
from .weights import Array

_CALLS_PER_ROUND = 10
_LEAST_ROUNDS = 5
_WARM_S = 0.01
# What the virtual machine does itself: memory, shapes, tuples.
_BUILTIN = "vm."


@dataclass(frozen=True, kw_only=True)
class FunctionTime:
    """One function of the network, and the median of its time within it."""

    function: FunctionRecord
    p50_ms: float

    @property
    def gops(self) -> float:
        """1e9 operations a second, two for each multiply-add of the layer."""
        return 2e-6 * self.function.macs_count / self.p50_ms

    @property
    def performed_gops(self) -> float:
        """1e9 operations a second of the multiply-adds that are done."""
        return 2e-6 * self.function.performed_macs_count / self.p50_ms


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A variant's functions in order; `network_p50_ms` is one call of the whole, not told of."""

    variant: str
    functions: tuple[FunctionTime, ...]
    network_p50_ms: float
    calls_count: int

    @property
    def sum_p50_ms(self) -> float:
        """The functions' times together."""
        return sum(timed.p50_ms for timed in self.functions)


def check_profilable(board: BoardRecord, root: Path = Path("/")) -> None:
    """Refuse what cannot be timed function by function here: UsageError."""
    if board.device == "cuda":
        raise UsageError(
            f"a library for {board.name} cannot be profiled: CUDA's functions are queued, "
            "and the call returns before they have run; time whole variants without --profile"
        )
    if kernel_is_foreign(root):
        raise UsageError(
            "this processor is emulated, so its times mean nothing; profile on the board itself"
        )


def profile(library: Library, variant: str, sample: Sequence[Array], seconds: float) -> Profile:
    """Time `variant` on one sample for about `seconds`, at least 50 calls.

    Raises:
        UsageError: no such variant, a CUDA device, an emulated processor.
        LibraryError: the code calls other functions than the manifest lists.

    """
    manifest = library.manifest
    check_profilable(manifest.board)
    executable = library.executable(variant)
    device = DEVICES[manifest.board.device]
    inputs = [
        to_device(checked_array(spec, value, (manifest,)), device)
        for spec, value in zip(manifest.inputs, sample, strict=True)
    ]
    functions = manifest.variant(variant).functions
    whole: list[float] = []
    parts: list[list[float]] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(parts) < _LEAST_ROUNDS * _CALLS_PER_ROUND:
        _warm_up(executable, inputs)
        whole += [_whole_ms(executable, inputs, device) for _ in range(_CALLS_PER_ROUND)]
        _parts_ms(executable, inputs, functions)  # the first call that is told of is slower
        parts += [_parts_ms(executable, inputs, functions) for _ in range(_CALLS_PER_ROUND)]
    medians = np.median(np.array(parts), axis=0)
    return Profile(
        variant=variant,
        functions=tuple(
            FunctionTime(function=function, p50_ms=float(ms))
            for function, ms in zip(functions, medians, strict=True)
        ),
        network_p50_ms=float(np.median(whole)),
        calls_count=len(parts),
    )


def _warm_up(executable: Executable, inputs: Sequence[Tensor]) -> None:
    end = time.perf_counter() + _WARM_S
    while time.perf_counter() < end:
        executable.run(inputs)


def _whole_ms(executable: Executable, inputs: Sequence[Tensor], device: tuple[int, int]) -> float:
    start = time.perf_counter()
    executable.run(inputs)
    wait_for(device)
    return 1e3 * (time.perf_counter() - start)


def _parts_ms(
    executable: Executable, inputs: Sequence[Tensor], functions: Sequence[FunctionRecord]
) -> list[float]:
    """Milliseconds of each function in one call; LibraryError where they are not those listed."""
    calls = [call for call in executable.run_timed(inputs) if not call[0].startswith(_BUILTIN)]
    called, listed = [name for name, _ in calls], [function.name for function in functions]
    if called != listed:
        raise LibraryError(
            f"variant {executable.name!r} calls {', '.join(called) or 'nothing'}; its manifest "
            f"lists {', '.join(listed) or 'nothing'}; rebuild the library"
        )
    return [ms for _, ms in calls]

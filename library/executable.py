"""One variant, loaded: its virtual machines, its weights on the device, its turn-taking lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..targets.board import Affinity
from .native.ffi import Tensor
from .native.turns import RUN, Turn
from .opencl import plugin as opencl
from .runtime import ROAMING, SPIN_US, Machine, use_threads
from .tensors import DEVICES, run_in_turn, run_on, to_tensor
from .weights import Array, Span, give_back_pages, whole_pages

BY_CALLS = "calls"
"""The function that does what `main` does, by a call of the virtual machine for each kernel."""

_GO_ON = 0  # VMInstrumentReturnKind::kNoOp


@dataclass(frozen=True)
class Part:
    """Compiled code whose `main` takes the inputs, then one array of all weights.

    `weights_read`: where the weights are mapped, those of the variant's other shapes among them.
    """

    machine: Machine | Mapping[str, Any]
    weights: Any
    weights_read: Mapping[str, Array] = field(default_factory=dict)


class Executable:
    """A variant that is loaded: its parts, each of which runs on what the one before gives.

    `running` is the turn that calls take; executables that share a part share it.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[Part],
        device: str,
        thread_count: int,
        affinity: Affinity = ROAMING,
        spin_us: int = SPIN_US,
        running: Turn | None = None,
    ) -> None:
        self.name = name
        self.weights_read = {
            key: array for part in parts for key, array in part.weights_read.items()
        }
        self._alone: dict[str, tuple[Span, ...]] = {}  # pages that the other does not read
        self._parts = tuple(parts)
        self._calls = [(part.machine["main"], part.weights) for part in parts]
        self._device = DEVICES[device]
        self._threads = (thread_count, affinity, spin_us)
        self._running = running or Turn(RUN)

    def give_back_weights(self, other: Executable | None) -> None:
        """Take the mapped weights that `other` does not read out of this process's memory.

        The next call reads them from the file again, as does one that is under way.
        """
        name = "" if other is None else other.name
        if name not in self._alone:
            kept = {} if other is None else other.weights_read
            # another library's tensor of the same key lies in another mapping
            alone = (
                array for key, array in self.weights_read.items() if kept.get(key) is not array
            )
            self._alone[name] = whole_pages(alone)
        give_back_pages(self._alone[name])

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Run on tensors that lie on the device; the outputs lie there too."""
        with self._running:
            return self._call(inputs)

    def run_arrays(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Run on NumPy arrays, copying to and from the device where it is not the CPU.

        What is given up on the way goes within the turn too: it may be NumPy's, which wants the
        interpreter back.
        """
        with self._running:
            use_threads(*self._threads)
            tensors = [to_tensor(array) for array in arrays]
            results = run_on(self._device, self._calls, tensors)
            outputs = tuple(np.from_dlpack(tensor) for tensor in results)
            del tensors, results
            return outputs

    def _call(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        use_threads(*self._threads)
        return tuple(run_in_turn(self._calls, inputs))

    def run_timed(self, inputs: Sequence[Tensor]) -> list[tuple[str, float]]:
        """Run once; name and milliseconds of each kernel that is called, in order.

        On an OpenCL device these are its kernels', by its own clock. CUDA's are not timed.
        """
        calls: list[tuple[str, float]] = []
        with self._running, _stopwatch(self._device) as (begin, end_ms):

            def note(function: Any, name: str, before: bool, *result_and_arguments: Any) -> int:
                if before:
                    begin()
                else:
                    calls.append((name, end_ms()))
                return _GO_ON

            self._instrument(note)
            try:
                use_threads(*self._threads)
                run_in_turn(
                    [(_by_calls(part.machine), part.weights) for part in self._parts], inputs
                )
            finally:
                self._instrument(None)
        return calls

    def _instrument(self, note: Callable[..., int] | None) -> None:
        for part in self._parts:
            part.machine["set_instrument"](note)


def _by_calls(machine: Machine | Mapping[str, Any]) -> Callable[..., Any]:
    try:
        return machine[BY_CALLS]
    except AttributeError:  # `main` calls each kernel itself
        return machine["main"]


@contextmanager
def _stopwatch(
    device: tuple[int, int],
) -> Iterator[tuple[Callable[[], object], Callable[[], float]]]:
    """What begins and what ends a call's time: by the processor's clock, or by the device's."""
    if device == DEVICES["opencl"]:
        with opencl.timed_kernels() as take_times:
            yield take_times, lambda: sum(ms for _, ms in take_times())
        return
    started: list[float] = []
    yield (
        lambda: started.append(time.perf_counter()),
        lambda: 1e3 * (time.perf_counter() - started.pop()),
    )

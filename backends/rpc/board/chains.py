"""Networks one after the other on the board, each on what the one before gives, as apps run pieces.

Samples come as .npz files that the client uploaded (x0, x1 …, runs first) and stay here; what a
chain gives goes back as the bytes of such a file (y0, y1 …). A chain is given by its parts: the
virtual machine and the weights of one network after the other.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....library.native.ffi import tvm_ffi
from ....library.tensors import DEVICES, Calls, run_on, to_tensor
from ....library.weights import Array
from ..description import RUN_CHAIN_FUNCTION, TIME_CHAIN_FUNCTION


def register_chains(folder: Path, device: str) -> None:
    """Offer chains to the client of a session, whose files lie in `folder`."""
    chains = _Chains(folder, device)
    tvm_ffi.register_global_func(RUN_CHAIN_FUNCTION, chains.run, override=True)
    tvm_ffi.register_global_func(TIME_CHAIN_FUNCTION, chains.time, override=True)


class _Chains:
    """Runs and times chains; keeps the samples of each file that it was asked about."""

    def __init__(self, folder: Path, device: str) -> None:
        self._folder, self._device = folder, DEVICES[device]
        self._samples: dict[str, tuple[Array, ...]] = {}

    def run(self, file: str, start: int, end: int, seconds: float, *parts: Any) -> bytes:
        """Run on samples from `start` to `end`, one at least; after `seconds` begin no other."""
        samples, calls, found = self._read(file), _calls(parts), []
        end_s = time.monotonic() + seconds
        for index in range(start, end):
            tensors = [to_tensor(value[index]) for value in samples]
            outputs = run_on(self._device, calls, tensors)
            found.append([np.from_dlpack(tensor) for tensor in outputs])
            if time.monotonic() >= end_s:
                break
        columns = zip(*found, strict=True)
        data = io.BytesIO()
        np.savez(data, **{f"y{i}": np.stack(column) for i, column in enumerate(columns)})  # type: ignore[arg-type]
        return data.getvalue()

    def time(self, file: str, calls_count: int, warm_s: float, apart_s: float, *parts: Any) -> str:
        """JSON of milliseconds of single calls on the first sample, `apart_s` between two.

        Before them it is called for `warm_s`: other chains had their turns.
        """
        calls, times = _calls(parts), []
        inputs = [to_tensor(value[0]) for value in self._read(file)]
        warm = time.monotonic() + warm_s
        while time.monotonic() < warm:
            run_on(self._device, calls, inputs)
        for _ in range(calls_count):
            time.sleep(apart_s)
            start = time.perf_counter()
            run_on(self._device, calls, inputs)
            times.append(1e3 * (time.perf_counter() - start))
        return json.dumps(times)

    def _read(self, file: str) -> tuple[Array, ...]:
        if file not in self._samples:
            with np.load(self._folder / file, allow_pickle=False) as data:
                self._samples[file] = tuple(data[f"x{i}"] for i in range(len(data.files)))
        return self._samples[file]


def _calls(parts: Sequence[Any]) -> Calls:
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [(machine["main"], weights) for machine, weights in pairs]

"""`python -m adaspring.explore.cells.measure_child LIBRARY SAMPLES COMBINATIONS OUT SECONDS`.

Runs and times a library's cells and combinations with nothing loaded but what an app loads.
COMBINATIONS is a JSON file of names, the dense one first. OUT/cells.npz gets the times of each cell
and form, OUT/combinations.npz each combination's, by round, OUT/whole.npz those of the dense one
and of the plainest variant, OUT/cold.npz those of calls of the dense one 50 ms apart, OUT/NAME.npz
what the combination NAME, its slashes as commas, gives for all samples. If SECONDS is 0, these
alone are written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ...library.evolve.space import BETWEEN
from ...library.loader import Library, load
from ...library.native.ffi import Tensor
from ...library.pieces.composition import Levels
from ...library.tensors import to_tensor
from ..measure.local_child import run_all
from ..measure.timing import time_apart, time_in_turn

CELLS, COMBINATIONS, WHOLE, COLD = "cells.npz", "combinations.npz", "whole.npz", "cold.npz"
PLAINEST = "plainest"
SLASH = ","
"""What stands for a slash in names of files, and of arrays in them."""
_ENOUGH = 25
"""So many have turns enough in the time that is given; more get more time."""


def main(library: str, samples: str, combinations: str, out: str, seconds: str) -> None:
    """Run, time, write."""
    opened, names = load(library), json.loads(Path(combinations).read_text())
    with np.load(samples, allow_pickle=False) as data:
        inputs = [data[f"x{i}"] for i in range(len(data.files))]
    sample = [value[0] for value in inputs]
    nets = {name: opened.open(name, preload=False) for name in names}
    for name, net in nets.items():
        outputs = {f"y{i}": value for i, value in enumerate(run_all(net, inputs))}
        np.savez(Path(out) / f"{name.replace(BETWEEN, SLASH)}.npz", **outputs)  # type: ignore[arg-type]
    if timed := float(seconds):
        dense = {names[0]: nets[names[0]]}
        whole = dense | {PLAINEST: opened.open(opened.manifest.plainest, preload=False)}
        _save(Path(out) / CELLS, _cell_times(opened, sample, timed))
        _save(Path(out) / COMBINATIONS, time_in_turn(nets, sample, enough_s(timed, len(nets))))
        _save(Path(out) / WHOLE, time_in_turn(whole, sample, timed / 2))
        _save(Path(out) / COLD, time_apart(dense, sample))
    print(json.dumps({"names": names}))


def enough_s(seconds: float, count: int) -> float:
    """For how long so many take turns: each has as many turns as one of a few in `seconds`."""
    return seconds * max(1.0, count / _ENOUGH)


def cell_name(segment: int, cell: str) -> str:
    """Name a cell as no other of the network is named."""
    return f"{segment}.{cell}"


def form_name(cell: str, number: int) -> str:
    """Name a cell's form."""
    return f"{cell}.form{number}"


def _cell_times(
    library: Library, sample: Sequence[np.ndarray], seconds: float
) -> dict[str, np.ndarray]:
    """Times of single calls of each cell and form, on what the dense ones before it give."""
    pieces = library.pieces()
    assert pieces is not None, "the library is in pieces"
    tensors, calls = [to_tensor(value) for value in sample], {}
    for index, segment in enumerate(pieces.segments):
        for cell in segment.cells:
            name = cell_name(index, cell.name)
            calls[name] = partial(pieces.single(index, cell.name).run, tensors)
            for number, form in enumerate(cell.forms):
                run = pieces.single(index, cell.name, form.takes, form.gives).run
                calls[form_name(name, number)] = partial(run, _taken(tensors, form.takes))
        tensors = list(pieces.single(index, segment.cells[0].name).run(tensors))
    return time_in_turn(calls, (), enough_s(seconds, len(calls)))


def _taken(tensors: list[Tensor], levels: Levels | None) -> list[Tensor]:
    """What crosses as a form takes it."""
    if levels is None:
        return tensors
    return [to_tensor(quantized(np.from_dlpack(tensor), levels)) for tensor in tensors]


def quantized(floats: np.ndarray, levels: Levels) -> np.ndarray:
    """The levels that stand for floats."""
    limits = np.iinfo(levels.dtype)
    exact = np.rint(floats.astype(np.float32) / np.float32(levels.scale)) + levels.zero_point
    return exact.clip(limits.min, limits.max).astype(levels.dtype)


def _save(path: Path, times: dict[str, np.ndarray]) -> None:
    np.savez(path, **{name.replace(BETWEEN, SLASH): value for name, value in times.items()})  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])

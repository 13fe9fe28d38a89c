"""Run and time a library's cells and combinations, in a process that has the app's side alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...ir.model import Model
from ...library.evolve.space import BETWEEN, Cells
from ..measure.local import read_outputs, run_child, write_probe
from . import measure_child as child

SECONDS = 8.0
_QUIET = 25  # a percentile that other processes hardly reach


@dataclass(frozen=True)
class Times:
    """Milliseconds by round, (rounds, calls a round), and `where` they were taken.

    `cells` by their name, `combinations` in turn; `dense`, of dense cells, in turn with the `whole`
    network; `cold` are calls of the dense combination 50 ms apart.
    """

    cells: Mapping[str, np.ndarray]
    combinations: Mapping[Cells, np.ndarray]
    dense: np.ndarray
    whole: np.ndarray
    cold: np.ndarray
    where: str

    @property
    def uncut_ratio(self) -> float:
        """The dense pieces' time over the whole network's, each in its undisturbed calls."""
        return float(np.percentile(self.dense, _QUIET) / np.percentile(self.whole, _QUIET))


@dataclass(frozen=True)
class Ran:
    """What each combination gave for the samples, and the `times`; None where they mean nothing."""

    outputs: Mapping[Cells, tuple[np.ndarray, ...]]
    times: Times | None


def run(
    library: Path,
    model: Model,
    names: Mapping[Cells, str],
    inputs: Sequence[np.ndarray],
    work: Path,
    seconds: float = SECONDS,
) -> Ran:
    """Run combinations on samples, and time them and all cells; `names` has the dense one first.

    Nothing is timed in 0 seconds.

    Raises:
        BuildError: the process failed.

    """
    samples, listed = work / "samples.npz", work / "combinations.json"
    write_probe(model, inputs, samples)
    listed.write_text(json.dumps(list(names.values())))
    run_child("explore.cells.measure_child", library, samples, listed, work, seconds)
    stored = {cells: name.replace(BETWEEN, child.SLASH) for cells, name in names.items()}
    outputs = {
        cells: read_outputs(model, work / f"{name}.npz", len(inputs[0]))
        for cells, name in stored.items()
    }
    return Ran(outputs, _read_times(stored, work) if seconds else None)


def _read_times(stored: Mapping[Cells, str], work: Path) -> Times:
    times, cut = _read(work / child.COMBINATIONS), _read(work / child.WHOLE)
    dense = next(iter(stored.values()))
    return Times(
        cells=_read(work / child.CELLS),
        combinations={cells: times[name] for cells, name in stored.items()},
        dense=cut[dense],
        whole=cut[child.PLAINEST],
        cold=_read(work / child.COLD)[dense],
        where="app side",
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}

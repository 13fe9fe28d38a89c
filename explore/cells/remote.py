"""Run and time cells and combinations on their board over RPC: all that crosses stays there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...backends.rpc.description import BoardInfo
from ...backends.rpc.host.session_process import SessionProcess
from ...backends.rpc.protocol import Address
from ...ir.model import Model
from ...library.evolve.space import Cells
from ...library.parts import ExecutableParts, LibraryParts
from ...library.pieces.composition import Composition
from ...library.pieces.forms import choose_forms
from ..board.site import Site
from ..measure.local import read_outputs, write_probe
from ..measure.remote import STEP_S, ChainTimer, by_clock_of, in_session, load_on_board
from .local import SECONDS, Ran, Times
from .measure_child import cell_name, enough_s, form_name, quantized

LEAST_SAMPLES, RUN_SECONDS = 16, 20.0
"""Every combination runs so many samples, or as many as all run in so many seconds."""

_MOST_BYTES = 64 << 20
_WHOLE = "whole"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Combinations of the cells in `parts`, the dense one first, to be run on samples.

    `composition` is the record of the same cells. The plainest variant is timed against the pieces.
    """

    model: Model
    composition: Composition
    parts: LibraryParts
    combinations: tuple[Cells, ...]
    inputs: Sequence[np.ndarray]

    @cached_property
    def _names(self) -> dict[str, str]:
        """The name of every cell and form, by the path of its code in the library."""
        found = {}
        for index, segment in enumerate(self.composition.segments):
            for cell in segment.cells:
                name = cell_name(index, cell.name)
                found[cell.code] = name
                found |= {f.code: form_name(name, n) for n, f in enumerate(cell.forms)}
        return found

    def networks(self) -> Iterator[tuple[str, ExecutableParts]]:
        """All that is brought over, by name: cells and their forms, and the plainest variant."""
        assert self.parts.composition is not None, "there are cells to run"
        for index, (_, cells) in enumerate(self.parts.composition.segments):
            for cell in cells:
                name = cell_name(index, cell.name)
                yield name, cell
                yield from ((form_name(name, n), form) for n, form in enumerate(cell.forms))
        yield _WHOLE, self.parts.variants[0]

    def chain(self, cells: Cells) -> tuple[str, ...]:
        """The names of what a combination runs, each cell in the form that an app picks."""
        pairs = zip(self.composition.segments, cells, strict=True)
        forms = choose_forms([segment.cells[cell] for segment, cell in pairs])
        return tuple(self._names[form.code] for form in forms)


def run_remote(site: Site, asked: Asked, work: Path, tell: Callable[[int, int, str], None]) -> Ran:
    """Run every combination on some of the samples, then time all cells and combinations in turn.

    A combination runs and is timed as a whole on the board, which calls one cell's code after the
    other as an app does. The times of an emulated board mean nothing, so none are taken.

    Raises:
        BoardError: no such board, or none any more; BuildError: a cell does not run.

    """
    assert site.tracker is not None, "the board is reached over RPC"
    assert site.remote is not None, "the board is reached over RPC"

    def use(process: SessionProcess, board: Address, info: BoardInfo) -> Ran:
        running = _Run(process, asked, work, tell)
        outputs = running.outputs()
        return Ran(outputs, None if info.emulated else running.times(by_clock_of(board)))

    return in_session(site.tracker, site.board, site.remote.key, "pieces", use)


class _Run:
    """One session: every cell loaded, combinations run, then all timed."""

    def __init__(
        self,
        process: SessionProcess,
        asked: Asked,
        work: Path,
        tell: Callable[[int, int, str], None],
    ) -> None:
        self._process, self._asked, self._work = process, asked, work
        self._first, self._samples = work / "first.npz", work / "samples.npz"
        self._chains = {cells: asked.chain(cells) for cells in asked.combinations}
        self._dense = self._chains[asked.combinations[0]]
        networks = dict(asked.networks())
        steps = len(networks) + len(self._chains) + 1
        for done, (name, built) in enumerate(networks.items()):
            tell(done, steps, name)
            load_on_board(process, name, built.code_path, built.weights, work)
        self._tell = lambda done, what: tell(len(networks) + done, steps, what)

    def outputs(self) -> dict[Cells, tuple[np.ndarray, ...]]:
        """What every combination gives for the samples; as many as all run in some seconds."""
        asked, found = self._asked, {}
        count = self._samples_count()
        write_probe(asked.model, [value[:count] for value in asked.inputs], self._samples)
        for done, (cells, chain) in enumerate(self._chains.items()):
            self._tell(done, "all combinations on samples")
            outputs = self._run(chain, self._samples, count // asked.model.batch)
            found[cells] = read_outputs(asked.model, outputs, count)
        return found

    def _samples_count(self) -> int:
        """As many as the time allows by what the dense combination takes for the first ones."""
        inputs, batch = self._asked.inputs, self._asked.model.batch
        runs = len(inputs[0]) // batch
        sample_bytes = sum(value[:batch].nbytes for value in inputs)
        least = min(runs, -(-LEAST_SAMPLES // batch))
        write_probe(self._asked.model, [value[: least * batch] for value in inputs], self._first)
        self._run(self._dense, self._first, 1)  # brings the samples over
        start_s = time.monotonic()
        self._run(self._dense, self._first, least)
        run_s = (time.monotonic() - start_s) / least
        affordable = min(
            int(RUN_SECONDS / (run_s * len(self._chains))), _MOST_BYTES // sample_bytes
        )
        return batch * min(runs, max(least, affordable))

    def times(self, where: str) -> Times:
        """The times of cells, of combinations, and of the dense one beside the whole network."""
        self._tell(len(self._chains), "cells and combinations in turn")
        timer = ChainTimer(self._process)
        cells = {name: ((name,), samples) for name, samples in self._crossings().items()}
        together = {self._asked.parts.plainest: (_WHOLE,), "dense pieces": self._dense}
        cut = timer.in_turn({k: (c, self._first) for k, c in together.items()}, SECONDS / 2)
        return Times(
            cells=timer.in_turn(cells, enough_s(SECONDS, len(cells))),
            combinations=timer.in_turn(
                {cells: (chain, self._first) for cells, chain in self._chains.items()},
                enough_s(SECONDS, len(self._chains)),
            ),
            dense=cut["dense pieces"],
            whole=cut[self._asked.parts.plainest],
            cold=timer.apart(self._dense, self._first),
            where=where,
        )

    def _crossings(self) -> Mapping[str, Path]:
        """What each cell and form is timed on: what the dense cells before it give."""
        found, given = {}, self._first
        for index, segment in enumerate(self._asked.composition.segments):
            for cell in segment.cells:
                name = cell_name(index, cell.name)
                found[name] = given
                for number, form in enumerate(cell.forms):
                    here = form_name(name, number)
                    found[here] = given
                    if form.takes is not None:
                        found[here] = self._work / f"{here}.levels.npz"
                        with np.load(given, allow_pickle=False) as data:
                            np.savez(found[here], x0=quantized(data["x0"], form.takes))
            if index + 1 < len(self._asked.composition.segments):
                given = self._crossing(index)
        return found

    def _crossing(self, index: int) -> Path:
        """What crosses behind a segment of dense cells, of the first sample."""
        outputs = self._run(self._dense[: index + 1], self._first, 1)
        crossing = self._work / f"crossing{index}.npz"
        with np.load(outputs, allow_pickle=False) as data:
            np.savez(crossing, x0=data["y0"])
        return crossing

    def _run(self, chain: Sequence[str], samples: Path, runs_count: int) -> Path:
        outputs = self._work / "outputs.npz"
        asked = (list(chain), str(samples), str(outputs), runs_count)
        self._process.ask(STEP_S, "run_chain", *asked)
        return outputs

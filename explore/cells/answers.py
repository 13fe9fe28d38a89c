"""What combinations of cells answer, in the reference: what two begin with alike is run once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from ...frontend.data import Dataset
from ...library.evolve.space import Cells
from ...reference.executor import evaluate
from ..accuracy.rounding import unrounded
from .cells import Pieces

Arrays = tuple[np.ndarray, ...]

_KEPT_BYTES = 1 << 30


class Answers:
    """Runs combinations on the same samples; keeps what crosses, up to a gigabyte of it."""

    def __init__(self, pieces: Pieces, inputs: Sequence[np.ndarray]) -> None:
        self._pieces = pieces
        self._inputs = tuple(inputs)
        self._kept: OrderedDict[Cells, Arrays] = OrderedDict()

    def __call__(self, cells: Cells) -> Arrays:
        """Compute every output of a combination for all samples."""
        start = next(
            (n for n in range(len(cells), 0, -1) if cells[:n] in self._kept),
            0,
        )
        values = self._inputs
        if start:
            self._kept.move_to_end(cells[:start])
            values = self._kept[cells[:start]]
        for index in range(start, len(cells)):
            model = self._pieces.cells[index][cells[index]].model
            values = evaluate(model, Dataset(inputs=values))
            self._keep(cells[: index + 1], values)
        return values

    def unrounded(self, cells: Cells, count: int) -> Arrays | None:
        """Compute what it would give for the first samples were no cell's weights rounded.

        None where that is not known: what was trained has no float counterpart.
        """
        chosen = [self._pieces.cells[index][cell] for index, cell in enumerate(cells)]
        if any(cell.training is not None for cell in chosen):
            return None
        values = tuple(value[:count] for value in self._inputs)
        for dense, cell in zip(self._pieces.dense, chosen, strict=True):
            values = evaluate(unrounded(dense, cell.steps), Dataset(inputs=values))
        return values

    def _keep(self, begun: Cells, values: Arrays) -> None:
        self._kept[begun] = values
        while sum(_bytes(each) for each in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)


def _bytes(values: Arrays) -> int:
    return sum(value.nbytes for value in values)

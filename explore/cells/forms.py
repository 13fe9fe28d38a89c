"""Further forms of quantized cells, in which 8-bit levels cross where floats did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...backends.kernels.isa import instruction_set
from ...ir.model import Model
from ...ir.pieces.levels import Form, Levels, forms, levels_taken
from ...ir.quantized_layers import is_quantized
from ...library.evolve.space import Floats
from ...targets import Board
from .cells import Cell, Pieces
from .measure_child import form_name


@dataclass(frozen=True, kw_only=True)
class CellForm:
    """One form of a cell, by its number among them."""

    cell: Cell
    number: int
    form: Form

    @property
    def name(self) -> str:
        """A name that no cell and no other form of the network has."""
        return form_name(self.cell.name, self.number)

    @property
    def model(self) -> Model:
        """The network that is compiled."""
        return self.form.model


def forms_of(pieces: Pieces, board: Board) -> tuple[CellForm, ...]:
    """All forms of all quantized cells, in the levels that a board's kernels keep.

    A cell gives the levels that quantized cells of the next segment take: those that were
    calibrated alike take the same.
    """
    dtype, found = instruction_set(board).int8.activation_dtype, list[CellForm]()
    for cells, after in pairwise([*pieces.cells, ()]):
        gives = [levels for cell in after if (levels := levels_taken(cell.model)) is not None]
        for cell in filter(lambda each: is_quantized(each.model), cells):
            made = enumerate(forms(cell.model, gives, dtype))
            found += [CellForm(cell=cell, number=number, form=form) for number, form in made]
    return tuple(found)


def crossing_ms(
    pieces: Pieces, made: tuple[CellForm, ...], p90_ms: Mapping[str, float]
) -> tuple[Floats, ...]:
    """What each two neighbours take in levels less what they take in floats; 0 where floats cross.

    `p90_ms`: of each cell and form, alone, by name.
    """
    giving, taking = _alone(made, "gives"), _alone(made, "takes")
    tables = []
    for cells, after in pairwise(pieces.cells):
        table = np.zeros((len(cells), len(after)))
        for a, first in enumerate(cells):
            for b, second in enumerate(after):
                ways = (giving.get(first.name, {}), taking.get(second.name, {}))
                shared = next((levels for levels in ways[0] if levels in ways[1]), None)
                if shared is not None:
                    pairs = zip(ways, (first, second), strict=True)
                    table[a, b] = sum(p90_ms[w[shared]] - p90_ms[cell.name] for w, cell in pairs)
        tables.append(table)
    return tuple(tables)


def _alone(made: tuple[CellForm, ...], end: str) -> dict[str, dict[Levels, str]]:
    """By cell: the names of the forms that have levels at this end alone, by those levels."""
    found: dict[str, dict[Levels, str]] = {}
    for each in made:
        levels = {"takes": each.form.takes, "gives": each.form.gives}
        here = levels.pop(end)
        if here is not None and set(levels.values()) == {None}:
            found.setdefault(each.cell.name, {})[here] = each.name
    return found

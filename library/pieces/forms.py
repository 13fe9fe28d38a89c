"""In which form each cell of a combination runs: 8-bit levels cross wherever two neighbours can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ..records import Executable
from .composition import Cell, Levels


def choose_forms(cells: Sequence[Cell]) -> tuple[Executable, ...]:
    """Choose the form of each cell, from the first on: levels cross where both have a form."""
    found = []
    taken: Levels | None = None
    for cell, after in pairwise([*cells, None]):
        assert cell is not None
        given = next(_shared(cell, after, taken), None) if after is not None else None
        form = cell.form(taken, given)
        assert form is not None, "what was given can be taken"
        found.append(form)
        taken = given
    return tuple(found)


def _shared(cell: Cell, after: Cell, taken: Levels | None) -> Iterator[Levels]:
    """Levels that a cell can give, taking what it does, and the next take, giving floats."""
    for form in cell.forms:
        if form.takes == taken and form.gives is not None and after.form(form.gives, None):
            yield form.gives

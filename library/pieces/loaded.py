"""Networks put together of a library's cells, each cell loaded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...errors import UsageError
from ..evolve.space import BETWEEN
from ..executable import Executable, Part
from ..native.turns import RUN, Turn
from ..records import Executable as CompiledRecord
from .composition import Cell, Composition, Levels
from .forms import choose_forms

_MOST_MADE = 8


class Pieces:
    """The cells of a composition as they are loaded; calls of what is made of them take turns.

    `load` brings a cell, in one of its forms, into memory; `make` puts parts together under a name.
    """

    def __init__(
        self,
        composition: Composition,
        load: Callable[[CompiledRecord], Part],
        make: Callable[[str, Sequence[Part], Turn], Executable],
    ) -> None:
        self.segments = composition.segments
        self._load, self._make = load, make
        self._parts: dict[str, Part] = {}  # by the path of their code
        self._made: dict[str, Executable] = {}  # by name, those used last behind
        self._running = Turn(RUN)

    def executable(self, name: str) -> Executable:
        """Put a combination together, its cells loaded where they were not.

        Levels cross between neighbours that both have a form for it. The last few are kept as they
        are: they hold no memory beside their cells'.

        Raises:
            UsageError: it names no cell for some segment, or one that there is not.

        """
        made = self._made.pop(name, None)
        if made is None:
            made = self._make(name, [self._part(form) for form in self._forms(name)], self._running)
        self._made[name] = made
        if len(self._made) > _MOST_MADE:
            del self._made[next(iter(self._made))]
        return made

    def single(
        self, segment: int, cell: str, takes: Levels | None = None, gives: Levels | None = None
    ) -> Executable:
        """One cell alone, in one of the forms that it has; for tools."""
        form = self._cell(segment, cell).form(takes, gives)
        assert form is not None, f"{cell} has no form that takes {takes} and gives {gives}"
        return self._make(cell, [self._part(form)], self._running)

    @property
    def plainest(self) -> str:
        """The combination of the first cells, those with nothing compressed."""
        return BETWEEN.join(segment.cells[0].name for segment in self.segments)

    def load_all(self) -> None:
        """Load every cell in every form, so that putting together is all that a switch does."""
        for segment in self.segments:
            for cell in segment.cells:
                for form in (cell, *cell.forms):
                    self._part(form)

    def drop_all_but(self, name: str) -> None:
        """Give up every cell that a combination does not have, and every form."""
        kept = {form.code for form in self._forms(name)} if BETWEEN in name else set()
        self._parts = {code: part for code, part in self._parts.items() if code in kept}
        self._made = {made: one for made, one in self._made.items() if made == name}

    def _forms(self, name: str) -> tuple[CompiledRecord, ...]:
        cells = name.split(BETWEEN)
        if len(cells) != len(self.segments):
            raise UsageError(
                f"{name!r} names {len(cells)} cells, this library has {len(self.segments)} "
                f"segments; give one for each, for example {self.plainest!r}"
            )
        return choose_forms([self._cell(index, cell) for index, cell in enumerate(cells)])

    def _cell(self, index: int, name: str) -> Cell:
        try:
            return self.segments[index].cell(name)
        except KeyError:
            known = ", ".join(cell.name for cell in self.segments[index].cells)
            raise UsageError(f"segment {index} has no cell {name!r}; it has {known}") from None

    def _part(self, form: CompiledRecord) -> Part:
        if form.code not in self._parts:
            self._parts.setdefault(form.code, self._load(form))
        return self._parts[form.code]

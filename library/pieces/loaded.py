"""Networks put together of a library's cells, each cell loaded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...errors import UsageError
from ..evolve.space import BETWEEN
from ..executable import Executable, Part
from ..native.turns import RUN, Turn
from .composition import Cell, Composition


class Pieces:
    """The cells of a composition as they are loaded; calls of what is made of them take turns.

    `load` brings a cell into memory; `make` puts parts together under a name.
    """

    def __init__(
        self,
        composition: Composition,
        load: Callable[[Cell], Part],
        make: Callable[[str, Sequence[Part], Turn], Executable],
    ) -> None:
        self.segments = composition.segments
        self._load, self._make = load, make
        self._parts: dict[tuple[int, str], Part] = {}
        self._running = Turn(RUN)

    def executable(self, name: str) -> Executable:
        """Put a combination together, its cells loaded where they were not.

        Raises:
            UsageError: it names no cell for some segment, or one that there is not.

        """
        cells = name.split(BETWEEN)
        if len(cells) != len(self.segments):
            raise UsageError(
                f"{name!r} names {len(cells)} cells, this library has {len(self.segments)} "
                f"segments; give one for each, for example {self.plainest!r}"
            )
        parts = [self._part(index, cell) for index, cell in enumerate(cells)]
        return self._make(name, parts, self._running)

    def single(self, segment: int, cell: str) -> Executable:
        """One cell alone, which takes what crosses; for tools."""
        return self._make(cell, [self._part(segment, cell)], self._running)

    @property
    def plainest(self) -> str:
        """The combination of the first cells, those with nothing compressed."""
        return BETWEEN.join(segment.cells[0].name for segment in self.segments)

    def load_all(self) -> None:
        """Load every cell, so that putting together is all that a switch has to do."""
        for index, segment in enumerate(self.segments):
            for cell in segment.cells:
                self._part(index, cell.name)

    def drop_all_but(self, name: str) -> None:
        """Give up every cell that a combination does not have."""
        kept = set(enumerate(name.split(BETWEEN))) if BETWEEN in name else set()
        self._parts = {key: part for key, part in self._parts.items() if key in kept}

    def _part(self, index: int, name: str) -> Part:
        key = (index, name)
        if key not in self._parts:
            try:
                cell = self.segments[index].cell(name)
            except KeyError:
                known = ", ".join(cell.name for cell in self.segments[index].cells)
                raise UsageError(f"segment {index} has no cell {name!r}; it has {known}") from None
            self._parts.setdefault(key, self._load(cell))
        return self._parts[key]

"""Which cells there are for each segment, by kind; the dense one among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from math import isfinite, prod

from ...errors import UsageError
from ...library.evolve.space import BETWEEN, Cells

DENSE = "dense"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """`kinds`: for each segment the kind of each of its cells; exactly one is "dense".

    A kind occurs once a segment, and need not occur in all. A combination is a cell's number for
    each segment: (0, 2, 0).
    """

    kinds: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if not self.kinds:
            raise UsageError("there are no segments; give the kinds of cells of at least one")
        for segment, kinds in enumerate(self.kinds):
            if kinds.count(DENSE) != 1:
                raise UsageError(
                    f"segment {segment} has {kinds.count(DENSE)} dense cells among "
                    f"{', '.join(kinds) or 'none'}; it needs one, what the others are held against"
                )
            if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
                raise UsageError(
                    f"segment {segment} has several cells of the kind {twice[0]}; name each by "
                    "what it does differently, such as pruned-0.5"
                )

    @property
    def dense(self) -> Cells:
        """The combination of dense cells."""
        return tuple(kinds.index(DENSE) for kinds in self.kinds)

    @property
    def combinations_count(self) -> int:
        """How many combinations there are."""
        return prod(len(kinds) for kinds in self.kinds)

    def all(self) -> Iterator[Cells]:
        """Go through all combinations; there may be very many."""
        return product(*(range(len(kinds)) for kinds in self.kinds))

    def alone(self) -> tuple[tuple[int, int], ...]:
        """List the cells that are not dense, as (segment, cell)."""
        return tuple(
            (segment, cell)
            for segment, kinds in enumerate(self.kinds)
            for cell, kind in enumerate(kinds)
            if kind != DENSE
        )

    def among_dense(self, *cells: tuple[int, int]) -> Cells:
        """Give the combination of some cells, (segment, cell), with dense ones elsewhere."""
        found = list(self.dense)
        for segment, cell in cells:
            found[segment] = cell
        return tuple(found)

    def name(self, cells: Cells) -> str:
        """Name a combination by its cells' kinds."""
        return BETWEEN.join(kinds[cell] for kinds, cell in zip(self.kinds, cells, strict=True))

    def check(self, combinations: Iterable[Cells]) -> None:
        """Refuse what is no combination of these cells."""
        for cells in combinations:
            if len(cells) != len(self.kinds):
                raise UsageError(
                    f"combination {cells} has {len(cells)} cells for {len(self.kinds)} segments"
                )
            for segment, (cell, kinds) in enumerate(zip(cells, self.kinds, strict=True)):
                if not 0 <= cell < len(kinds):
                    raise UsageError(
                        f"combination {cells} asks for cell {cell} of segment {segment}, which "
                        f"has {len(kinds)}: 0 to {len(kinds) - 1}"
                    )

    def check_measured(self, measured: Mapping[Cells, float]) -> None:
        """Refuse figures that cannot be fitted: of no combination, or no finite number."""
        self.check(measured)
        for cells, value in measured.items():
            if not isfinite(value):
                raise UsageError(
                    f"{self.name(cells)} measured {value}; leave out what cannot be evaluated, "
                    "and the cell that causes it"
                )


def neighbours(cells: Cells) -> Iterator[tuple[int, int, int]]:
    """Give (segment, its cell, the next segment's cell) for each crossing."""
    return ((segment, *pair) for segment, pair in enumerate(pairwise(cells)))

"""A sum over the cells of a combination and over what crosses between neighbours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...library.evolve.space import Cells, Floats

Rows = NDArray[np.intp]
"""Combinations (n, segments): the number of a cell in each segment."""

_STEPS = 1000
"""Into how many a range of sums is cut to count the combinations in it."""
_IDLE_BATCHES = 8
"""How many batches of draws may bring nothing new before no more is expected."""


@dataclass(frozen=True, kw_only=True)
class ChainSum:
    """base + Σ cells[i][c_i] + Σ crossings[i][c_i, c_(i+1)]; crossings may be left out."""

    base: float
    cells: tuple[Floats, ...]
    crossings: tuple[Floats, ...] = ()

    def of(self, combinations: Sequence[Cells] | Rows) -> Floats:
        """Compute the sum of each combination."""
        rows = np.asarray(combinations, dtype=np.intp).reshape(-1, len(self.cells))
        found = np.full(len(rows), self.base)
        for segment, figures in enumerate(self.cells):
            found += figures[rows[:, segment]]
        for segment, figures in enumerate(self.crossings):
            found += figures[rows[:, segment], rows[:, segment + 1]]
        return found

    @property
    def least(self) -> float:
        """The least sum of all combinations."""
        return self.base - float((self._rest(-1.0)[0] - self.cells[0]).max())

    def draw(
        self, least: float, count: int, rng: np.random.Generator, skip: Collection[Cells] = ()
    ) -> tuple[Cells, ...]:
        """Draw different combinations at random among all whose sum is at least `least`.

        Each is as likely as any other, those in `skip` are left out. Fewer where there are fewer.
        """
        ways, seen, idle = _Ways(self, least), set(skip), 0
        found: list[Cells] = []
        while ways.any and len(found) < count and idle < _IDLE_BATCHES:
            drawn = ways.draw(max(256, 2 * count), rng)
            inside = drawn[self.of(drawn) >= least]
            fresh = [cells for cells in unique(tuples(inside)) if cells not in seen]
            idle = 0 if fresh else idle + 1
            seen.update(fresh)
            found += fresh
        return tuple(found[:count])

    def _steps(self) -> list[Floats]:
        """For each crossing what it adds, with the cell that it leads to: (cells, next cells)."""
        none = np.zeros((1, 1))
        crossings = self.crossings or (none,) * (len(self.cells) - 1)
        return [
            np.zeros((len(here), 1)) + there + crossing
            for here, there, crossing in zip(
                self.cells[:-1], self.cells[1:], crossings, strict=True
            )
        ]

    def _rest(self, sign: float = 1.0) -> list[Floats]:
        """For each segment and cell the greatest sum of all that comes after it."""
        rest = [np.zeros(len(self.cells[-1]))]
        for step in reversed(self._steps()):
            rest.insert(0, (sign * step + rest[0]).max(axis=1))
        return rest


class _Ways:
    """How many ways lead from each cell on, by how much of the range may still be lost.

    A combination is a path; each step loses something against the best path from where it is.
    Losses are rounded down to whole steps of the range, so that no path is left out; few are too
    many, and are drawn in vain.
    """

    def __init__(self, chain: ChainSum, least: float) -> None:
        rest, lowest = chain._rest(), chain._rest(-1.0)
        top = float((chain.cells[0] + rest[0]).max())
        bottom = -float((lowest[0] - chain.cells[0]).max())
        slack = top - max(least - chain.base, bottom)
        # Sums of floats in another order differ by a little.
        little = 1e-12 * (1 + abs(chain.base) + abs(top) + abs(bottom))
        self.any = slack >= -little
        unit = max(slack, little) / _STEPS
        losses = [top - chain.cells[0] - rest[0]] + [
            before[:, None] - step - after
            for before, step, after in zip(rest[:-1], chain._steps(), rest[1:], strict=True)
        ]
        self._losses = [np.minimum(loss / unit, _STEPS + 1).astype(np.intp) for loss in losses]
        self._ways = [np.ones((len(rest[-1]), _STEPS + 1))]
        for loss in reversed(self._losses[1:]):
            self._ways.insert(0, _count(loss, self._ways[0]))

    def draw(self, count: int, rng: np.random.Generator) -> Rows:
        """Draw combinations, each of those counted as likely as any other."""
        left = np.full(count, _STEPS)
        loss = np.broadcast_to(self._losses[0], (count, len(self._losses[0])))
        found = []
        for segment, ways in enumerate(self._ways):
            after = left[:, None] - loss
            options = np.where(after >= 0, ways[np.arange(len(ways)), np.maximum(after, 0)], 0.0)
            limits = options.cumsum(axis=1)
            cells = (limits < rng.random((count, 1)) * limits[:, -1:]).sum(axis=1)
            left = after[np.arange(count), cells]
            found.append(cells)
            if segment + 1 < len(self._ways):
                loss = self._losses[segment + 1][cells]
        return np.stack(found, axis=1)


def _count(loss: NDArray[np.intp], after: Floats) -> Floats:
    """Add up the ways (cells, left) over the next cells, of which each takes its loss."""
    left = np.arange(_STEPS + 1)[None, :, None] - loss[:, None, :]
    ways = after[np.arange(len(after)), np.maximum(left, 0)]
    return np.asarray(np.where(left >= 0, ways, 0.0).sum(axis=2))


def tuples(rows: Rows) -> list[Cells]:
    """Give each combination as a tuple."""
    return [tuple(row) for row in rows.tolist()]


def unique(combinations: Iterable[Cells]) -> list[Cells]:
    """Leave out what has been before."""
    return list(dict.fromkeys(combinations))

"""The neighbours of a combination: one cell changed, or two of segments that do not touch."""

from __future__ import annotations

import numpy as np

from .figures import MEMORY, Aim, Bools, Counts, Figures
from .space import Floats

_MOST_SWAPS = 32


class Swaps:
    """Changes of one cell, of which the most promising are tried in pairs, too.

    They are numbered: that to cell k of segment s is s · K + k.
    """

    def __init__(self, figures: Figures) -> None:
        edges = figures.edges
        places, count = figures.exists.shape
        self._nodes = np.ascontiguousarray(np.moveaxis(figures.nodes, 0, 2))
        # rows of what all cells of a segment gain beside a cell of the one before, or after
        rows = ((places - 1) * count, count * len(edges))
        self._after_cell = edges.transpose(1, 2, 3, 0).reshape(rows)
        self._before_cell = edges.transpose(1, 3, 2, 0).reshape(rows)
        self._places, self._cells = (a.ravel() for a in np.indices(figures.exists.shape))
        self._barred = np.flatnonzero(~figures.exists)
        self._activations = figures.activations.ravel()
        self._starts = np.arange(places) * count

    def best(
        self, path: Counts, gains: Floats, aim: Aim, multipliers: Floats, least: float
    ) -> tuple[Counts, float] | None:
        """Return the best neighbour within the floors and its worth, if that is above `least`.

        `gains` (R,) are those of the path. `multipliers` (R,) is what a unit of each row is worth
        for its floor, beside the aim's worth: that says which changes are promising.
        """
        same, changes = self._starts + path, self._changes(path)
        counts = aim.worth[MEMORY] > 0 or aim.floors[MEMORY] > -np.inf
        others = self._others(path, same) if counts else None
        kept = self._promising(same, aim.worth + multipliers, changes, others)
        changed, room = changes.take(kept, 0), gains - aim.floors
        worth, allowed = changed @ aim.worth, _apart(self._places.take(kept))
        total = np.add.outer(worth, worth + aim.worth @ gains)
        if others is not None:
            more = self._peaks(kept, others) - self._activations.take(same).max()
            total -= aim.worth[MEMORY] * more
        for row in aim.limited.tolist():
            gained = np.add.outer(changed[:, row], changed[:, row] + room[row])
            allowed &= gained >= more if row == MEMORY else gained >= 0
        total = np.where(allowed, total, -np.inf)
        chosen = int(total.argmax())
        most = float(total.flat[chosen])
        return (self._swapped(path, kept, chosen), most) if most > least else None

    def _changes(self, path: Counts) -> Floats:
        """Return what each row gains, but for activations, by each change of one cell, (S·K, R)."""
        gains, starts = self._nodes.copy(), self._starts[:-1]
        joints = gains[1:].shape
        gains[1:] += self._after_cell.take(starts + path[:-1], 0).reshape(joints)
        gains[:-1] += self._before_cell.take(starts + path[1:], 0).reshape(joints)
        rows = gains.reshape(-1, joints[2])
        gains -= rows.take(self._starts + path, 0)[:, None]
        return rows

    def _others(self, path: Counts, same: Counts) -> Floats:
        """Return for each change the largest activations of the other segments, (S·K,)."""
        now = self._activations.take(same)
        largest = int(now.argmax())
        others = np.full(len(path), now[largest])
        now[largest] = 0.0
        others[largest] = now.max()
        return others.repeat(len(self._places) // len(path))

    def _promising(
        self, same: Counts, weights: Floats, changes: Floats, others: Floats | None
    ) -> Counts:
        """Return the changes worth most by weight; the last one changes nothing."""
        promise = changes @ weights
        if others is not None:
            promise -= weights[MEMORY] * np.maximum(self._activations, others)
        promise[same] = promise[self._barred] = -np.inf
        kept = np.argpartition(-promise, min(_MOST_SWAPS, len(promise) - 1))[:_MOST_SWAPS]
        return np.concatenate((kept[promise.take(kept) > -np.inf], same[:1]))

    def _peaks(self, kept: Counts, others: Floats) -> Floats:
        """Return the largest activations after each pair of changes, or a little more."""
        own, rest = self._activations.take(kept), others.take(kept)
        found: Floats = np.minimum.outer(rest, rest)
        return np.maximum(found, np.maximum.outer(own, own), out=found)

    def _swapped(self, path: Counts, kept: Counts, chosen: int) -> Counts:
        swapped = path.copy()
        for change in divmod(chosen, len(kept)):
            if change < len(kept) - 1:
                swapped[self._places[kept[change]]] = self._cells[kept[change]]
        return swapped


def _apart(places: Counts) -> Bools:
    """Return which pairs of changes do not touch; the last one, of nothing, touches none."""
    apart = np.abs(places[:, None] - places) > 1
    apart[-1] = apart[:, -1] = True
    return apart

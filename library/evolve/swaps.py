"""The neighbours of a combination: one cell changed, or two of segments that do not touch."""

from __future__ import annotations

import numpy as np

from .figures import MEMORY, Aim, Bools, Counts, Figures
from .space import Floats

_MOST_SWAPS = 32


class Swaps:
    """Changes of one cell, of which the most promising are tried in pairs, too."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._edges_back = np.ascontiguousarray(figures.edges.swapaxes(2, 3))
        self._places, self._cells = (a.ravel() for a in np.indices(figures.exists.shape))
        self._barred = np.flatnonzero(~figures.exists)
        self._no_peaks = (np.zeros(figures.exists.size),) * 2
        self._starts = np.arange(len(figures.sizes)) * figures.exists.shape[1]

    def best(
        self, path: Counts, aim: Aim, multipliers: Floats, least: float
    ) -> tuple[Counts, float] | None:
        """Return the best neighbour within the floors and its worth, if that is above `least`.

        `multipliers` (R,) is what a unit of each row is worth for its floor, beside the aim's
        worth: that says which changes are promising.
        """
        changes, gains = self._changes(path), self._figures.gains(path[None])[:, 0]
        counts = aim.worth[MEMORY] > 0 or aim.floors[MEMORY] > -np.inf
        activations, others = self._peaks(path) if counts else self._no_peaks
        kept = self._promising(path, aim.worth + multipliers, changes, activations, others)
        allowed, changes = _apart(self._places[kept]), changes[:, kept]
        gains[MEMORY] += activations[self._starts + path].max()
        worth = aim.worth @ changes
        total = np.add.outer(worth, worth + aim.worth @ gains)
        if counts:
            peak = _peak(activations[kept], others[kept])
            total -= aim.worth[MEMORY] * peak
        for row in aim.limited:
            gained = np.add.outer(changes[row], changes[row] + gains[row])
            allowed &= (gained - peak if row == MEMORY else gained) >= aim.floors[row]
        total[~allowed] = -np.inf
        chosen = int(total.argmax())
        most = float(total.flat[chosen])
        return (self._swapped(path, kept, chosen), most) if most > least else None

    def _changes(self, path: Counts) -> Floats:
        """Return what each row gains, but for activations, by each change of one cell, (R, S·K)."""
        figures, places = self._figures, np.arange(len(path))
        changes = figures.nodes - figures.nodes[:, places, path][:, :, None]
        first, second, joints = path[:-1], path[1:], places[:-1]
        now = figures.edges[:, joints, first, second][:, :, None]
        changes[:, 1:] += figures.edges[:, joints, first] - now
        changes[:, :-1] += self._edges_back[:, joints, second] - now
        return changes.reshape(len(changes), -1)

    def _peaks(self, path: Counts) -> tuple[Floats, Floats]:
        """Return each cell's activations and the largest of the other segments', both (S·K,)."""
        sizes = self._figures.activations
        now = sizes.ravel()[self._starts + path]
        largest = int(now.argmax())
        others = np.full(len(path), now[largest])
        others[largest] = np.delete(now, largest).max(initial=0.0)
        return sizes.ravel(), np.repeat(others, sizes.shape[1])

    def _promising(
        self, path: Counts, weights: Floats, changes: Floats, activations: Floats, others: Floats
    ) -> Counts:
        """Return the changes worth most by weight; the last one changes nothing."""
        promise = weights @ changes - weights[MEMORY] * np.maximum(activations, others)
        same = self._starts + path
        promise[same] = promise[self._barred] = -np.inf
        kept = np.argpartition(-promise, min(_MOST_SWAPS, len(promise) - 1))[:_MOST_SWAPS]
        return np.append(kept[promise[kept] > -np.inf], same[0])

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


def _peak(activations: Floats, others: Floats) -> Floats:
    """Return the largest activations after each pair of changes, or a little more."""
    return np.maximum(np.maximum.outer(activations, activations), np.minimum.outer(others, others))

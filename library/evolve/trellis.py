"""The best path through a trellis: a cell of each segment, and what crosses between two.

Source  Viterbi, Error bounds for convolutional codes, IEEE Trans. Inf. Theory 13(2), 1967
"""

from __future__ import annotations

import numpy as np

from .figures import MEMORY, Counts, Figures
from .space import Floats

_MOST_CAPS = 6


class Trellis:
    """The combinations of a space as paths, whose rows of gains are weighted.

    A step (K, K) holds for each cell of a segment and each of the next what that one and the
    crossing gain. The largest activations are no sum: for each of a few caps a path is found among
    the cells whose activations are no larger, and the best of these is taken.
    """

    def __init__(self, figures: Figures) -> None:
        steps = figures.edges + figures.nodes[:, 1:, None]
        self._shape = steps.shape[1:]
        self._steps = steps.reshape(len(steps), -1)
        self._first = figures.nodes[:, 0]
        self._constants = figures.constants
        self.caps, self._least = _caps(figures)
        barred = (figures.activations > self.caps[:, None, None]) | ~figures.exists
        self._barred = np.where(barred, -np.inf, 0.0).swapaxes(0, 1)

    def best(self, weights: Floats) -> tuple[Counts, float]:
        """Return a path (S,) of high weighted gain, and a bound on that of any path.

        It is the best path, and its gain the bound, unless there are more sizes of activations
        than caps, and memory has a weight.
        """
        first, steps = weights @ self._first, (weights @ self._steps).reshape(self._shape)
        if weights[MEMORY] == 0:
            fronts = self._fronts(first, steps)
            most = fronts[-1].max()
        else:
            capped = self._fronts_by_cap(first, steps)
            ends = capped[:, -1].max(1) - weights[MEMORY] * self._least
            cap = int(ends.argmax())
            fronts, most = capped[cap], ends[cap]
        return _path(fronts, steps), float(most + weights @ self._constants)

    def _fronts(self, first: Floats, steps: Floats) -> Floats:
        """Return for each segment the most gained up to each of its cells, (S, K)."""
        barred = self._barred[:, -1]
        fronts, gained = np.empty(barred.shape), np.empty(steps.shape[1:])
        np.add(first, barred[0], out=fronts[0])
        steps = steps + barred[1:, None]
        for before, step, front in zip(fronts[:, :, None], steps, fronts[1:], strict=False):
            np.maximum.reduce(np.add(before, step, gained), 0, None, front)
        return fronts

    def _fronts_by_cap(self, first: Floats, steps: Floats) -> Floats:
        """Return the same for each cap, (caps, S, K)."""
        fronts = np.empty(self._barred.shape)
        np.add(first, self._barred[0], out=fronts[0])
        steps = steps[:, :, None] + self._barred[1:, None]  # (S - 1, K, caps, K)
        before = fronts.swapaxes(1, 2)[..., None]
        for gained, step, front in zip(before, steps, fronts[1:], strict=False):
            np.maximum.reduce(np.add(gained, step, step), 0, None, front)
        return fronts.swapaxes(0, 1)

    def paths(self, weights: Floats, caps: Counts) -> Counts:
        """Return for each of n weights (n, R) the best path under one of the caps, (n, S)."""
        steps = (weights @ self._steps).reshape(len(weights), *self._shape).swapaxes(0, 1)
        barred = self._barred[:, caps]
        fronts = [weights @ self._first + barred[0]]
        for step, bar in zip(steps, barred[1:], strict=True):
            fronts.append((fronts[-1][:, :, None] + step).max(1) + bar)
        each, cell = np.arange(len(weights)), fronts[-1].argmax(1)
        found = [cell]
        for front, step in zip(fronts[-2::-1], steps[::-1], strict=True):
            cell = (front + step[each, :, cell]).argmax(1)
            found.append(cell)
        return np.stack(found[::-1], axis=1)


def _path(fronts: Floats, steps: Floats) -> Counts:
    cell = int(fronts[-1].argmax())
    found = [cell]
    for before in (fronts[:-1, :, None] + steps).argmax(1).tolist()[::-1]:
        cell = before[cell]
        found.append(cell)
    return np.array(found[::-1])


def _caps(figures: Figures) -> tuple[Floats, Floats]:
    """Return caps (n,), and for each the smallest size that none below it lets through."""
    cells = np.where(figures.exists, figures.activations, np.inf)
    needed = cells.min(1).max()
    sizes = np.unique(cells[figures.exists & (cells >= needed)])
    last = np.unique(np.linspace(0, len(sizes) - 1, _MOST_CAPS).round().astype(np.int64))
    return sizes[last], sizes[np.append(0, last[:-1] + 1)]

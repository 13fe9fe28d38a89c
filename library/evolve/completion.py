"""A combination within limits, by looking everywhere: for the few goals that leave much open.

Depth first, in blocks of beginnings; the most roomy block goes on, a beginning that even the best
end would not bring within every limit is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .figures import MEMORY, Aim, Counts, Figures
from .space import Floats

_BLOCK = 512
_TILTS = (0.25, 1.0)


def complete(
    figures: Figures, aim: Aim, multipliers: Floats, least: float, most_blocks: int
) -> tuple[Counts | None, bool]:
    """Return a combination (S,) within the floors that is worth at least `least`, if there is one.

    And whether all was looked at, in no more than `most_blocks` blocks. Limits one by one are kept
    by many a beginning that cannot keep them together: sums of them tell those, weighted by
    `multipliers` (R,); with worth, or while any worth will do, with more on each limit in turn.
    """
    limited, floors = aim.limited, np.where(aim.floors > -np.inf, aim.floors, 0.0)
    sums = [multipliers]
    if least == -np.inf:
        sums += _tilted(multipliers, limited, figures.span)
    weights = [*np.eye(len(multipliers))[limited], *sums]
    wanted = [row @ floors for row in weights]
    if least > -np.inf:
        weights += [aim.worth, aim.worth + multipliers]
        wanted += [least, least + multipliers @ floors]
    return _BlockSearch(figures, np.array(weights), np.array(wanted)).run(most_blocks)


def _tilted(multipliers: Floats, limited: Counts, span: Floats) -> Iterator[Floats]:
    """Yield multipliers with more on one limit, by shares of what all come to."""
    scale = np.where(span > 0, span, 1.0)
    for share in _TILTS:
        for row in limited:
            tilted = multipliers.copy()
            tilted[row] += share * float(multipliers @ scale) / scale[row]
            yield tilted


class _BlockSearch:
    def __init__(self, figures: Figures, weights: Floats, floors: Floats) -> None:
        self._weights, self._floors = weights, floors - weights @ figures.constants
        self._nodes = np.tensordot(weights, figures.nodes, 1)
        self._nodes[:, ~figures.exists] = -np.inf
        self._edges = np.tensordot(weights, figures.edges, 1)
        self._sizes = figures.activations
        least = np.where(figures.exists, figures.activations, np.inf).min(1)
        self._peaks = np.append(np.maximum.accumulate(least[::-1])[-2::-1], 0.0)
        self._ends = self._most_to_come()
        self._scale = np.maximum(np.abs(weights) @ figures.span, np.finfo(float).tiny)

    def _most_to_come(self) -> Floats:
        """Return the most that each row gains after each cell, (rows, S, K)."""
        ends = np.zeros_like(self._nodes)
        for place in range(ends.shape[1] - 2, -1, -1):
            after = self._nodes[:, place + 1] + ends[:, place + 1]
            ends[:, place] = (self._edges[:, place] + after[:, None]).max(2)
        return ends

    def run(self, most_blocks: int) -> tuple[Counts | None, bool]:
        """Go on from the last block, which is the most roomy one, until one is at the end."""
        first = np.arange(self._nodes.shape[2])[:, None]
        stack = self._blocks(first, self._nodes[:, 0], self._sizes[0])
        for _ in range(most_blocks):
            if not stack:
                return None, True
            paths, gains, peaks = stack.pop()
            place = paths.shape[1]
            if place == self._nodes.shape[1]:
                return paths[0], False
            last = paths[:, -1]
            gains = (
                gains[:, :, None] + self._edges[:, place - 1, last] + self._nodes[:, place, None]
            )
            peaks = np.maximum(peaks[:, None], self._sizes[place])
            old, cell = np.indices(peaks.shape).reshape(2, -1)
            paths = np.concatenate([paths[old], cell[:, None]], axis=1)
            stack += self._blocks(paths, gains.reshape(len(gains), -1), peaks.ravel())
        return None, False

    def _blocks(
        self, paths: Counts, gains: Floats, peaks: Floats
    ) -> list[tuple[Counts, Floats, Floats]]:
        """Return the beginnings that can be brought within the limits, the most roomy last."""
        place = paths.shape[1] - 1
        most = gains + self._ends[:, place, paths[:, -1]]
        most -= self._weights[:, MEMORY, None] * np.maximum(peaks, self._peaks[place])
        room = ((most - self._floors[:, None]) / self._scale[:, None]).min(0)
        kept = np.argsort(-room, kind="stable")[: np.count_nonzero(room >= 0)]
        blocks = [kept[i : i + _BLOCK] for i in range(0, len(kept), _BLOCK)]
        return [(paths[at], gains[:, at], peaks[at]) for at in reversed(blocks)]

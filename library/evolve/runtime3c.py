"""AdaSpring's own search: segment by segment, two candidates at a time.

Source  Runtime3C of Liu et al., AdaSpring, IMWUT 5(1), 2021: a segment is encoded only
once those before it are fixed, a Pareto test keeps about two candidates, mutation keeps them
diverse. Here in sweeps, since limits on the whole are first met at the expense of early segments.
"""

from __future__ import annotations

import numpy as np

from .figures import METRIC, Aim, Counts, Figures
from .space import Floats

_SWEEPS = 3
_MUTANTS_PER_CANDIDATE = 4
_SEED = 3


class Runtime3C:
    """Searches with any objective, and proves nothing of what it finds."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._scale = np.where(figures.span > 0, figures.span, 1.0)
        metric = np.where(figures.exists, figures.nodes[METRIC], -np.inf)
        self._dense = metric.argmax(1)

    def renewed(self, figures: Figures) -> Runtime3C:
        """Return the search by other latencies."""
        return Runtime3C(figures)

    def best(self, aim: Aim, start: Counts | None = None) -> tuple[Counts, float] | None:
        """Return the best combination within the floors that it meets (S,), and a gap of inf.

        It begins with `start` and with the cells of the best metric; None where it meets nothing
        within the floors, which is no proof that nothing is.
        """
        rng = np.random.default_rng(_SEED)
        begins = [self._dense] if start is None else [start, self._dense]
        kept = self._pareto(np.stack(begins), aim)
        for _ in range(_SWEEPS):
            before = kept[0]
            for place, size in enumerate(self._figures.sizes):
                children = np.repeat(kept, size, axis=0)
                children[:, place] = np.tile(np.arange(size), len(kept))
                tried = np.concatenate([kept, children, self._mutants(kept, rng)])
                kept = self._pareto(tried, aim)
            if np.array_equal(before, kept[0]):
                break
        room = self._room(self._figures.gains(kept[:1]), aim)
        return (kept[0], np.inf) if room[0] >= 0 else None

    def _mutants(self, kept: Counts, rng: np.random.Generator) -> Counts:
        """Return copies with the cell of one segment drawn anew."""
        mutants = np.repeat(kept, _MUTANTS_PER_CANDIDATE, axis=0)
        places = rng.integers(0, mutants.shape[1], len(mutants))
        drawn = rng.random(len(mutants)) * np.array(self._figures.sizes)[places]
        mutants[np.arange(len(mutants)), places] = drawn.astype(np.int64)
        return mutants

    def _pareto(self, tried: Counts, aim: Aim) -> Counts:
        """Return the best, and beside it on the Pareto front the best of those with more room.

        The best is worth most within the floors; where none is within, nearest to them.
        """
        gains = self._figures.gains(tried)
        worth, room = aim.value(gains), self._room(gains, aim)
        order = np.lexsort((-worth, -np.minimum(room, 0.0)))
        roomier = order[room[order] > room[order[0]]]
        return tried[np.append(order[0], roomier[:1])]

    def _room(self, gains: Floats, aim: Aim) -> Floats:
        """Return how far each is within the floor that it is nearest to, or short of them all."""
        rows = aim.limited
        room = (gains[rows] - aim.floors[rows, None]) / self._scale[rows, None]
        short = np.minimum(room, 0.0).sum(0)
        return np.where(short < 0, short, room.min(0, initial=1.0))

"""Made-up networks of which the metric of every combination is known, most of them no sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations as subsets

import numpy as np

from ...explore.combinations.choices import Choices

Truth = Callable[[Sequence[tuple[int, ...]]], np.ndarray]
HEAVY = 0.012


def choices_of(segments: int, cells: int) -> Choices:
    return Choices(kinds=(("dense", *(f"kind{i}" for i in range(1, cells))),) * segments)


class Harms:
    """Losses of cells, of neighbours and of cells further apart, drawn by a seed."""

    def __init__(self, segments: int, cells: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        compressed = np.arange(cells) > 0
        both = compressed[:, None] & compressed

        def draw(share: float, size: float) -> np.ndarray:
            harm = rng.gamma(0.7, size, (cells, cells))
            return np.where(both & (rng.random(harm.shape) < share), harm, 0.0)

        self.alone = [np.sort(rng.gamma(0.7, 0.008, cells)) * compressed for _ in range(segments)]
        self.near = {(i, i + 1): draw(0.15, 0.01) for i in range(segments - 1)}
        self.far = {(i, j): draw(0.1, 0.006) for i, j in subsets(range(segments), 2) if j > i + 1}

    def cells(self, rows: np.ndarray) -> np.ndarray:
        return sum(harm[rows[:, i]] for i, harm in enumerate(self.alone))

    def pairs(self, rows: np.ndarray, *tables: dict) -> np.ndarray:
        found = np.zeros(len(rows))
        for table in tables:
            for (i, j), harm in table.items():
                found += harm[rows[:, i], rows[:, j]]
        return found

    def heavy(self, rows: np.ndarray) -> np.ndarray:
        return sum((harm[rows[:, i]] > HEAVY).astype(int) for i, harm in enumerate(self.alone))


def additive(harms: Harms, rows: np.ndarray) -> np.ndarray:
    return 0.95 - harms.cells(rows)


def neighbours_interact(harms: Harms, rows: np.ndarray) -> np.ndarray:
    return 0.95 - harms.cells(rows) - harms.pairs(rows, harms.near)


def all_interact(harms: Harms, rows: np.ndarray) -> np.ndarray:
    return 0.95 - harms.cells(rows) - harms.pairs(rows, harms.near, harms.far)


def additive_in_the_logit(harms: Harms, rows: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(40 * harms.cells(rows) - 3))


def collapses_where_two_heavy_cells_meet(harms: Harms, rows: np.ndarray) -> np.ndarray:
    collapse = np.minimum(0.2 * np.maximum(harms.heavy(rows) - 1, 0), 0.7)
    return 0.95 - harms.cells(rows) - collapse


def saturating(harms: Harms, rows: np.ndarray) -> np.ndarray:
    exponent = harms.cells(rows) / 0.15 + harms.pairs(rows, harms.near) / 0.1
    return 0.1 + 0.85 * np.exp(-exponent)


FORMS = (
    additive,
    neighbours_interact,
    all_interact,
    additive_in_the_logit,
    collapses_where_two_heavy_cells_meet,
    saturating,
)


def truth(form: Callable[[Harms, np.ndarray], np.ndarray], *, seed: int, **size: int) -> Truth:
    harms = Harms(seed=seed, **size)
    segments = len(harms.alone)
    return lambda asked: form(harms, np.array(asked, dtype=int).reshape(-1, segments))


def on_samples(metric: Truth, count: int, seed: int) -> Truth:
    """The share of right answers on so many samples; what is hard is hard for all combinations."""
    hardness = np.sort(np.random.default_rng(seed).random(count))
    return lambda combinations: np.searchsorted(hardness, metric(combinations)) / count

"""Which combinations to measure, in the order in which one asks for what the other has told.

First each cell alone, then pairs of those that lose most, then combinations that look useful, then
held-out ones that judge the prediction. All by a seed, nothing is drawn twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations as subsets

import numpy as np
from numpy.typing import NDArray

from ...library.evolve.space import Cells, Floats
from .chain import ChainSum, Rows, tuples, unique
from .choices import DENSE, Choices

_POOL = 10
"""How many are drawn for each that is kept."""
_COST_SPREAD = 0.1
"""The standard deviation of a cost's logarithm."""


def first(choices: Choices) -> tuple[Cells, ...]:
    """The dense combination, each cell alone among dense ones, and all cells of one kind.

    Of a segment that lacks the kind, the dense cell is taken.
    """
    alone = (choices.among_dense(cell) for cell in choices.alone())
    kinds = dict.fromkeys(kind for names in choices.kinds for kind in names)
    uniform = (
        tuple(names.index(kind if kind in names else DENSE) for names in choices.kinds)
        for kind in kinds
    )
    return tuple(unique((choices.dense, *alone, *uniform)))


def pairs(
    choices: Choices, predicted: ChainSum, least: float, count: int, skip: Collection[Cells]
) -> tuple[Cells, ...]:
    """Two cells among dense ones, where they are the likeliest to interact.

    Neighbours and any others in turn, by the smaller of the two losses: a cell that loses nothing
    has nothing to add to. What is predicted below `least` comes last.
    """
    losses = {
        (segment, cell): float(figures[dense] - figures[cell])
        for segment, (figures, dense) in enumerate(zip(predicted.cells, choices.dense, strict=True))
        for cell in range(len(figures))
    }
    every = [pair for pair in subsets(choices.alone(), 2) if pair[0][0] != pair[1][0]]
    ranked = sorted(every, key=lambda pair: -min(losses[cell] for cell in pair))
    close = [pair for pair in ranked if abs(pair[0][0] - pair[1][0]) == 1]
    in_turn = (pair for both in zip(close, ranked, strict=False) for pair in both)
    found = unique(choices.among_dense(*pair) for pair in (*in_turn, *ranked))
    too_bad = dict(zip(found, predicted.of(found) < least, strict=True))
    fresh = [cells for cells in found if cells not in skip]
    return tuple(sorted(fresh, key=lambda cells: bool(too_bad[cells]))[:count])


def useful(
    predicted: ChainSum,
    costs: Sequence[Floats],
    least: float,
    count: int,
    rng: np.random.Generator,
    skip: Collection[Cells],
) -> tuple[Cells, ...]:
    """Combinations to learn from: at random of those allowed, and near the front.

    More are drawn than wanted; cells and pairs of neighbours that were seen less come first.
    `costs`: see `near_front`.
    """
    pool = predicted.draw(least, _POOL * count, rng, skip)
    pool += near_front(predicted, costs, least, _POOL * count, rng, skip)
    return _balanced(unique(pool), count, skip)


def held_out(
    predicted: ChainSum,
    least: float,
    count: int,
    rng: np.random.Generator,
    skip: Collection[Cells],
) -> tuple[Cells, ...]:
    """Combinations to judge by: at random of all that are predicted at `least` or better.

    Nothing else may decide which they are, or a bound taken from them is none.
    """
    return predicted.draw(least, count, rng, skip)


def near_front(
    predicted: ChainSum,
    costs: Sequence[Floats],
    least: float,
    count: int,
    rng: np.random.Generator,
    skip: Collection[Cells] = (),
) -> tuple[Cells, ...]:
    """Combinations as the app chooses them: the best for some exchange rate of metric for cost.

    A search finds where the prediction is too good, so these may err more than others. `costs`: of
    each segment's cells, such as latencies; each is off by about a tenth, as live ones are. Fewer
    where so many draws give no others.
    """
    drawn = unique(tuples(_choices(predicted, costs, _POOL * count, rng)))
    fresh = [cells for cells in drawn if cells not in skip]
    allowed = predicted.of(fresh) >= least
    return tuple(cells for cells, ok in zip(fresh, allowed, strict=True) if ok)[:count]


def _choices(
    predicted: ChainSum, costs: Sequence[Floats], count: int, rng: np.random.Generator
) -> Rows:
    """Draw what is worth how much, (count,), and the costs; find the best combination for each."""
    spreads = [
        sum(float(np.ptp(figures)) for figures in held) or 1.0 for held in (predicted.cells, costs)
    ]
    worth = spreads[0] / spreads[1] * 10 ** rng.uniform(-2, 1, (count, 1))
    figures = [
        metric - worth * cost * rng.lognormal(0.0, _COST_SPREAD, (count, len(cost)))
        for metric, cost in zip(predicted.cells, costs, strict=True)
    ]
    return _best(figures, predicted.crossings or (0.0,) * (len(figures) - 1))


def _best(figures: Sequence[Floats], crossings: Sequence[Floats | float]) -> Rows:
    """Find the greatest sums by Viterbi's algorithm; figures (n, cells) of each segment."""
    rest, nexts = figures[-1], []
    for here, crossing in zip(reversed(figures[:-1]), reversed(crossings), strict=True):
        sums = np.zeros((1, here.shape[1], 1)) + rest[:, None, :] + crossing
        nexts.append(sums.argmax(axis=2))
        rest = here + sums.max(axis=2)
    cells = [rest.argmax(axis=1)]
    for following in reversed(nexts):
        cells.append(following[np.arange(len(following)), cells[-1]])
    return np.stack(cells, axis=1)


def _balanced(pool: Sequence[Cells], count: int, measured: Collection[Cells]) -> tuple[Cells, ...]:
    """Take one after the other what has the cells and pairs that were seen least."""
    parts = _parts([*measured, *pool])
    seen = np.bincount(parts[: len(measured)].reshape(-1), minlength=int(parts.max(initial=0)) + 1)
    parts = parts[len(measured) :]
    found: list[int] = []
    for _ in range(min(count, len(pool))):
        rarity = (1 / (1 + seen[parts])).sum(axis=1)
        rarity[found] = -1
        found.append(int(np.argmax(rarity)))
        seen[parts[found[-1]]] += 1
    return tuple(pool[i] for i in found)


def _parts(combinations: Sequence[Cells]) -> NDArray[np.intp]:
    """Number the cells and the pairs of neighbours of each combination."""
    rows = np.array(combinations, dtype=np.intp)
    segments, width = np.arange(rows.shape[1]), int(rows.max(initial=0)) + 1
    pairs = (segments[:-1] * width + rows[:, :-1]) * width + rows[:, 1:]
    return np.concatenate([segments * width + rows, rows.shape[1] * width + pairs], axis=1)

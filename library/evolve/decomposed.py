"""A large space: mixtures of combinations bound what a goal can have, changes of cells reach it.

A mixture of combinations that keeps the limits on average is worth at least as much as the best
combination that keeps them. The best mixture is a linear program with a row a limit, solved over a
few combinations that are known; its multipliers, what a unit of each limit is worth, say which
combination would help, and the trellis finds that. Any multipliers prove a bound on all worth.

Source  Dantzig & Wolfe, Decomposition principle for linear programs, Operations Research 8, 1960
"""

from __future__ import annotations

from copy import copy

import numpy as np

from .completion import complete
from .figures import LATENCY, TIE_RATIO, Aim, Counts, Figures
from .mixture import Mixture
from .space import Floats
from .swaps import Swaps
from .trellis import Trellis

_FEWEST_KNOWN, _MOST_KNOWN = 32, 256
_MOST_KNOWN_STEPS = 1_000_000
"""How many combinations are known ahead: fewer where there is much to a combination."""
_FEW_ROUNDS, _MOST_ROUNDS = 2, 40
_MOST_STARTS, _MOST_CHANGES = 2, 6
_FAR_RATIO, _MOST_COMBINATIONS = 0.05, 100_000
"""Above which gap, and in what size of space, looking everywhere is worth some milliseconds."""
_FEW_BLOCKS, _MOST_BLOCKS = 16, 64
"""After how many the work ends: 16 are a few milliseconds, 64 some twenty."""
_IMAGINARY_RATIO = 1e4
"""How much worse than all others the combination is that does not exist and meets every limit."""

CLOSE_RATIO = 2e-3
"""What a found combination may lack of the bound, as a share of all that combinations differ by."""


class Decomposed:
    """Knows some combinations ahead, good for many weights of the quantities."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._is_small = figures.space.combinations_count <= _MOST_COMBINATIONS
        self._trellis, self._swaps = Trellis(figures), Swaps(figures)
        self._scale = np.where(figures.span > 0, figures.span, 1.0)
        self._paths = self._known_paths()
        imaginary = np.zeros((len(self._scale), 1))
        self._gains = np.concatenate([figures.gains(self._paths), imaginary], axis=1)
        self._most = np.array([self._trellis.best(row)[1] for row in np.eye(len(self._scale))])

    def renewed(self, figures: Figures) -> Decomposed:
        """Return the search by other latencies; the combinations known ahead stay those."""
        new = copy(self)
        new._figures, new._trellis, new._swaps = figures, Trellis(figures), Swaps(figures)
        new._scale = np.where(figures.span > 0, figures.span, 1.0)
        new._gains, new._most = self._gains.copy(), self._most.copy()
        new._gains[LATENCY, :-1] = figures.latencies(self._paths)
        new._most[LATENCY] = new._trellis.best(np.eye(len(self._scale))[LATENCY])[1]
        return new

    def _known_paths(self) -> Counts:
        """Return the best paths for seeded weights, unknown figures avoided in half of them."""
        rng, rows = np.random.default_rng(0), len(self._scale)
        fitting = _MOST_KNOWN_STEPS // max(1, self._figures.edges[0].size)
        count = min(max(fitting, _FEWEST_KNOWN), _MOST_KNOWN)
        weights = np.zeros((count, rows))
        weights[:, :4] = rng.dirichlet(np.full(4, 0.6), count)
        weights[::2, 4:] = 10.0 * rows
        caps = rng.integers(0, len(self._trellis.caps), count)
        caps[: count // 4] = len(self._trellis.caps) - 1
        return np.unique(self._trellis.paths(weights / self._scale, caps), axis=0)

    def best(self, aim: Aim, start: Counts | None = None) -> tuple[Counts, float] | None:
        """Return a combination within the floors (S,), and how much more any may be worth."""
        if (aim.floors > self._most).any():
            return None
        unit = float(np.abs(aim.worth[:4]) @ self._figures.span[:4]) or 1.0
        floors = np.where(aim.floors <= self._figures.least, -np.inf, aim.floors)
        progress = self._begin(Aim(aim.worth / unit, floors), start)
        self._mix(progress)
        if not progress.is_hopeless:
            self._swap(progress)
            self._complete(progress)
        if progress.path is None:
            return None
        gap = progress.bound - progress.worth
        return progress.path, gap * unit if gap > TIE_RATIO else 0.0

    def _begin(self, aim: Aim, start: Counts | None) -> _Progress:
        paths, gains = self._paths, self._gains
        if start is not None:
            paths = np.concatenate([start[None], paths])
            gains = np.concatenate([self._figures.gains(start[None]), gains], axis=1)
        return _Progress(aim, paths, gains, self._figures.span, self._scale)

    def _mix(self, progress: _Progress) -> None:
        """Find multipliers, the bound that they prove, and on the way combinations."""
        for turn in range(_MOST_ROUNDS):
            path, most = self._trellis.best(progress.weights())
            progress.limit(most)
            found = progress.meet(path, self._figures.gain(path))
            enough = progress.path is not None and turn + 1 >= _FEW_ROUNDS
            if not found or enough or progress.is_close:
                return

    def _swap(self, progress: _Progress) -> None:
        """Change cells of what was found and of what is in the mixture, while that helps."""
        turns = iter(range(_MOST_CHANGES))
        for path in progress.starts():
            while not progress.is_close and next(turns, None) is not None:
                least = progress.worth + TIE_RATIO
                gains, multipliers = self._figures.gain(path), progress.multipliers
                better = self._swaps.best(path, gains, progress.aim, multipliers, least)
                if better is None:
                    break
                progress.take(*better)
                path = better[0]

    def _complete(self, progress: _Progress) -> None:
        """Look everywhere for what is better, as long as much may be."""
        far = _FAR_RATIO if self._is_small else np.inf
        while progress.path is None or progress.bound - progress.worth > far:
            least = -np.inf if progress.path is None else progress.worth + CLOSE_RATIO
            blocks = _MOST_BLOCKS if progress.path is None else _FEW_BLOCKS
            aim, multipliers = progress.aim, progress.multipliers
            path, is_all = complete(self._figures, aim, multipliers, least, blocks)
            if path is None:
                progress.bound = progress.worth + CLOSE_RATIO if is_all else progress.bound
                return
            progress.take(path, float(progress.aim.worth @ self._figures.gain(path)))
            self._swap(progress)


class _Progress:
    """What is known of one aim: the best found, a bound, the mixture and its multipliers."""

    def __init__(self, aim: Aim, paths: Counts, gains: Floats, span: Floats, scale: Floats) -> None:
        """Begin with known combinations (n, S); their gains (R, n + 1) end with room for one."""
        self.aim, self._rows = aim, aim.limited
        self._floors, self._scale = aim.floors[self._rows], scale[self._rows]
        worth = aim.worth @ gains
        slack = (gains[self._rows] - self._floors[:, None]) / self._scale[:, None]
        depth = float(np.abs(aim.worth) @ span)
        self._least = float(worth[:-1].min()) - depth
        worth[-1], slack[:, -1] = self._least - _IMAGINARY_RATIO * (1.0 + depth), 1.0
        best = _first_best(np.where((slack >= 0).all(0), worth, -np.inf))
        self._paths, self._mixed = paths, list[Counts]()
        self._imaginary = len(paths)
        self.path = None if best == self._imaginary else paths[best]
        self.worth, self.bound = float(worth[best]), np.inf
        self._mixture = Mixture(worth, slack, best)
        self._mixture.improve()
        self._weigh()

    @property
    def is_hopeless(self) -> bool:
        """Whether the bound proves that nothing meets the floors."""
        return self.bound < self._least

    @property
    def is_close(self) -> bool:
        """Whether no more is to be had."""
        return self.is_hopeless or self.bound - self.worth <= CLOSE_RATIO

    def weights(self) -> Floats:
        """Return what each row is worth, that for its floor included."""
        return self.aim.worth + self.multipliers

    def limit(self, most: float) -> None:
        """Lower the bound to what is proven by the most that weighted rows gain."""
        self.bound = min(self.bound, most - float(self.multipliers[self._rows] @ self._floors))

    def meet(self, path: Counts, gains: Floats) -> bool:
        """Take a combination where it is better, mix it in; False where that would not help."""
        worth = float(self.aim.worth @ gains)
        slack = (gains[self._rows] - self._floors) / self._scale
        if worth > self.worth + TIE_RATIO and (slack >= 0).all():
            self.take(path, worth)
        self._mixed.append(path)
        helps = self._mixture.add(worth, slack, self._imaginary + len(self._mixed))
        self._weigh()
        return helps

    def take(self, path: Counts, worth: float) -> None:
        """Hold a combination that meets the floors for the best."""
        self.path, self.worth = path, worth

    def starts(self) -> list[Counts]:
        """Return where to look for better ones: the best found, then those of the mixture."""
        known = self._imaginary
        members = [
            self._paths[member] if member < known else self._mixed[member - known - 1]
            for member in self._mixture.members()
            if member != known
        ]
        if self.path is None:
            return members
        others = [path for path in members if not np.array_equal(path, self.path)]
        return [self.path, *others[: _MOST_STARTS - 1]]

    def _weigh(self) -> None:
        self.multipliers = np.zeros(len(self.aim.worth))
        self.multipliers[self._rows] = self._mixture.multipliers() / self._scale


def _first_best(worth: Floats) -> int:
    """Return the first of the best: what runs now comes before others as good."""
    return int((worth >= worth.max() - TIE_RATIO).argmax())

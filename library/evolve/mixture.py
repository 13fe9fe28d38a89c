"""The best mixture of known combinations: a linear program of a few rows, by the simplex method.

Source  Dantzig & Wolfe, Decomposition principle for linear programs, Operations Research 8, 1960
"""

from __future__ import annotations

import numpy as np

from .space import Floats

_MOST_PIVOTS = 40
_ZERO = 1e-9


class Mixture:
    """Shares of combinations that sum to 1, worth most together, whose slack is at least 0.

    `worth` (n,) is of each combination, `slack` (rows, n) what it keeps from each limit. It starts
    from one combination that keeps all limits. The tableau's columns are the combinations, each
    row's slack, the sum of shares, and the right-hand side; its last row says what each would add.
    """

    def __init__(self, worth: Floats, slack: Floats, start: int) -> None:
        rows, count = slack.shape
        self._rows = rows
        self._basis = [-1] * rows + [start]
        self._table = np.zeros((rows + 2, count + rows + 2))
        kept, value = slack[:, start], worth[start]
        self._table[:rows, :count] = kept[:, None] - slack
        self._table[rows, :count] = 1.0
        self._table[-1, :count] = worth - value
        self._table[range(rows), range(count, count + rows)] = 1.0
        self._table[:rows, -2:] = kept[:, None]
        self._table[rows, -2:] = 1.0
        self._table[-1, -2:] = -value
        self._count = count

    def improve(self) -> None:
        """Pivot until no combination would add to the worth."""
        for _ in range(_MOST_PIVOTS):
            adds = self._table[-1, : self._count + self._rows]
            entering = int(adds.argmax())
            if adds[entering] <= _ZERO:
                return
            self._enter(self._table[:, entering], entering if entering < self._count else -1)

    def multipliers(self) -> Floats:
        """Return what a unit of each row's slack is worth: the dual values, at least 0."""
        return np.maximum(-self._table[-1, self._count : self._count + self._rows], 0.0)

    def members(self) -> list[int]:
        """Return which combinations are in it, those that entered later as numbers from n on."""
        return [member for member in self._basis if member >= 0]

    def add(self, worth: float, slack: Floats, number: int) -> bool:
        """Mix one more combination in, called `number`; False where that would add nothing."""
        slacks = self._table[:, self._count : self._count + self._rows]
        column = self._table[:, -2] - slacks @ slack
        column[-1] += worth
        if column[-1] <= _ZERO:
            return False
        self._enter(column, number)
        self.improve()
        return True

    def _enter(self, column: Floats, number: int) -> None:
        sides = zip(column[:-1].tolist(), self._table[:-1, -1].tolist(), strict=True)
        ratios = [side / falls if falls > _ZERO else np.inf for falls, side in sides]
        leaving = ratios.index(min(ratios))
        if ratios[leaving] == np.inf:
            return  # rounding: shares that sum to 1 leave no column unbounded
        row = self._table[leaving] / column[leaving]
        self._table = self._table - column[:, None] * row
        self._table[leaving] = row
        self._basis[leaving] = number

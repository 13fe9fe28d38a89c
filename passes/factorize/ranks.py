"""How the ranks of a form are chosen: frozen values, each a rule.

Ranks are rounded up to multiples, and what saves nothing by the rule's own measure is not chosen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ...errors import PassError
from .forms.base import Form, Path, Problem, split_of
from .split import Split
from .vbmf import vbmf_rank

RANKS_TRIED = 8


class RankChoice(ABC):
    """A rule; `weigh` tells which of several splits is taken, the whole layer weighing 1."""

    @abstractmethod
    def choose(self, form: Form, problem: Problem, multiple_of: int) -> Split | str:
        """Choose a form's ranks for a layer, or say why none will do."""

    def weigh(self, split: Split) -> float:
        """MACs over those of the whole layer."""
        return split.macs_count_after / split.macs_count_before

    def lightest(self, found: Sequence[Split]) -> Split | str:
        """Return the lightest split, or say that it saves nothing."""
        best = min(found, key=self.weigh)
        return best if self.weigh(best) < 1 else f"{best.describe_ranks()} saves no MACs"


@dataclass(frozen=True)
class ByError(RankChoice):
    """The fewest MACs at |y - y'| / |y| <= `max_error_ratio`."""

    max_error_ratio: float

    def __post_init__(self) -> None:
        _check_share("max_error_ratio", self.max_error_ratio)

    def choose(self, form: Form, problem: Problem, multiple_of: int) -> Split | str:
        """Find the smallest rank of every path that is within the error."""
        fit, paths = cache(form.fitter(problem)), _paths(form, problem, multiple_of)
        if not paths:
            return "no rank saves MACs"
        found = []
        for path in paths:
            at = bisect_left(path, True, key=lambda r: fit(r).error_ratio <= self.max_error_ratio)
            if at < len(path):
                found.append(split_of(form, problem.layer, path[at], fit(path[at])))
        if not found:
            least = min(fit(path[-1]).error_ratio for path in paths)
            return f"the error is {least:.1%} at the largest rank that saves MACs"
        return self.lightest(found)


@dataclass(frozen=True)
class ByEnergy(RankChoice):
    """The fewest MACs that keep this share of the outputs' power: 1 - |y - y'|² / |y|²."""

    energy_ratio: float

    def __post_init__(self) -> None:
        _check_share("energy_ratio", self.energy_ratio)

    def choose(self, form: Form, problem: Problem, multiple_of: int) -> Split | str:
        """Find the smallest rank of every path that keeps enough."""
        most = ByError(float(np.sqrt(1 - self.energy_ratio)))
        return most.choose(form, problem, multiple_of)


@dataclass(frozen=True)
class ByVbmf(RankChoice):
    """The rank that the weight has without its noise (`vbmf.py`), whatever the error."""

    def choose(self, form: Form, problem: Problem, multiple_of: int) -> Split | str:
        """Take the rank of each matrix that the form factors."""
        full, matrices = form.full_ranks(problem.layer), form.matrices(problem.weight)
        if not matrices:
            return "VBMF gives the rank of a matrix, and this form factors none"
        clean = [vbmf_rank(matrix) for matrix in matrices]
        if 0 in clean:
            return "VBMF finds only noise in its weight"
        rounded = (multiple_of * -(-rank // multiple_of) for rank in clean)
        ranks = tuple(min(pair) for pair in zip(rounded, full, strict=True))
        return self.lightest(
            [split_of(form, problem.layer, ranks, form.fitter(problem)(ranks))],
        )


@dataclass(frozen=True)
class ByCost(RankChoice):
    """The least `cost` of a split, by a function that is given; the whole layer costs 1.

    For example `lambda s: s.macs_count_after / s.macs_count_before + 2 * s.error_ratio`.
    """

    cost: Callable[[Split], float]

    def choose(self, form: Form, problem: Problem, multiple_of: int) -> Split | str:
        """Try ranks along every path."""
        paths = _paths(form, problem, multiple_of)
        fit = form.fitter(problem)
        tried = [r for path in paths for r in path[:: -(-len(path) // RANKS_TRIED)]]
        if not tried:
            return "no rank saves MACs"
        best = min((split_of(form, problem.layer, r, fit(r)) for r in tried), key=self.weigh)
        if self.weigh(best) < 1:
            return best
        return (
            f"the best, {best.describe_ranks()}, costs {self.weigh(best):.3g} times the whole layer"
        )

    def weigh(self, split: Split) -> float:
        """Return what the given function returns; NaN is refused."""
        cost = self.cost(split)
        if np.isnan(cost):
            raise PassError(f"the cost of {split.describe()} is NaN; give a number")
        return cost


def _paths(form: Form, problem: Problem, multiple_of: int) -> list[Path]:
    return [path for path in form.paths(problem.layer, multiple_of) if path]


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise PassError(f"{name} is {value}; choose a value between 0 and 1")

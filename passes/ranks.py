"""How the ranks of a form are chosen."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from .form import Form, Problem, split_of
from .split import Split


@dataclass(frozen=True)
class ByError:
    """The fewest MACs at |y - y'| / |y| <= `max_error_ratio`."""

    max_error_ratio: float

    def choose(self, form: Form, problem: Problem, multiple_of: int) -> Split | str:
        """Choose a form's ranks for a layer, or say why none will do."""
        layer, fit = problem.layer, cache(form.fitter(problem))
        paths = [path for path in form.paths(layer, multiple_of) if path]
        if not paths:
            return "no rank saves MACs"
        found = []
        for path in paths:
            at = bisect_left(path, True, key=lambda r: fit(r).error_ratio <= self.max_error_ratio)
            if at < len(path):
                found.append(split_of(form, layer, path[at], fit(path[at])))
        if not found:
            least = min(fit(path[-1]).error_ratio for path in paths)
            return f"the error is {least:.1%} at the largest rank that saves MACs"
        return cheapest(found)


def cheapest(found: Sequence[Split]) -> Split | str:
    """Return the split of the fewest MACs, or say that it saves none."""
    best = min(found, key=lambda split: split.macs_count_after)
    if best.macs_count_after >= best.macs_count_before:
        return f"{best.describe_ranks()} saves no MACs"
    return best

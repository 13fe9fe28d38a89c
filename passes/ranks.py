"""How the ranks of a form are chosen."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cache

from .forms import Form, Problem, split_of
from .split import Split


@dataclass(frozen=True)
class ByError:
    """The fewest MACs at |y - y'| / |y| <= `max_error_ratio`."""

    max_error_ratio: float

    def choose(self, form: Form, problem: Problem, multiple_of: int) -> Split | str:
        """Choose a form's ranks for a layer, or say why none will do."""
        layer, fit, found = problem.layer, cache(form.fitter(problem)), []
        for path in form.paths(layer, multiple_of):
            at = bisect_left(path, True, key=lambda r: fit(r).error_ratio <= self.max_error_ratio)
            if at < len(path):
                found.append(split_of(form, layer, path[at], fit(path[at])))
        best = min(found, key=lambda split: split.macs_count_after)
        if best.macs_count_after >= layer.macs_count:
            return f"{best.describe_ranks()} saves no MACs"
        return best

"""The metric of every combination, predicted from those measured, with how wrong that may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite
from typing import Any

import numpy as np

from ...errors import UsageError
from ...library.evolve.space import Cells, Floats
from .bound import EACH_RATIO, Bound, bound_of, widest
from .chain import ChainSum
from .choices import Choices

POOR_RATIO = 1 / 3
"""What share of the range the bound may take before combinations must be verified one by one."""

_SHARES = (0.5, 0.8, 0.9, 0.95, 1.0)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Combinations that no fit has seen, with their metric, drawn by one law.

    `is_all`: the law gives no others, so that nothing is left to be predicted. `lead`: they were
    drawn among those that are predicted so much above the least that may run; others may run by no
    smaller bound.
    """

    measured: Mapping[Cells, float]
    is_all: bool = False
    lead: float = 0.0


@dataclass(frozen=True, kw_only=True)
class MetricPrediction:
    """metric = base + Σ cells[i][c_i] + Σ crossings[i][c_i][c_(i+1)], more being better.

    All in the metric's unit. `bound` holds on both sides, against the data that it was measured on;
    `shortfall_bound` is how much less than predicted it may be there. `fresh_bound` is on both
    sides, against other data; None where their noise was not given. `errors` are the held-out
    ones' absolute errors, as (share of them, error that no more than it have).
    `error_share_ratio` is the bound over the range that matters: what may be lost, or where nothing
    was said, from the worst held-out combination to the best.
    """

    base: float
    cells: tuple[tuple[float, ...], ...]
    crossings: tuple[tuple[tuple[float, ...], ...], ...]
    bound: Bound
    shortfall_bound: Bound
    fresh_bound: Bound | None
    errors: tuple[tuple[float, float], ...]
    error_share_ratio: float

    @property
    def only_verified(self) -> bool:
        """Whether prediction is too poor: only combinations that were measured may run."""
        return not self.error_share_ratio <= POOR_RATIO

    def of(self, combinations: Sequence[Cells]) -> Floats:
        """Predict the metric of each combination."""
        return self.chain().of(combinations)

    def chain(self) -> ChainSum:
        """Give the sum as arrays."""
        return ChainSum(
            base=self.base,
            cells=tuple(np.array(figures) for figures in self.cells),
            crossings=tuple(np.array(figures) for figures in self.crossings),
        )

    def space_fields(self) -> dict[str, Any]:
        """Give the fields of `Space`; `metric` of its segment i is the array of cells[i].

        Where only what was verified may run, the bound is infinite.
        """
        return {
            "metric_base": self.base,
            "metric_bound": inf if self.only_verified else self.bound.value,
            "crossing_metric": self.chain().crossings,
        }

    def plain(self) -> dict[str, Any]:
        """Give numbers, tuples and dicts alone; None for what has no limit."""
        return finite(asdict(self))


def predict(
    chain: ChainSum,
    held_out: Sequence[HeldOut],
    choices: Choices,
    least: float,
    data_noise: float | None = None,
) -> MetricPrediction:
    """Judge a fitted sum by held-out combinations; each law has a bound, the widest counts.

    `least`: no combination may run that is predicted lower, the bound taken off.
    `data_noise`: how far the metric may be on other data (`bound.data_noise`).

    Raises:
        UsageError: a figure is not finite, or nothing was held out.

    """
    if not held_out or not all(group.measured or group.is_all for group in held_out):
        raise UsageError(
            "no combination was held out, so no prediction can be judged; measure some"
        )
    for group in held_out:
        choices.check_measured(group.measured)
    judged = [_Judged(group, chain, least) for group in held_out]
    absolute = np.abs(np.concatenate([group.errors for group in judged]))
    absolute = absolute if absolute.size else np.zeros(1)
    bound = _for_all(group.bound(np.abs) for group in judged)
    return MetricPrediction(
        base=float(chain.base),
        cells=tuple(tuple(figures.tolist()) for figures in chain.cells),
        crossings=tuple(tuple(map(tuple, figures.tolist())) for figures in chain.crossings),
        bound=bound,
        shortfall_bound=_for_all(group.bound(np.negative) for group in judged),
        fresh_bound=None if data_noise is None else _fresh(judged, data_noise),
        errors=tuple((share, float(np.quantile(absolute, share))) for share in _SHARES),
        error_share_ratio=_share(bound, _range(judged, chain, choices, least)),
    )


def finite(value: Any) -> Any:
    """Replace what is not finite by None, in dicts and tuples too."""
    if isinstance(value, dict):
        return {key: finite(held) for key, held in value.items()}
    if isinstance(value, tuple):
        return tuple(map(finite, value))
    return None if isinstance(value, float) and not isfinite(value) else value


class _Judged:
    """Held-out combinations of one law, and by how much each measured more than predicted."""

    def __init__(self, group: HeldOut, chain: ChainSum, least: float) -> None:
        self.is_all, self.lead, self.least = group.is_all, group.lead, least
        values = np.array(list(group.measured.values()), dtype=np.float64)
        predicted = chain.of(list(group.measured))
        # What may not run needs no bound.
        self.values, self.predicted = values[predicted >= least], predicted[predicted >= least]
        self.errors = self.values - self.predicted

    def bound(self, turn: np.ufunc, **how: float) -> Bound:
        """Bound what `turn` makes of the errors, also of those alone that may run by that bound.

        It is no surer than the latter are many.
        """
        errors = np.asarray(turn(self.errors), dtype=np.float64)
        found = widest(errors) if self.is_all else bound_of(errors, **how)
        found = replace(found, value=max(found.value, self.lead))
        may_run = self.predicted - found.value >= self.least
        inner = bound_of(errors[may_run], **how)
        if self.is_all or may_run.all():
            return found
        return replace(
            found,
            value=max(found.value, inner.value) if isfinite(inner.value) else found.value,
            confidence_ratio=min(found.confidence_ratio, inner.confidence_ratio),
        )


def _for_all(bounds: Iterable[Bound]) -> Bound:
    """Give what holds for each of several laws, as surely as for the least sure one."""
    found = list(bounds)
    return Bound(
        value=max(bound.value for bound in found),
        coverage_ratio=min(bound.coverage_ratio for bound in found),
        confidence_ratio=min(bound.confidence_ratio for bound in found),
        held_out_count=sum(bound.held_out_count for bound in found),
    )


def _fresh(judged: Sequence[_Judged], data_noise: float) -> Bound:
    """Add the noise of data; each alone is exceeded half as often as both may be."""
    found = _for_all(group.bound(np.abs, coverage=EACH_RATIO) for group in judged)
    return replace(
        found,
        value=found.value + data_noise,
        coverage_ratio=found.coverage_ratio + EACH_RATIO - 1,
    )


def _range(judged: Sequence[_Judged], chain: ChainSum, choices: Choices, least: float) -> float:
    if isfinite(least):
        return float(chain.of([choices.dense])[0]) - least
    return float(np.ptp(np.concatenate([group.values for group in judged])))


def _share(bound: Bound, span: float) -> float:
    """Nothing to lose and nothing to err is no poor prediction."""
    if bound.value == 0:
        return 0.0
    return bound.value / span if span > 0 else inf

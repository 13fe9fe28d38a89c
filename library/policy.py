"""Which variant for which context: constraints first, then AdaSpring's λ rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .context import Context
from .manifest import Cost, Figure, MetricFigure, Variant

Floats = NDArray[np.float64]
CONSTRAINTS = ("metric", "latency", "memory")

_COLD_CALLS_PER_S = 20.0
"""Where calls are rarer, the cold latency is what they take: it is measured at this rate."""

# What is given up where no variant meets every constraint, first to last. The metric before latency
# before memory: a worse answer is still an answer, a late one may be, an app out of memory is none.
RELAXATIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("metric",),
    ("latency",),
    ("metric", "latency"),
    ("memory",),
    ("metric", "memory"),
    ("latency", "memory"),
    CONSTRAINTS,
)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A chosen variant, and why.

    `relaxed` names the constraints that it does not meet; `unchecked` those that could not be
    checked, since no variant has that figure.
    """

    variant: str
    reason: str
    relaxed: tuple[str, ...]
    unchecked: tuple[str, ...]


class Policy(Protocol):
    """Anything that prepares for a library's variants, then decides for each context."""

    def prepare(self, variants: Sequence[Variant]) -> Callable[[Context], Decision]:
        """Return a function from context to decision for these variants."""
        ...


@dataclass(frozen=True, kw_only=True)
class LambdaPolicy:
    """Maximise λ1 · Norm(metric) + λ2 · Norm(1 / energy) among those that meet the constraints.

    λ2 = max(least_energy_weight_ratio, 1 - battery_ratio), λ1 = 1 - λ2; Norm maps the library's
    range to [0, 1], of a metric that is better lower the other way round, and a figure that a
    variant does not have to 0. Constraints: p90 latency times (1 + load), the cold one where calls
    are 50 ms apart or more; peak memory; the metric, which is an accuracy in the source. A variant
    without the figure fails its constraint, unless no variant has it: then it is not checked, and
    the decision says so. Where nothing meets all, constraints are given up in the order of
    RELAXATIONS, and of those left the one nearest to the gravest of them is taken.

    Source  Liu et al., AdaSpring, IMWUT 5(1), 2021, section 5
    """

    least_energy_weight_ratio: float = 0.3

    def prepare(self, variants: Sequence[Variant]) -> Callable[[Context], Decision]:
        """Read the variants' costs into arrays once; a decision is then a few array operations."""
        return _Prepared(variants, self.least_energy_weight_ratio)


class _Prepared:
    def __init__(self, variants: Sequence[Variant], least: float) -> None:
        assert variants, "a library has at least one variant"
        self._least = least
        self._names = [variant.name for variant in variants]
        costs = [variant.cost for variant in variants]
        metric = next((cost.metric for cost in costs if cost.metric is not None), None)
        self._metric = metric
        self._sign = -1.0 if metric is not None and metric.direction == "lower" else 1.0
        self._figures = {
            "metric": self._sign * _column(costs, lambda cost: cost.metric),
            "latency": _column(costs, lambda cost: cost.latency_p90_ms),
            "memory": _column(costs, lambda cost: cost.peak_memory_bytes),
        }
        cold = _column(costs, lambda cost: cost.cold_latency_p90_ms)
        hot = self._figures["latency"]
        self._cold_latency = np.where(np.isnan(cold), hot, np.fmax(cold, hot))
        energy = _column(costs, lambda cost: cost.energy_mj)
        self._known = {name: not np.isnan(v).all() for name, v in self._figures.items()}
        self._metric_norm = _norm(self._figures["metric"])
        self._efficiency_norm = _norm(1.0 / np.where(energy > 0, energy, np.nan))
        # how far from meeting a constraint: the smaller the nearer, unknown is farthest
        self._distance = {
            name: np.where(np.isnan(v), np.inf, -v if name == "metric" else v)
            for name, v in self._figures.items()
        }

    def __call__(self, context: Context) -> Decision:
        battery = 1.0 if context.battery_ratio is None else context.battery_ratio
        energy_weight = max(self._least, 1.0 - battery)
        score = (1.0 - energy_weight) * self._metric_norm + energy_weight * self._efficiency_norm
        meets = self._meets(context)
        checked = {name: mask for name, mask in meets.items() if self._known[name]}
        relaxed, mask = _relax(checked, len(self._names))
        if relaxed:
            distance = np.where(mask, self._distance[relaxed[-1]], np.inf)
            mask &= distance == distance.min()
        index = int(np.argmax(np.where(mask, score, -1.0)))
        unchecked = tuple(name for name in meets if name not in checked)
        return Decision(
            variant=self._names[index],
            reason=_reason(energy_weight, int(mask.sum()), relaxed, unchecked),
            relaxed=relaxed,
            unchecked=unchecked,
        )

    def _meets(self, context: Context) -> dict[str, NDArray[np.bool_]]:
        """Return who meets each constraint of the context; an unknown figure does not."""
        figures, meets = self._figures, {}
        if context.metric_floor is not None:
            self._check_floor(context.metric_floor)
            meets["metric"] = figures["metric"] >= self._sign * context.metric_floor
        if context.latency_budget_ms is not None:
            stretch = 1.0 + (context.load_ratio or 0.0)
            rare = context.calls_per_s is not None and context.calls_per_s <= _COLD_CALLS_PER_S
            latency = self._cold_latency if rare else figures["latency"]
            meets["latency"] = latency * stretch <= context.latency_budget_ms
        if context.memory_budget_bytes is not None:
            meets["memory"] = figures["memory"] <= context.memory_budget_bytes
        return meets

    def _check_floor(self, floor: float) -> None:
        """Refuse a floor that no share can meet: whoever gives it has mistaken the unit."""
        metric = self._metric
        if metric is not None and metric.unit == "ratio" and not 0 <= floor <= 1:
            raise UsageError(
                f"metric_floor is {floor:g}; {metric.name} is a share, so it must be in [0, 1], "
                "for example 0.95 for 95 %"
            )


def _relax(
    meets: dict[str, NDArray[np.bool_]], count: int
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Return the first entry of RELAXATIONS that leaves a variant, and who is left."""
    for relaxed in RELAXATIONS:
        if not meets.keys() >= set(relaxed):
            continue
        mask = np.ones(count, dtype=np.bool_)
        for name, met in meets.items():
            if name not in relaxed:
                mask &= met
        if mask.any():
            return relaxed, mask
    raise AssertionError("giving up every constraint leaves every variant")


def _reason(
    energy_weight: float, left: int, relaxed: tuple[str, ...], unchecked: tuple[str, ...]
) -> str:
    parts = [f"λ2 {energy_weight:.2f} for energy, {left} left to choose from"]
    if relaxed:
        parts.append(f"none meets every constraint: gave up {' and '.join(relaxed)}")
    if unchecked:
        parts.append(f"no figures to check {' and '.join(unchecked)}")
    return "; ".join(parts)


def _column(costs: Sequence[Cost], pick: Callable[[Cost], Figure | MetricFigure | None]) -> Floats:
    picked = (pick(cost) for cost in costs)
    return np.array([np.nan if figure is None else figure.value for figure in picked])


def _norm(values: Floats) -> Floats:
    """Map the known range to [0, 1]; unknown becomes 0, and so does all where nothing differs."""
    known = values[~np.isnan(values)]
    if known.size == 0 or known.min() == known.max():
        return np.zeros_like(values)
    return np.nan_to_num((values - known.min()) / (known.max() - known.min()), nan=0.0)

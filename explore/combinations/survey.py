"""Measure some combinations within a budget, and predict the others from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError
from ...library.evolve.space import Cells, Floats
from . import sample
from .additive import fit
from .bound import ENOUGH_HELD_OUT
from .chain import ChainSum, unique
from .choices import Choices
from .metric import POOR_RATIO, HeldOut, MetricPrediction, predict

Evaluate = Callable[[Sequence[Cells]], Sequence[float]]
"""Gives the metric of each combination, turned so that more is better."""

_HELD_OUT_RATIO = 0.25
"""What share of a budget beyond the least goes to either law of held-out combinations."""
_PAIRS_RATIO = 1 / 3
_ROUNDS = 4
_PILOT_QUANTILE = 0.95


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was measured, and the prediction for the rest; `held_out` judged it, unseen by it."""

    measured: dict[Cells, float]
    held_out: tuple[Cells, ...]
    prediction: MetricPrediction


def least_budget(choices: Choices) -> int:
    """How many evaluations a survey needs, or all combinations where they are fewer."""
    return min(len(sample.first(choices)) + 2 * ENOUGH_HELD_OUT, choices.combinations_count)


def survey(
    choices: Choices,
    evaluate: Evaluate,
    costs: Sequence[Floats],
    budget: int,
    *,
    most_drop: float = np.inf,
    data_noise: float | None = None,
    seed: int = 0,
) -> Survey:
    """Measure up to `budget` combinations, each once, in rounds; the same ones for the same seed.

    `costs`: of each segment's cells, such as latencies, so that what is measured and held out is
    near what an app chooses. `most_drop`: how much of the dense combination's metric may be lost;
    what is predicted lower may not run, so the bound is not for it. `data_noise`: `metric.predict`.
    Where the budget suffices, all are measured and nothing is left to be predicted.

    Raises:
        UsageError: the budget is too small, or a metric is not finite.

    """
    _check(choices, costs, budget, most_drop)
    rounds = _Rounds(choices, evaluate, most_drop)
    if choices.combinations_count <= budget:
        rounds.measure(tuple(choices.all()))
        groups = [HeldOut(measured=rounds.measured, is_all=True)]
        prediction = predict(rounds.fit(), groups, choices, rounds.least, data_noise)
        return Survey(measured=rounds.measured, held_out=(), prediction=prediction)
    rng = np.random.default_rng(seed)
    held_out_count = ENOUGH_HELD_OUT + int(_HELD_OUT_RATIO * (budget - least_budget(choices)))
    chain, lead = rounds.learn(costs, budget - 2 * held_out_count, rng)
    groups = rounds.hold_out(chain, costs, lead, held_out_count, rng)
    prediction = predict(chain, groups, choices, rounds.least, data_noise)
    held_out = tuple(cells for group in groups for cells in group.measured)
    return Survey(measured=rounds.measured, held_out=held_out, prediction=prediction)


def _check(choices: Choices, costs: Sequence[Floats], budget: int, most_drop: float) -> None:
    if budget < (least := least_budget(choices)):
        raise UsageError(
            f"{budget} evaluations are too few to predict {choices.combinations_count} "
            f"combinations; give {least} or more, or offer fewer cells"
        )
    if [len(figures) for figures in costs] != [len(kinds) for kinds in choices.kinds]:
        raise UsageError(
            f"costs are given for {[len(figures) for figures in costs]} cells of the segments, "
            f"which have {[len(kinds) for kinds in choices.kinds]}; give one for each cell"
        )
    if not all(np.isfinite(figures).all() for figures in costs):
        raise UsageError("the cost of a cell is not finite; measure it, or leave the cell out")
    if not most_drop > 0:
        raise UsageError(f"the metric may drop by {most_drop}; give a number above 0")


class _Rounds:
    """What has been measured so far, and what to measure next."""

    def __init__(self, choices: Choices, evaluate: Evaluate, most_drop: float) -> None:
        self._choices, self._evaluate, self._most_drop = choices, evaluate, most_drop
        self.measured: dict[Cells, float] = {}
        self.measure((choices.dense,))
        self.least = self.measured[choices.dense] - most_drop

    def measure(self, combinations: Sequence[Cells]) -> dict[Cells, float]:
        """Measure those that have not been."""
        fresh = [cells for cells in combinations if cells not in self.measured]
        values = self._evaluate(fresh) if fresh else ()
        found = {cells: float(value) for cells, value in zip(fresh, values, strict=True)}
        self._choices.check_measured(found)
        self.measured |= found
        return found

    def fit(self) -> ChainSum:
        """Fit a sum to all that was measured."""
        return fit(self._choices, self.measured, self.least)

    def learn(
        self, costs: Sequence[Floats], budget: int, rng: np.random.Generator
    ) -> tuple[ChainSum, float]:
        """Spend a budget on what teaches most; return the sum, and a guess of its bound."""
        self.measure(sample.first(self._choices))
        pairs_count = int(_PAIRS_RATIO * (budget - len(self.measured)))
        self.measure(
            sample.pairs(self._choices, self.fit(), self.least, pairs_count, self.measured)
        )
        errors = np.zeros(1)
        for rounds_left in range(_ROUNDS, 0, -1):
            chain, count = self.fit(), (budget - len(self.measured)) // rounds_left
            found = self.measure(sample.useful(chain, costs, self.least, count, rng, self.measured))
            if found:
                errors = np.abs(np.array(list(found.values())) - chain.of(list(found)))
        lead = float(np.quantile(errors, _PILOT_QUANTILE))
        # A lead so large is too poor a prediction anyway, and might leave nothing to be judged.
        return self.fit(), min(lead, POOR_RATIO * self._most_drop)

    def hold_out(
        self,
        chain: ChainSum,
        costs: Sequence[Floats],
        lead: float,
        count: int,
        rng: np.random.Generator,
    ) -> list[HeldOut]:
        """Measure what the app may choose: at random, and as a search would."""
        least = self.least + lead
        any_allowed = sample.held_out(chain, least, count, rng, self.measured)
        chosen = sample.near_front(chain, costs, least, count, rng, self.measured)
        values = self.measure(unique((*any_allowed, *chosen)))
        return [
            HeldOut(
                measured={cells: values[cells] for cells in group},
                is_all=len(group) < count,
                lead=lead if np.isfinite(self.least) else 0.0,
            )
            for group in (any_allowed, chosen)
        ]

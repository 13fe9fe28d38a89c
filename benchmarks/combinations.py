"""Accuracy of combinations of cells: predicted from some of them, against all of them measured.

SmallResNet (tests/support/networks.py) learns scikit-learn's digits in noise, and is cut by hand
into six segments of 5 or 6 cells (hand_cut.py). All combinations are measured in torch; surveys of
several budgets predict them. How often their bounds hold is counted over every combination that may
run and was not measured, over those of them that a search chooses, and by the wider bound on the
test part. Nothing is timed.

    python benchmarks/combinations.py [--quick] [--json results/combinations.json]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import report
import torch
from hand_cut import Cut, Metrics, accuracies, cut
from pruning import digits, trained

from adaspring.explore.combinations import sample
from adaspring.explore.combinations.bound import data_noise
from adaspring.explore.combinations.survey import Survey, survey
from adaspring.frontend.data import Dataset
from adaspring.library.score import Score
from adaspring.tests.support.networks import SmallResNet

PARTS = {"train": (0, 900), "validation": (900, 1400), "test": (1400, 1797)}
CALIBRATION_COUNT, NOISE, SEED = 200, 0.15, 0
DROPS = (0.03, 0.1, np.inf)
BUDGETS = (200, 300, 500)


@dataclass(frozen=True)
class Measured:
    """All combinations: the accuracy on the part that decides, and on the test part."""

    cut: Cut
    validation: Metrics
    test: Metrics

    @property
    def dense(self) -> float:
        """The dense network's accuracy."""
        return self.validation[self.cut.choices.dense]


def noisy_digits() -> dict[str, Dataset]:
    """Images (n, 3, 8, 8) in noise, so that not all are read right."""
    data = digits()
    images = data.inputs[0][:, :, 1::4, 1::4]
    noise = np.random.default_rng(SEED).normal(0, NOISE, images.shape)
    images = np.ascontiguousarray(images + noise, dtype=np.float32)
    found = Dataset(inputs=(images,), targets=data.targets)
    return {name: found.take(np.arange(*ends)) for name, ends in PARTS.items()}


def measure_all(epochs: int) -> Measured:
    """Train, cut, and measure every combination."""
    data = noisy_digits()
    network = trained(SmallResNet, data["train"], epochs)
    with torch.inference_mode():
        held = cut(network, torch.from_numpy(data["train"].inputs[0][:CALIBRATION_COUNT]))
        validation, test = (
            accuracies(
                held, torch.from_numpy(data[name].inputs[0]), torch.from_numpy(data[name].labels)
            )
            for name in ("validation", "test")
        )
    return Measured(held, validation, test)


def count(name: str) -> int:
    """How many samples a part has."""
    begin, end = PARTS[name]
    return end - begin


def run_survey(found: Measured, budget: int, drop: float, seed: int) -> Survey:
    """Predict from `budget` combinations; what is asked for is looked up."""
    worst = max(found.dense - drop, min(found.validation.values()))
    scores = [Score.of_share(value, count("validation")) for value in (found.dense, worst)]
    return survey(
        found.cut.choices,
        lambda asked: [found.validation[cells] for cells in asked],
        found.cut.costs,
        budget,
        most_drop=drop,
        data_noise=data_noise(scores, count("test")),
        seed=seed,
    )


def judge(found: Measured, drop: float, made: Survey) -> dict[str, float]:
    """How often the bounds hold for what may run and was not measured; NaN where that is nothing.

    A prediction that is too poor counts too, as if one ran by it all the same.
    """
    prediction, every = made.prediction, list(found.validation)
    least, bound = found.dense - drop, prediction.bound.value
    allowed = prediction.of(every) - bound >= least
    may_run = [c for c, ok in zip(every, allowed, strict=True) if ok and c not in made.measured]
    rng, chain = np.random.default_rng(SEED), prediction.chain()
    chosen = sample.near_front(chain, found.cut.costs, least + bound, 200, rng, made.measured)

    def covered(cells: Sequence[tuple[int, ...]], truth: Metrics, width: float) -> float:
        errors = np.array([truth[c] for c in cells]) - prediction.of(cells)
        return float(np.mean(np.abs(errors) <= width + 1e-9)) if len(cells) else float("nan")

    assert prediction.fresh_bound is not None, "the noise of data was given"
    floor_held = [found.validation[c] >= least for c in may_run]
    return {
        "bound": bound,
        "other_data_bound": prediction.fresh_bound.value,
        "may_run_count": len(may_run),
        "covered_ratio": covered(may_run, found.validation, bound),
        "covered_chosen_ratio": covered(chosen, found.validation, bound),
        "covered_other_data_ratio": covered(may_run, found.test, prediction.fresh_bound.value),
        "held_floor_ratio": float(np.mean(floor_held)) if may_run else float("nan"),
        "error_share_ratio": prediction.error_share_ratio,
        "is_poor": float(prediction.only_verified),
        "pairs_count": sum(int(np.count_nonzero(figures)) for figures in chain.crossings),
    }


def row_of(budget: int, drop: float, judged: Sequence[dict[str, float]]) -> dict[str, object]:
    """The means over surveys, and how many of them cover 95 %."""
    means = {}
    for key in judged[0]:
        values = np.array([one[key] for one in judged])
        known = values[~np.isnan(values)]
        means[key] = float(known.mean()) if known.size else None
    covered = [one["covered_ratio"] for one in judged if one["may_run_count"]]
    return {
        "budget_count": budget,
        "most_drop": drop if np.isfinite(drop) else None,
        "surveys_count": len(judged),
        **means,
        "surveys_covering_ratio": float(np.mean(np.array(covered) >= 0.95)) if covered else None,
    }


def rows_of(found: Measured, budgets: Sequence[int], seeds: int) -> Iterator[dict[str, object]]:
    """A row for each drop and budget."""
    for drop in DROPS:
        for budget in budgets:
            surveys = map(partial(run_survey, found, budget, drop), range(seeds))
            yield row_of(budget, drop, [judge(found, drop, made) for made in surveys])


def show(row: dict[str, object]) -> None:
    """Print one row."""

    def figure(key: str) -> str:
        return "    -" if row[key] is None else f"{row[key]:5.3f}"

    drop = "any " if row["most_drop"] is None else f"{row['most_drop']:.2f}"
    print(
        f"drop {drop} budget {row['budget_count']:4}  bound {figure('bound')}  covered "
        f"{figure('covered_ratio')} (chosen {figure('covered_chosen_ratio')})  in "
        f"{figure('surveys_covering_ratio')} of surveys  other data ±{figure('other_data_bound')} "
        f"{figure('covered_other_data_ratio')}  floor held {figure('held_floor_ratio')}  "
        f"{row['may_run_count']:6.1f} may run  poor {figure('is_poor')}",
        flush=True,
    )


def points(found: Measured, made: Survey) -> dict[str, object]:
    """Predicted and measured accuracy of 200 combinations that were not measured, at random."""
    fresh = [cells for cells in found.validation if cells not in made.measured]
    picked = np.random.default_rng(SEED).permutation(len(fresh))[:200]
    chosen = [fresh[i] for i in picked]
    return {
        "predicted": made.prediction.of(chosen).tolist(),
        "measured": [found.validation[cells] for cells in chosen],
        "bound": made.prediction.bound.value,
    }


def main() -> None:
    """Train, measure all, survey, print, write JSON."""
    arguments = report.arguments(__doc__, "fewer epochs, one budget, three seeds").parse_args()
    epochs, seeds = (10, 3) if arguments.quick else (40, 20)
    budgets = BUDGETS[1:2] if arguments.quick else BUDGETS
    found = measure_all(epochs)
    values = np.array(list(found.validation.values()))
    print(f"{len(values)} combinations; dense {found.dense:.1%}, all {values.min():.1%} and more")
    rows = []
    for row in rows_of(found, budgets, seeds):
        show(row)
        rows.append(row)
    last = points(found, run_survey(found, budgets[-1], np.inf, SEED))
    report.write(
        arguments.json,
        "combinations",
        ("adaspring", "torch", "scikit-learn", "scipy"),
        {"epochs": epochs, "seeds": seeds, "samples": PARTS, "noise": NOISE, "dense": found.dense},
        [*rows, last],
        {},
    )


if __name__ == "__main__":
    main()

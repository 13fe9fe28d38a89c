"""The stated bounds hold in 95 % of fresh combinations, whatever law the metric follows."""

import numpy as np
import pytest

from adaspring.errors import UsageError
from adaspring.explore.combinations import sample
from adaspring.explore.combinations.bound import data_noise
from adaspring.explore.combinations.choices import Choices
from adaspring.explore.combinations.survey import least_budget, survey
from adaspring.library.score import Score
from adaspring.tests.support import truths

SEGMENTS, CELLS, BUDGET, DROP = 5, 6, 250, 0.05
CHOICES = truths.choices_of(SEGMENTS, CELLS)
COSTS = [np.linspace(1.0, 0.3, CELLS)] * SEGMENTS
SEEDS = range(6)


def measure(truth, seed, budget=BUDGET, **more):
    return survey(CHOICES, truth, COSTS, budget, seed=seed, **{"most_drop": DROP, **more})


def fresh_ones(found, count=1000):
    """What may run and was not measured: at random, and as a search chooses."""
    prediction, rng = found.prediction, np.random.default_rng(99)
    least = found.measured[CHOICES.dense] - DROP + prediction.bound.value
    at_random = prediction.chain().draw(least, count, rng, found.measured)
    chosen = sample.near_front(prediction.chain(), COSTS, least, 100, rng, found.measured)
    return at_random, chosen


def is_within(found, truth, cells, value):
    return np.abs(truth(cells) - found.prediction.of(cells)) <= value + 1e-12


@pytest.mark.parametrize("form", truths.FORMS)
def test_the_bound_holds_for_95_percent_of_what_may_run(form):
    random, chosen = [], []
    for seed in SEEDS:
        exact = truths.truth(form, seed=seed, segments=SEGMENTS, cells=CELLS)
        metric = truths.on_samples(exact, 500, seed)
        found = measure(metric, seed)
        held = [
            is_within(found, metric, cells, found.prediction.bound.value)
            for cells in fresh_ones(found)
        ]
        random.append(held[0])
        chosen.append(held[1])
        assert found.prediction.bound.coverage_ratio >= 0.95
    assert np.concatenate(random).mean() >= 0.95
    # 95 % of surveys are promised.
    assert sum(held.mean() < 0.95 for held in random if len(held) >= 100) <= 1
    assert np.concatenate(chosen).mean() >= 0.95


@pytest.mark.parametrize(
    "form", [truths.additive, truths.additive_in_the_logit, truths.neighbours_interact]
)
def test_it_holds_where_all_may_run(form):
    held = []
    for seed in range(4):
        metric = truths.truth(form, seed=seed, segments=SEGMENTS, cells=CELLS)
        found = measure(metric, seed, most_drop=np.inf)
        fresh = [cells for cells in CHOICES.all() if cells not in found.measured]
        held.append(is_within(found, metric, fresh, found.prediction.bound.value).mean())
    assert min(held) >= 0.95


@pytest.mark.parametrize("form", [truths.additive, truths.neighbours_interact])
def test_on_other_data_the_wider_bound_holds(form):
    held, narrow = [], []
    for seed in range(6):
        exact = truths.truth(form, seed=seed, segments=SEGMENTS, cells=CELLS)
        metric = truths.on_samples(exact, 400, seed)
        dense = Score.of_share(float(metric([CHOICES.dense])[0]), 400)
        worst = Score.of_share(dense.value - DROP, 400)
        found = measure(metric, seed, data_noise=data_noise([dense, worst], 400))
        fresh, wide = fresh_ones(found, 100)[0], found.prediction.fresh_bound
        assert wide.coverage_ratio == pytest.approx(0.95)
        for test_seed in range(100, 110):
            tested = truths.on_samples(exact, 400, test_seed)
            held.append(is_within(found, tested, fresh, wide.value).mean())
            narrow.append(is_within(found, tested, fresh, found.prediction.bound.value).mean())
    assert np.mean(held) >= 0.95 > np.mean(narrow)


def test_what_may_run_holds_the_floor():
    for form in truths.FORMS:
        exact = truths.truth(form, seed=5, segments=SEGMENTS, cells=CELLS)
        found = measure(exact, 5)
        for cells in fresh_ones(found):
            least = found.measured[CHOICES.dense] - DROP
            assert len(cells) == 0 or np.mean(exact(cells) >= least) >= 0.95


def no_sum(combinations):
    """Dense is best; what any other does has nothing to do with its cells."""
    return [
        0.95 - 0.08 * np.random.default_rng(cells).random() * any(cells) for cells in combinations
    ]


def test_a_sum_is_told_from_what_is_none():
    exact = truths.truth(truths.additive, segments=SEGMENTS, cells=CELLS, seed=3)
    good, poor = measure(exact, 0).prediction, measure(no_sum, 0).prediction
    assert not good.only_verified
    assert good.space_fields()["metric_bound"] == good.bound.value
    assert poor.only_verified
    assert poor.space_fields()["metric_bound"] == np.inf


def test_it_is_the_same_for_the_same_seed_and_keeps_to_the_budget():
    metric = truths.truth(truths.all_interact, seed=1, segments=SEGMENTS, cells=CELLS)
    asked = []

    def evaluate(combinations):
        asked.extend(combinations)
        return metric(combinations)

    found = measure(evaluate, 7)
    assert len(set(asked)) == len(asked) == len(found.measured) <= BUDGET
    assert set(sample.first(CHOICES)) <= set(asked)
    assert set(found.held_out) <= set(asked[-len(found.held_out) :])
    assert found == measure(metric, 7)
    assert found.measured != measure(metric, 8).measured


def test_where_the_budget_suffices_all_are_measured():
    choices = Choices(kinds=(("dense", "int8"), ("int8", "dense", "pruned")))
    costs = [np.ones(2), np.ones(3)]
    metric = {cells: 0.9 - 0.01 * sum(cells) ** 2 for cells in choices.all()}
    found = survey(choices, lambda asked: [metric[cells] for cells in asked], costs, 6)
    assert found.measured == metric
    bound = found.prediction.bound
    assert (bound.coverage_ratio, bound.confidence_ratio) == (1.0, 1.0)
    errors = np.abs(found.prediction.of(list(metric)) - list(metric.values()))
    assert bound.value == errors.max()


def test_a_large_network_is_surveyed_too():
    choices = truths.choices_of(20, 8)
    costs = [np.linspace(1.0, 0.3, 8)] * 20
    metric = truths.truth(truths.additive_in_the_logit, seed=0, segments=20, cells=8)
    found = survey(choices, metric, costs, 500, most_drop=DROP)
    least = found.measured[choices.dense] - DROP + found.prediction.bound.value
    fresh = found.prediction.chain().draw(least, 500, np.random.default_rng(1), found.measured)
    assert len(fresh) == 500
    assert is_within(found, metric, fresh, found.prediction.bound.value).mean() >= 0.95


def constant(combinations):
    return np.full(len(combinations), 0.5)


def test_a_metric_that_compression_leaves_alone_is_well_predicted():
    found = measure(constant, 0)
    assert found.prediction.bound.value == pytest.approx(0, abs=1e-9)
    assert not found.prediction.only_verified


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"budget": 100}, "100 evaluations are too few to predict 7776 combinations; give 149"),
        ({"most_drop": 0.0}, "may drop by 0.0"),
        ({"most_drop": np.nan}, "may drop by nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(more, complaint):
    assert least_budget(CHOICES) == 149
    with pytest.raises(UsageError, match=complaint):
        measure(constant, 0, **more)


@pytest.mark.parametrize(
    ("costs", "complaint"),
    [(COSTS[:-1], "one for each cell"), ([np.full(CELLS, np.nan)] * SEGMENTS, "not finite")],
)
def test_costs_that_fit_no_cells_are_refused(costs, complaint):
    with pytest.raises(UsageError, match=complaint):
        survey(CHOICES, constant, costs, BUDGET)


def test_a_metric_that_is_no_number_names_the_combination():
    def evaluate(combinations):
        return [np.nan if cells[1] == 2 else 0.9 for cells in combinations]

    with pytest.raises(UsageError, match="dense/kind2/dense/dense/dense measured nan"):
        measure(evaluate, 0)

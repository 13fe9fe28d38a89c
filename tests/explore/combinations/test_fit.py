"""The fitted sum: exact where the truth is one, and of pairs only what the figures show."""

from itertools import product

import numpy as np
import pytest

from adaspring.errors import UsageError
from adaspring.explore.combinations import sample
from adaspring.explore.combinations.additive import fit
from adaspring.explore.combinations.choices import Choices
from adaspring.tests.support import truths

CHOICES = truths.choices_of(4, 4)
EVERY = list(CHOICES.all())


def some(count, seed=0):
    rows = np.random.default_rng(seed).permutation(len(EVERY))[:count]
    return [*sample.first(CHOICES), *(EVERY[i] for i in rows)]


def test_a_sum_is_found_from_each_cell_alone_with_one_more():
    truth = truths.truth(truths.additive, seed=1, segments=4, cells=4)
    measured = some(5)
    found = fit(CHOICES, dict(zip(measured, truth(measured), strict=True)), -np.inf)
    assert found.of(EVERY) == pytest.approx(truth(EVERY), abs=1e-4)
    assert found.crossings == ()


def test_what_neighbours_do_together_is_found():
    truth = truths.truth(truths.neighbours_interact, seed=2, segments=4, cells=4)
    measured = some(120)
    found = fit(CHOICES, dict(zip(measured, truth(measured), strict=True)), -np.inf)
    errors = found.of(EVERY) - truth(EVERY)
    assert found.crossings
    assert np.abs(errors).max() < 1e-3


@pytest.mark.parametrize("noise", [0.0005, 0.003])
def test_noise_is_seldom_taken_for_pairs(noise):
    truth = truths.truth(truths.additive, seed=3, segments=4, cells=4)
    crossed = 0
    for seed in range(20):
        measured = some(40, seed)
        noisy = truth(measured) + np.random.default_rng(seed).normal(0, noise, len(measured))
        found = fit(CHOICES, dict(zip(measured, noisy, strict=True)), -np.inf)
        crossed += bool(found.crossings)
        assert np.abs(found.of(EVERY) - truth(EVERY)).max() < 6 * noise
    assert crossed <= 3


def test_pairs_that_were_not_measured_are_not_guessed():
    truth = truths.truth(truths.neighbours_interact, seed=2, segments=4, cells=4)
    measured = [cells for cells in some(150) if cells[:2] != (3, 3)]
    found = fit(CHOICES, dict(zip(measured, truth(measured), strict=True)), -np.inf)
    assert found.crossings[0][3, 3] == 0


def test_what_is_far_below_the_least_metric_counts_little():
    truth = truths.truth(truths.collapses_where_two_heavy_cells_meet, seed=6, segments=4, cells=4)
    measured = some(60)
    figures = dict(zip(measured, truth(measured), strict=True))
    least = truth([CHOICES.dense])[0] - 0.05
    useful = [cells for cells in EVERY if truth([cells])[0] >= least]
    assert 10 < len(useful) < len(EVERY)
    errors = [
        np.abs(fit(CHOICES, figures, limit).of(useful) - truth(useful)).mean()
        for limit in (least, -np.inf)
    ]
    assert errors[0] < errors[1]


def test_what_collapses_is_not_forgotten_where_little_may_be_lost():
    """One cell ruins all, and so do two others together; the rest loses little."""

    def truth(cells):
        if 3 in cells or (cells[0], cells[1]) == (2, 2):
            return 0.1 + 0.01 * len(set(cells))
        return 0.95 - 0.004 * sum(cells)

    measured = {cells: truth(cells) for cells in [*some(100), CHOICES.among_dense((0, 2), (1, 2))]}
    least = 0.95 - 0.03
    predicted = fit(CHOICES, measured, least).of(EVERY)
    exact = np.array([truth(cells) for cells in EVERY])
    assert predicted[exact < 0.5].max() < least
    good = exact >= least
    assert np.abs(predicted - exact)[good].max() < 0.004


def test_the_figures_given_and_their_order_are_left_alone():
    truth = truths.truth(truths.saturating, seed=4, segments=4, cells=4)
    measured = dict(zip(some(60), truth(some(60)), strict=True))
    before = dict(measured)
    first = fit(CHOICES, measured, 0.8).of(EVERY)
    assert measured == before
    turned = fit(CHOICES, dict(reversed(measured.items())), 0.8).of(EVERY)
    assert turned == pytest.approx(first, abs=1e-9)


def test_a_metric_that_never_changes_is_predicted():
    found = fit(CHOICES, dict.fromkeys(some(10), 0.5), 0.4)
    assert found.of(EVERY) == pytest.approx(0.5)


def test_a_single_segment_is_a_sum_too():
    choices = Choices(kinds=(("int8", "dense"),))
    found = fit(choices, {(0,): 0.8, (1,): 0.9}, -np.inf)
    assert found.of([(0,), (1,)]) == pytest.approx([0.8, 0.9], abs=1e-3)


def test_whole_variants_are_taken_at_what_they_measured():
    choices = Choices(kinds=(("dense", *(f"variant{i}" for i in range(30))),))
    measured = {(i,): 0.9 - 0.003 * i for i in range(31)}
    for least in (-np.inf, 0.85):
        found = fit(choices, measured, least)
        good = [cells for cells, value in measured.items() if value >= least]
        assert found.of(good) == pytest.approx([measured[c] for c in good], abs=1e-4)
        assert all(found.of([c])[0] < least for c in measured if c not in good)


def test_a_cell_that_was_never_measured_is_refused():
    measured = {cells: 0.9 for cells in EVERY if cells[2] != 1}
    with pytest.raises(UsageError, match="cell kind1 of segment 2 is in no measured combination"):
        fit(CHOICES, measured, -np.inf)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_figure_that_is_none_is_refused(value):
    measured = dict.fromkeys(EVERY, 0.9) | {(0, 1, 0, 2): value}
    with pytest.raises(UsageError, match=f"dense/kind1/dense/kind2 measured {value}"):
        fit(CHOICES, measured, -np.inf)


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [((0, 0, 0), "3 cells for 4 segments"), ((0, 4, 0, 0), "cell 4 of segment 1, which has 4")],
)
def test_what_is_no_combination_is_refused(cells, complaint):
    with pytest.raises(UsageError, match=complaint):
        fit(CHOICES, {**dict.fromkeys(EVERY, 0.9), cells: 0.5}, -np.inf)


@pytest.mark.parametrize(
    ("kinds", "complaint"),
    [
        ((), "there are no segments"),
        ((("dense",), ("int8", "bf16")), "segment 1 has 0 dense cells among int8, bf16"),
        ((("dense", "dense"),), "segment 0 has 2 dense cells"),
        (((),), "among none"),
        ((("dense", "int8", "int8"),), "several cells of the kind int8"),
    ],
)
def test_segments_without_one_dense_cell_are_refused(kinds, complaint):
    with pytest.raises(UsageError, match=complaint):
        Choices(kinds=kinds)


def test_all_combinations_are_as_many_as_counted():
    choices = Choices(kinds=(("dense", "int8"), ("int8", "dense", "bf16")))
    assert choices.combinations_count == len(set(choices.all())) == 6
    assert choices.dense == (0, 1)
    assert set(choices.all()) == set(product(range(2), range(3)))

"""The search against trying everything."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaspring.library.evolve.decomposed import Decomposed
from adaspring.library.evolve.figures import Figures
from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.runtime3c import Runtime3C
from adaspring.library.evolve.search import Method, Search
from adaspring.library.evolve.table import Table

from ...support.combinations import every, goals, meets, random_space, spaces

METHODS = (Table, Decomposed)
QUANTITIES = ("metric", "latency", "energy", "memory")
LEFT_OPEN_RATIO = 0.05
"""What a method that stops early may leave, as a share of all that combinations differ by."""


def tried(examples: int):
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


def worth(goal: Goal, figures: dict[str, float], known: frozenset[str]) -> float:
    weights = {
        "metric": goal.metric_worth,
        "latency": -goal.ms_worth * goal.stretch,
        "energy": -goal.mj_worth,
    }
    return math.fsum(weight * figures[name] for name, weight in weights.items() if name in known)


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@tried(80)
def test_it_finds_what_trying_everything_finds(method: Callable[[Figures], Method], data):
    space = data.draw(spaces())
    goal = data.draw(goals(space))
    search, all_figures = Search(space, method), every(space, goal.cold)
    worths = {cells: worth(goal, of, search.known) for cells, of in all_figures.items()}
    fits = [cells for cells, of in all_figures.items() if meets(space, goal, of, search.known)]
    found = search.best(goal)
    assert (found is None) == (not fits)
    if found is None:
        return
    assert found.cells in fits
    assert found.worth == pytest.approx(worths[found.cells], abs=1e-9)
    best = max(worths[cells] for cells in fits)
    apart = max(worths.values()) - min(worths.values())
    assert found.worth + found.gap >= best - 1e-9
    assert found.worth >= best - LEFT_OPEN_RATIO * apart - 1e-9
    if method is Table:
        assert found.worth == pytest.approx(best, abs=1e-9)
        assert found.gap == 0


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@tried(40)
def test_unknown_figures_meet_no_limit_and_are_taken_last(method, data):
    space = data.draw(spaces(unknown_share=0.15))
    goal = dataclasses.replace(data.draw(goals(space)), mj_worth=0.0, ms_worth=0.0)
    search, all_figures = Search(space, method), every(space, goal.cold)
    fits = {cells: of for cells, of in all_figures.items() if meets(space, goal, of, search.known)}
    found = search.best(goal)
    assert (found is None) == (not fits)
    if found is not None:
        assert found.cells in fits
        some_known = any(not math.isnan(of["metric"]) for of in fits.values())
        assert math.isnan(found.metric) == (not some_known)


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@tried(40)
def test_the_nearest_to_a_limit_is_that_of_trying_everything(method, data):
    space = data.draw(spaces())
    goal, quantity = data.draw(goals(space)), data.draw(st.sampled_from(QUANTITIES))
    limit = {
        "metric": "metric_floor",
        "latency": "latency_limit_ms",
        "energy": "energy_limit_mj",
        "memory": "memory_limit_bytes",
    }[quantity]
    others = dataclasses.replace(goal, **{limit: None})
    search, sign = Search(space, method), 1 if quantity == "metric" else -1
    all_figures = every(space, goal.cold)
    values = {cells: sign * of[quantity] for cells, of in all_figures.items()}
    fits = [cells for cells, of in all_figures.items() if meets(space, others, of, search.known)]
    found = search.least(quantity, goal)
    assert (found is None) == (not fits)
    if found is not None:
        assert found.cells in fits
        apart = max(values.values()) - min(values.values())
        best = max(values[cells] for cells in fits)
        assert values[found.cells] >= best - LEFT_OPEN_RATIO * apart - 1e-9
        unit = goal.stretch if quantity == "latency" else 1.0
        assert unit * values[found.cells] + found.gap >= unit * best - 1e-9


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@tried(40)
def test_the_range_of_a_quantity_is_that_of_all_that_may_run(method, data):
    space, quantity = data.draw(spaces()), data.draw(st.sampled_from(QUANTITIES[:3]))
    search = Search(space, method)
    low, high = search.range(quantity)
    may_run = [of for of in every(space, False).values() if meets(space, Goal(), of, search.known)]
    if not may_run:
        assert math.isnan(low)
        assert math.isnan(high)
        return
    values = [of[quantity] for of in may_run]
    apart = LEFT_OPEN_RATIO * (max(values) - min(values)) + 1e-9
    assert min(values) - 1e-9 <= low <= min(values) + apart
    assert max(values) - apart <= high <= max(values) + 1e-9


@given(data=st.data())
@tried(40)
def test_one_combination_gains_alone_what_it_does_among_many(data):
    space = data.draw(spaces(unknown_share=0.2))
    figures = Figures(space, cold=data.draw(st.booleans()))
    paths = np.indices(figures.sizes).reshape(len(figures.sizes), -1).T
    alone = np.stack([figures.gain(path) for path in paths], axis=1)
    np.testing.assert_allclose(alone, figures.gains(paths), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@tried(40)
def test_what_runs_now_is_kept_unless_another_is_better(method, data):
    space = data.draw(spaces())
    goal = data.draw(goals(space))
    search = Search(space, method)
    found = search.best(goal)
    if found is not None:
        again = search.best(goal, start=found.cells)
        assert again.worth >= found.worth - 1e-9
        assert again.cells == found.cells or again.worth > found.worth


@pytest.mark.parametrize("method", [*METHODS, Runtime3C])
def test_the_same_goal_finds_the_same_whatever_was_asked_before(method):
    space = random_space(4, [4, 3, 4, 2, 4], whole=True, unknown_share=0.0)
    first, second = Search(space, method), Search(space, method)
    asked = [Goal(latency_limit_ms=limit, mj_worth=0.1) for limit in (9.0, 14.0, 11.0, 25.0)]
    found = [first.best(goal) for goal in asked]
    assert [second.best(goal) for goal in reversed(asked)] == found[::-1]


def test_threads_share_a_search():
    space = random_space(6, [8] * 12, whole=False, unknown_share=0.0)
    search = Search(space)
    fastest = search.least("latency", Goal()).latency_ms
    asked = [Goal(latency_limit_ms=fastest * (1.05 + 0.05 * i), mj_worth=0.1) for i in range(24)]
    alone = [search.best(goal) for goal in asked]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(search.best, asked * 3)) == alone * 3


@pytest.mark.parametrize("method", [*METHODS, Runtime3C])
def test_the_space_is_left_untouched(method):
    space = random_space(1, [3, 4, 2], whole=False, unknown_share=0.2)
    arrays = [*space.crossing_metric, *space.crossing_ms, *space.crossing_mj]
    arrays += [a for part in space.segments for a in vars(part).values() if a is not part.names]
    before = [array.copy() for array in arrays]
    search = Search(space, method)
    for cold in (False, True):
        search.best(Goal(latency_limit_ms=10, energy_limit_mj=9, cold=cold, ms_worth=0.1))
        search.least("memory", Goal(metric_floor=-3, cold=cold))
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_what_is_found_in_a_large_space_keeps_its_limits_and_its_bound():
    space = random_space(2, [8] * 20, whole=False, unknown_share=0.0)
    search = Search(space)
    least = search.least("latency", Goal())
    for share in (1.01, 1.1, 1.3):
        limit = least.latency_ms * share
        found = search.best(Goal(latency_limit_ms=limit))
        assert found.latency_ms <= limit
        figures = search.found(found.cells, Goal())
        assert (figures.latency_ms, figures.metric) == (found.latency_ms, found.metric)
        assert search.best(Goal()).worth + 1e-9 >= found.worth >= least.metric - 1e-9
    assert search.best(Goal(latency_limit_ms=least.latency_ms * 0.99)) is None
    assert search.best(Goal(latency_limit_ms=least.latency_ms)).cells == least.cells


def test_limits_out_of_all_proportion_are_none_or_out_of_reach():
    space = random_space(2, [8] * 12, whole=False, unknown_share=0.0)
    search = Search(space)
    loose = Goal(metric_floor=-1e300, latency_limit_ms=1e300, memory_limit_bytes=1e300)
    assert search.best(loose).worth == search.best(Goal()).worth
    assert search.best(Goal(latency_limit_ms=1e-300)) is None
    assert search.best(Goal(metric_floor=1e300)) is None


@pytest.mark.parametrize("method", [*METHODS, Runtime3C])
@given(data=st.data())
@tried(30)
def test_new_latencies_in_a_search_are_as_those_of_a_new_one(method, data):
    space = data.draw(spaces(unknown_share=data.draw(st.sampled_from([0.0, 0.2]))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    segments = tuple(
        dataclasses.replace(
            part,
            latency_ms=part.latency_ms * rng.uniform(0.5, 2, len(part.names)),
            cold_latency_ms=part.cold_latency_ms * rng.uniform(0.5, 2, len(part.names)),
        )
        for part in space.segments
    )
    crossing_ms = tuple(0.7 * table for table in space.crossing_ms)
    moved = dataclasses.replace(
        space, segments=segments, crossing_ms=crossing_ms, latency_offset_ms=0.9
    )
    before, anew = Search(space, method), Search(moved, method)
    renewed, goal = before.renewed(moved), data.draw(goals(moved))
    found, expected = renewed.best(goal), anew.best(goal)
    assert (found is None) == (expected is None)
    if found is not None:
        there = anew.found(found.cells, goal)
        assert there.latency_ms == pytest.approx(found.latency_ms, nan_ok=True)
        assert there.worth == pytest.approx(found.worth, abs=1e-9)
        assert found.worth + found.gap >= expected.worth - 1e-9
    for quantity in QUANTITIES:
        one, other = renewed.least(quantity, goal), anew.least(quantity, goal)
        assert (one is None) == (other is None)
    again, first = before.best(goal), Search(space, method).best(goal)
    assert (again and again.cells) == (first and first.cells)

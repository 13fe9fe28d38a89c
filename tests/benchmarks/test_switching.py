"""The switching benchmark: its spaces, its true optimum, and the search against that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exact_optimum import optimum
from switching_search import NEAR_RATIO, Context, breaks, lacks, overshoots
from switching_spaces import seeded_goals, seeded_space

from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.search import Search

from ..support.combinations import every, meets

QUANTITIES = frozenset({"metric", "latency", "energy", "memory"})


def test_the_same_seed_makes_the_same_space_and_goals():
    first, second = seeded_space(3, 4, 5), seeded_space(3, 4, 5)
    np.testing.assert_array_equal(first.crossing_ms[2], second.crossing_ms[2])
    np.testing.assert_array_equal(first.segments[3].metric, second.segments[3].metric)
    assert list(seeded_goals(first, 1, 5)) == list(seeded_goals(second, 1, 5))


@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_is_that_of_trying_everything(seed):
    space = seeded_space(seed, 3, 4)
    for goal in seeded_goals(space, seed, 8):
        worths = [
            goal.metric_worth * of["metric"]
            - goal.mj_worth * of["energy"]
            - goal.ms_worth * goal.stretch * of["latency"]
            for of in every(space, goal.cold).values()
            if meets(space, goal, of, QUANTITIES)
        ]
        found = optimum(space, goal)
        assert (found is None) == (not worths)
        if worths:
            assert found == pytest.approx(max(worths), rel=1e-5)


@pytest.mark.slow
def test_the_search_comes_near_the_optimum_of_large_spaces_and_breaks_no_limit():
    near = []
    for seed in range(4):
        space = seeded_space(seed, 20, 8)
        search = Search(space)
        for goal in seeded_goals(space, seed + 7, 6):
            context = Context(space, goal, optimum(space, goal))
            found = search.best(goal)
            assert (found is None) == (context.best is None)
            if found is not None:
                assert not breaks(context, found)
                assert not overshoots(context, found)
                near.append(max(lacks(context, found)) <= NEAR_RATIO)
    assert len(near) > 10
    assert all(near)


def test_a_broken_limit_and_a_broken_bound_are_noticed():
    space = seeded_space(1, 3, 4)
    goal = next(g for g in seeded_goals(space, 2, 20) if g.latency_limit_ms is not None)
    search = Search(space)
    slow = search.found((0, 0, 0), goal)
    limit = 0.99 * slow.latency_ms
    tight = Goal(latency_limit_ms=limit, cold=goal.cold, stretch=goal.stretch)
    assert breaks(Context(space, tight, 0.0), slow)
    assert not breaks(Context(space, Goal(cold=goal.cold), 0.0), slow)
    proven = search.found(slow.cells, goal, gap=0.0)
    assert overshoots(Context(space, goal, slow.worth + 0.1), proven)
    assert not overshoots(Context(space, goal, slow.worth), proven)
    assert not math.isnan(slow.worth)

"""AdaSpring's own search, and objectives that are no sum."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.runtime3c import Runtime3C
from adaspring.library.evolve.search import Search

from ...support.combinations import every, goals, meets, random_space, spaces


def per_energy(metric, latency_ms, energy_mj, memory_bytes):
    """A trade-off that is no sum."""
    return metric + 10.0 / (1.0 + energy_mj) - latency_ms * memory_bytes / 500.0


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_it_finds_keeps_the_limits_and_is_no_better_than_the_best(data):
    space = data.draw(spaces())
    goal = data.draw(goals(space))
    search, exact = Search(space, Runtime3C), Search(space)
    found = search.best(goal)
    if found is not None:
        assert meets(space, goal, every(space, goal.cold)[found.cells], search.known)
        assert found.worth <= exact.best(goal).worth + 1e-9


def test_it_finds_most_of_what_is_to_be_had():
    lacking = []
    for seed in range(30):
        space = random_space(seed, [4, 3, 4, 3, 4], whole=False, unknown_share=0.0)
        exact = Search(space)
        goal = Goal(latency_limit_ms=exact.least("latency", Goal()).latency_ms * 1.3)
        best, most, worst = exact.best(goal), exact.best(Goal()), exact.least("latency", Goal())
        found = Search(space, Runtime3C).best(goal) or worst
        lacking.append((best.worth - found.worth) / (most.worth - worst.worth))
    assert np.median(lacking) < 0.1


@pytest.mark.parametrize("seed", range(6))
def test_any_objective_finds_its_best_in_a_small_space(seed):
    space = random_space(seed, [4, 3, 4, 2], whole=False, unknown_share=0.0)
    goal = Goal(energy_limit_mj=14.0, stretch=1.5)
    search = Search(space)
    worths = {
        cells: per_energy(of["metric"], of["latency"] * 1.5, of["energy"], of["memory"])
        for cells, of in every(space, cold=False).items()
        if meets(space, goal, of, search.known)
    }
    found = search.best_by(per_energy, goal)
    assert found.cells == max(worths, key=worths.get)
    assert found.worth == pytest.approx(worths[found.cells])
    assert found.gap == 0


def test_any_objective_goes_with_a_large_space():
    space = random_space(3, [8] * 12, whole=False, unknown_share=0.0)
    search = Search(space)
    limit = search.least("latency", Goal()).latency_ms * 1.4
    found = search.best_by(per_energy, Goal(latency_limit_ms=limit))
    assert found.latency_ms <= limit
    assert found.gap == np.inf
    again = search.best_by(per_energy, Goal(latency_limit_ms=limit), start=found.cells)
    assert again.worth >= found.worth


def test_where_an_objective_is_nan_it_is_taken_last():
    space = random_space(5, [3, 3], whole=False, unknown_share=0.0)
    space = dataclasses.replace(space, least_metric=-np.inf)
    least = Search(space).least("energy", Goal())

    def only_little_energy(metric, latency_ms, energy_mj, memory_bytes):
        return np.where(energy_mj <= least.energy_mj + 1e-9, -1e9, np.nan)

    assert Search(space).best_by(only_little_energy, Goal()).cells == least.cells

"""Whole variants: a space of one segment."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest

from adaspring.errors import UsageError
from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.search import Search
from adaspring.library.evolve.space import Segment, Space

UNKNOWN = math.nan


def variants(**figures) -> Space:
    """Three variants; a figure that is not given is unknown."""
    names = ("dense", "int8", "small")
    rows = {
        name: np.array(figures.get(name, (UNKNOWN,) * 3), dtype=np.float64)
        for name in (
            "metric",
            "latency_ms",
            "cold_latency_ms",
            "energy_mj",
            "weights_bytes",
            "activations_bytes",
        )
    }
    return Space(segments=(Segment(names=names, **rows),))


SPACE = variants(
    metric=(0.98, 0.96, 0.90),
    latency_ms=(10, 4, 2),
    cold_latency_ms=(12, UNKNOWN, 1),
    energy_mj=(50, 20, 8),
    weights_bytes=(8000, 5000, 4000),
    activations_bytes=(1000, 1000, 500),
)


def chosen(space: Space = SPACE, **goal) -> str | None:
    found = Search(space).best(Goal(**goal))
    return None if found is None else space.name(found.cells)


@pytest.mark.parametrize(
    ("goal", "name"),
    [
        ({}, "dense"),
        ({"latency_limit_ms": 4}, "int8"),
        ({"latency_limit_ms": 3.9}, "small"),
        ({"latency_limit_ms": 6, "stretch": 1.6}, "small"),
        ({"latency_limit_ms": 11, "cold": True}, "int8"),
        ({"latency_limit_ms": 1.5, "cold": True}, None),
        ({"energy_limit_mj": 20}, "int8"),
        ({"memory_limit_bytes": 5999}, "small"),
        ({"memory_limit_bytes": 6000}, "int8"),
        ({"metric_floor": 0.97, "latency_limit_ms": 4}, None),
        ({"mj_worth": 0.001}, "int8"),
        ({"ms_worth": 0.1}, "small"),
        ({"metric_worth": 0.0, "mj_worth": 1.0}, "small"),
    ],
)
def test_the_best_within_the_limits_is_found(goal, name):
    assert chosen(**goal) == name


def test_the_figures_found_are_those_of_the_variant_stretched():
    found = Search(SPACE).best(Goal(latency_limit_ms=8, stretch=2, mj_worth=0.001))
    assert found.cells == (1,)
    assert (found.metric, found.latency_ms, found.energy_mj) == (0.96, 8, 20)
    assert found.memory_bytes == 6000
    assert found.worth == pytest.approx(0.94)
    assert found.gap == 0


def test_an_unknown_figure_does_not_meet_a_limit():
    space = variants(metric=(0.9, 0.8, 0.7), latency_ms=(UNKNOWN, 4, 2), energy_mj=(1, UNKNOWN, 1))
    assert chosen(space) == "dense"
    assert chosen(space, latency_limit_ms=5) == "int8"
    assert chosen(space, latency_limit_ms=5, energy_limit_mj=9) == "small"


def test_an_infinite_figure_is_an_unknown_one():
    worst = (math.inf, 1, 2)
    space = variants(
        metric=(-math.inf, 0.8, 0.7),
        latency_ms=worst,
        energy_mj=worst,
        weights_bytes=(1, 1, 2),
        activations_bytes=worst,
    )
    found = Search(space).best(Goal())
    assert found.cells == (1,)
    assert math.isnan(Search(space).found((0,), Goal()).memory_bytes)
    assert chosen(space, memory_limit_bytes=1e9, latency_limit_ms=1e9) == "int8"


def test_an_unknown_metric_is_worse_than_any_and_never_meets_a_floor():
    space = variants(metric=(UNKNOWN, 0.1, 0.2), energy_mj=(1, 1e6, 1e6), latency_ms=(1, 5, 5))
    assert chosen(space, mj_worth=1.0) == "small"
    assert chosen(space, latency_limit_ms=1) == "dense"
    assert chosen(space, latency_limit_ms=1, metric_floor=-5) is None


def test_what_no_cell_knows_is_not_checked():
    space = variants(metric=(0.9, 0.8, 0.7))
    assert Search(space).known == {"metric"}
    assert chosen(space, latency_limit_ms=1, memory_limit_bytes=1, energy_limit_mj=1) == "dense"
    nothing = variants()
    assert Search(nothing).known == frozenset()
    assert chosen(nothing, metric_floor=1) == "dense"


def test_the_nearest_to_a_limit_is_found_within_the_others():
    search = Search(SPACE)
    goal = Goal(metric_floor=0.95, latency_limit_ms=1, energy_limit_mj=1000)
    assert search.best(goal) is None
    assert search.least("latency", goal).cells == (1,)
    assert search.least("metric", goal) is None
    assert search.least("metric", Goal(latency_limit_ms=4, metric_floor=0.99)).cells == (1,)
    assert search.least("energy", Goal(energy_limit_mj=1)).energy_mj == 8
    assert search.least("memory", Goal(memory_limit_bytes=1, metric_floor=0.97)).cells == (0,)


def test_what_may_not_run_is_never_found():
    space = dataclasses.replace(SPACE, least_metric=0.95, metric_bound=0.02)
    assert chosen(space, mj_worth=1.0) == "dense"
    assert chosen(space, latency_limit_ms=4) is None
    assert Search(space).least("metric", Goal(latency_limit_ms=4)) is None
    assert Search(space).least("latency", Goal(latency_limit_ms=4)).cells == (0,)


def test_the_nearest_is_one_whose_figure_is_known():
    space = variants(metric=(1, 1, 1), latency_ms=(UNKNOWN, 3, 4))
    assert Search(space).least("latency", Goal()).cells == (1,)


def test_a_limit_that_is_a_figure_found_is_met():
    search = Search(SPACE)
    goal = Goal(latency_limit_ms=0.1, stretch=1.1)
    nearest = search.least("latency", goal)
    again = Goal(latency_limit_ms=nearest.latency_ms, stretch=1.1)
    assert search.best(again).cells == nearest.cells


def test_what_runs_now_is_kept_where_nothing_is_better():
    space = variants(metric=(0.5, 0.9, 0.9))
    search = Search(space)
    assert search.best(Goal()).cells == (1,)
    assert search.best(Goal(), start=(2,)).cells == (2,)
    assert search.best(Goal(), start=(0,)).cells == (1,)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({"latency_limit_ms": UNKNOWN}, "latency_limit_ms is nan; give a finite number"),
        ({"metric_floor": math.inf}, "metric_floor is inf; give a finite number"),
        ({"mj_worth": -1}, "mj_worth is -1; give at least 0"),
        ({"stretch": 0}, "stretch is 0; give more than 0, 1 for none"),
    ],
)
def test_a_goal_of_nonsense_is_refused(goal, message):
    with pytest.raises(UsageError, match=message):
        Goal(**goal)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.best(Goal(), start=(0, 0)), "(0, 0) is no combination of this space"),
        (lambda s: s.best(Goal(), start=(3,)), "give one cell a segment, counted from 0"),
        (lambda s: s.found((-1,), Goal()), "(-1,) is no combination of this space"),
        (lambda s: s.least("speed", Goal()), "no quantity is called speed; there are metric,"),
    ],
)
def test_what_cannot_be_asked_is_refused(call, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        call(Search(SPACE))


def test_a_space_that_does_not_fit_together_is_refused():
    with pytest.raises(UsageError, match=r"energy_mj is of shape \(2,\); give one figure"):
        variants(energy_mj=(1, 2))
    with pytest.raises(UsageError, match="a space has no segments"):
        Space(segments=())
    with pytest.raises(UsageError, match=r"crossing_ms is of shapes \[\(3, 2\)\]"):
        Space(segments=SPACE.segments * 2, crossing_ms=(np.zeros((3, 2)),))

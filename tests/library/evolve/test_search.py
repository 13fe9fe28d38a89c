"""The search against trying everything."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaspring.library.evolve.decomposed import Decomposed
from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.search import Search
from adaspring.library.evolve.space import Space

from ...support.combinations import every, goals, meets, spaces

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def worth(goal: Goal, figures: dict[str, float], known: frozenset[str]) -> float:
    weights = {
        "metric": goal.metric_worth,
        "latency": -goal.ms_worth * goal.stretch,
        "energy": -goal.mj_worth,
    }
    return math.fsum(weight * figures[name] for name, weight in weights.items() if name in known)


def check(space: Space, goal: Goal, method) -> None:
    search = Search(space, *method)
    known = search.known
    fits = {
        cells: worth(goal, figures, known)
        for cells, figures in every(space, goal.cold).items()
        if meets(space, goal, figures, known)
    }
    found = search.best(goal)
    assert (found is None) == (not fits)
    if found is not None:
        assert found.cells in fits
        assert found.worth == pytest.approx(fits[found.cells], abs=1e-9)
        assert found.worth + found.gap >= max(fits.values()) - 1e-9
        assert found.worth >= max(fits.values()) - 0.02


@pytest.mark.parametrize("method", [(), (Decomposed,)], ids=["exact", "decomposed"])
@given(data=st.data())
@QUIET
def test_it_finds_what_trying_everything_finds(method, data):
    space = data.draw(spaces())
    check(space, data.draw(goals(space)), method)

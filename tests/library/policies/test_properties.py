"""Whatever the variants and the context: what every decision keeps to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from adaspring.library.context import Context
from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.search import Search
from adaspring.library.evolve.space import Space
from adaspring.library.evolve.spaces import Spaces
from adaspring.library.policies import Balanced, Budget, Deadline, LambdaRule
from adaspring.library.policies.listing import Listing

from ...support.variants import THREE, cells, segment, spaces, variant

POLICIES = st.sampled_from((Balanced(), Balanced(energy_worth=0.5), Deadline(), LambdaRule()))
# few values, so that equals and dominated variants are common
METRICS = st.sampled_from((0.90, 0.95, 0.96, 0.97, 0.975, 0.98))
COSTS = st.sampled_from((1.0, 2.0, 2.1, 4.0, 5.0, 9.0))
KNOWN = st.lists(st.tuples(METRICS, COSTS, COSTS, COSTS), min_size=1, max_size=7)
SOME = st.one_of(st.none(), COSTS)
UNKNOWN = st.lists(st.tuples(st.none() | METRICS, SOME, SOME, SOME), min_size=1, max_size=7)
BATTERIES = st.none() | st.floats(0, 1)
HUNDREDTHS = st.integers(0, 1200).map(lambda hundredths: hundredths / 100)
LIMITS = st.none() | HUNDREDTHS
PLENTY = settings(max_examples=150, deadline=None)


def made(figures, interval=None):
    return tuple(
        variant(str(i), *row, interval=None if row[0] is None else interval)
        for i, row in enumerate(figures)
    )


def context(battery=None, latency=None, memory=None, floor=None, load=None):
    return Context(
        battery_ratio=battery,
        latency_budget_ms=latency,
        memory_budget_bytes=memory,
        metric_floor=floor,
        load_ratio=load,
    )


CONTEXTS = st.builds(
    context,
    BATTERIES,
    LIMITS,
    LIMITS,
    st.none() | METRICS,
    st.none() | st.sampled_from((0, 0.1, 0.5, 1.2, 2)),
)


def row_of(figures, decision):
    return figures[int(decision.variant)]


def meets(row, seen: Context) -> bool:
    metric, latency, memory, _ = row
    rounding = 1 + 1e-9
    latency *= 1 + (seen.load_ratio or 0)
    budget, room = seen.latency_budget_ms, seen.memory_budget_bytes
    return (
        (seen.metric_floor is None or metric >= seen.metric_floor)
        and (budget is None or latency <= budget * rounding)
        and (room is None or memory <= room * rounding)
    )


def dominates(one, other) -> bool:
    """At least as good in everything and better in something."""
    gains = [one[0] - other[0], *(b - a for a, b in zip(one[1:], other[1:], strict=True))]
    return min(gains) >= 0 and max(gains) > 0


@PLENTY
@given(KNOWN, CONTEXTS, st.sampled_from((Balanced(), Deadline())), st.none() | st.just((0.9, 1.0)))
def test_nothing_dominates_the_choice(figures, seen, policy, interval):
    chosen = row_of(figures, policy.prepare(spaces(made(figures, interval)))(seen))
    assert not any(dominates(row, chosen) for row in figures)


@PLENTY
@given(KNOWN, CONTEXTS, POLICIES)
def test_no_constraint_that_can_be_met_is_broken(figures, seen, policy):
    decision = policy.prepare(spaces(made(figures)))(seen)
    if any(meets(row, seen) for row in figures):
        assert meets(row_of(figures, decision), seen)
        assert decision.relaxed == decision.missed == ()
    else:
        assert decision.relaxed


@PLENTY
@given(KNOWN, CONTEXTS, POLICIES, st.integers(0, 6))
def test_what_runs_stays_only_where_it_breaks_nothing_that_others_meet_with_room(
    figures, seen, policy, current
):
    assume(current < len(figures))
    room = replace(
        seen,
        latency_budget_ms=None if seen.latency_budget_ms is None else 0.9 * seen.latency_budget_ms,
        memory_budget_bytes=(
            None if seen.memory_budget_bytes is None else 0.9 * seen.memory_budget_bytes
        ),
    )
    decision = policy.prepare(spaces(made(figures)))(seen, str(current))
    if any(meets(row, room) for row in figures):
        assert meets(row_of(figures, decision), seen)


@PLENTY
@given(UNKNOWN, CONTEXTS, POLICIES, st.none() | st.integers(0, 6))
def test_a_decision_is_the_same_each_time_and_says_what_it_breaks(figures, seen, policy, current):
    current = None if current is None else str(current)
    offer = spaces(made(figures))
    decision = policy.prepare(offer)(seen, current)
    assert policy.prepare(offer)(seen, current) == decision
    assert tuple(miss.constraint for miss in decision.missed) == decision.relaxed
    assert not set(decision.relaxed) & set(decision.unchecked)
    for miss in decision.missed:
        assert miss.amount is None or miss.amount > 0
        assert miss.constraint in decision.reason
    metric, latency, memory, energy = row_of(figures, decision)
    stretched = None if latency is None else latency * (1 + (seen.load_ratio or 0))
    found = decision.predicted
    assert (found.metric, found.memory_bytes, found.energy_mj) == (metric, memory, energy)
    assert found.latency_ms == stretched


@PLENTY
@given(
    KNOWN,
    CONTEXTS,
    st.sampled_from((Balanced(), Balanced(energy_worth=0.5), LambdaRule())),
    st.none() | st.just((0.9, 1.0)),
)
def test_less_battery_never_raises_the_energy(figures, seen, policy, interval):
    decide = policy.prepare(spaces(made(figures, interval)))
    batteries = (None, 1.0, 0.9, 0.7, 0.5, 0.31, 0.29, 0.1, 0.0)
    taken = [
        row_of(figures, decide(replace(seen, battery_ratio=battery)))[3] for battery in batteries
    ]
    assert taken == sorted(taken, reverse=True)


@PLENTY
@given(UNKNOWN, BATTERIES, st.sampled_from((Balanced(), Deadline(), Balanced(energy_worth=1))))
def test_an_unknown_metric_beats_no_known_one(figures, battery, policy):
    assume(any(row[0] is not None for row in figures))
    decision = policy.prepare(spaces(made(figures)))(Context(battery_ratio=battery))
    assert row_of(figures, decision)[0] is not None


@PLENTY
@given(KNOWN, st.sampled_from((Balanced(), Balanced(energy_worth=1), Deadline())), st.booleans())
def test_on_mains_nothing_a_point_worse_wins(figures, policy, certain):
    interval = None if certain else (0.8, 1.0)
    for current in (None, *map(str, range(len(figures)))):
        decision = policy.prepare(spaces(made(figures, interval)))(Context(), current)
        best = max(row[0] for row in figures)
        assert row_of(figures, decision)[0] > best - (1e-12 if certain else 0.01)


@PLENTY
@given(KNOWN, st.floats(0, 1e6), st.floats(1, 1e5), st.floats(0.1, 100))
def test_energy_lasts_wherever_it_can(figures, left_mj, seconds, pace):
    seen = Context(energy_left_mj=left_mj, time_left_s=seconds, calls_per_s=pace)
    decision = Budget().prepare(spaces(made(figures)))(seen)
    calls = seconds * pace
    lasting = [row[3] * calls <= left_mj for row in figures]
    assert (decision.relaxed == ()) == any(lasting) or math.isclose(
        min(row[3] for row in figures) * calls, left_mj, rel_tol=1e-6
    )


# Whole variants and combinations side by side


def offer_of(rng: np.random.Generator) -> Spaces:
    whole = spaces(THREE)
    return replace(whole, each=(*whole.each, cells(rng)))


def plain_best(offer: Spaces, price: float, budget: float) -> float:
    """The most utility in time of all combinations of all spaces, by looking at each."""
    best = -math.inf
    for space in offer.each:
        for index in np.ndindex(*(len(part.names) for part in space.segments)):
            chosen = list(zip(space.segments, index, strict=True))
            figures = [
                sum(float(getattr(part, name)[cell]) for part, cell in chosen)
                for name in ("metric", "energy_mj", "latency_ms")
            ]
            if figures[2] <= budget:
                best = max(best, figures[0] + space.metric_base - price * figures[1])
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("battery", [0.0, 0.4, 0.8])
def test_the_best_of_all_spaces_is_taken(seed, battery):
    offer = offer_of(np.random.default_rng(seed))
    decide = Balanced(energy_worth=0.05).prepare(offer)
    for budget in (3.0, 5.0, 20.0):
        decision = decide(Context(battery_ratio=battery, latency_budget_ms=budget))
        price = 0.05 * (1 - battery) / 50
        found = decision.predicted
        assert found.metric - price * found.energy_mj == pytest.approx(
            plain_best(offer, price, budget), abs=1e-9
        )
        assert found.latency_ms <= budget


def test_a_combination_is_named_by_its_cells_and_known_again_by_that():
    (whole, pieces) = (offer := offer_of(np.random.default_rng(0))).each
    better = replace(offer, each=(whole, replace(pieces, metric_base=0.99)))
    decide = Balanced().prepare(better)
    decision = decide(Context(latency_budget_ms=6, battery_ratio=0.5))
    assert decision.variant.count("/") == 2
    again = decide(Context(latency_budget_ms=6.1, battery_ratio=0.5), decision.variant)
    assert again.variant == decision.variant


@pytest.mark.parametrize("policy", [Balanced(), Deadline(), LambdaRule()], ids=repr)
def test_a_space_that_lacks_figures_of_the_others_is_left_out(policy):
    whole = spaces(THREE)
    blind = Space(segments=(segment(("x", "y"), latency_ms=(0.1, 0.2)),) * 2)
    for seen in (Context(), Context(battery_ratio=0.1), Context(latency_budget_ms=1)):
        decision = policy.prepare(replace(whole, each=(*whole.each, blind)))(seen)
        assert decision.variant == policy.prepare(whole)(seen).variant


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(UNKNOWN, LIMITS, LIMITS, LIMITS, st.none() | METRICS, st.booleans(), st.data())
def test_plain_loops_find_what_the_search_finds(
    figures, latency, memory, energy, floor, cold, data
):
    (space,) = spaces(made(figures)).each
    space = replace(space, metric_base=0.01, metric_bound=0.005, latency_scale=1.1)
    goal = Goal(
        mj_worth=data.draw(st.sampled_from((0.0, 0.001, 0.1))),
        ms_worth=data.draw(st.sampled_from((0.0, 0.001))),
        metric_floor=floor,
        latency_limit_ms=latency,
        memory_limit_bytes=memory,
        energy_limit_mj=energy,
        cold=cold,
        stretch=1.5,
    )
    loops, search = Listing(space), Search(space)
    assert loops.known == search.known
    found, expected = loops.best(goal), search.best(goal)
    assert (found is None) == (expected is None)
    if found is not None:
        assert search.found(found.cells, goal).worth == pytest.approx(expected.worth, rel=1e-9)
        same = search.found(found.cells, goal)
        for name in ("metric", "latency_ms", "energy_mj", "memory_bytes"):
            assert getattr(found, name) == pytest.approx(getattr(same, name), nan_ok=True)
    for quantity in ("metric", "latency", "energy", "memory"):
        near, nearest = loops.least(quantity, goal), search.least(quantity, goal)
        assert (near is None) == (nearest is None)
        if near is not None:
            name = {"latency": "latency_ms", "energy": "energy_mj", "memory": "memory_bytes"}.get(
                quantity, quantity
            )
            assert getattr(near, name) == pytest.approx(getattr(nearest, name), nan_ok=True)

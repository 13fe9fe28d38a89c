"""Variants are ranked by their medians; the tail that calls have is the machine's."""

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adaspring.library.context import Context
from adaspring.library.evolve.spaces import spaces_of
from adaspring.library.evolve.tails import even_tails
from adaspring.library.live.recorded import recorded_costs
from adaspring.library.policies import Balanced

from ...support.libraries import figure
from ...support.variants import manifest, variant

MS = st.floats(1e-3, 1e3)


def timed(name, metric, p50, p90, cold_p90=None):
    """A variant of which the median is known, too."""
    made = variant(name, metric, p90, 1000, 10, cold=cold_p90)
    changed = {"latency_p50_ms": figure(p50)}
    if cold_p90 is not None:
        changed["cold_latency_p50_ms"] = figure(p50)
    return msgspec.structs.replace(made, cost=msgspec.structs.replace(made.cost, **changed))


NOISY = manifest(
    [
        timed("best", 0.99, 2.0, 2.2, 2.4),
        timed("good", 0.98, 1.0, 1.05, 1.2),
        timed("small", 0.95, 0.8, 1.06, 0.96),  # a slow moment hit a tenth of its calls
    ]
)


def test_a_tail_by_chance_does_not_rank_what_is_faster_behind():
    (whole,) = spaces_of(NOISY).each
    np.testing.assert_allclose(whole.segments[0].latency_ms, [2.2, 1.1, 0.88])
    np.testing.assert_allclose(whole.segments[0].cold_latency_ms, [2.4, 1.2, 0.96])
    decide = Balanced().prepare(spaces_of(NOISY))
    assert decide(Context(latency_budget_ms=0.9)).variant == "small"


def test_calls_are_held_against_the_same_figures():
    known = recorded_costs(NOISY)
    (whole,) = spaces_of(NOISY).each
    for cold, column in ((False, "latency_ms"), (True, "cold_latency_ms")):
        for name, p90 in zip(known, getattr(whole.segments[0], column), strict=True):
            assert known[name].at(cold)[1] == p90


@given(st.lists(st.tuples(MS, st.floats(1, 5)), min_size=1, max_size=9))
def test_the_ranking_is_that_of_medians_and_the_tail_one_that_was_seen(figures):
    p50, ratios = np.array(figures).T
    found = even_tails(p50, p50 * ratios)
    np.testing.assert_allclose(found / p50, np.median(ratios), rtol=1e-9)


def test_what_has_no_median_keeps_what_it_has():
    p50, p90 = np.array([np.nan, 1.0, 2.0]), np.array([3.0, 1.5, np.nan])
    np.testing.assert_array_equal(even_tails(p50, p90), [3.0, 1.5, np.nan])
    nothing = np.full(2, np.nan)
    np.testing.assert_array_equal(even_tails(nothing, nothing), nothing)
    np.testing.assert_array_equal(even_tails(np.ones(1), np.full(1, 0.5)), [1.0])

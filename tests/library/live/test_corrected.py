"""Spaces with the latencies of here and now."""

from __future__ import annotations

import numpy as np

from adaspring.library.evolve.space import Segment, Space
from adaspring.library.live.corrected import corrected
from adaspring.library.live.live import Factors


def segment(*names: str) -> Segment:
    figures = np.arange(1.0, len(names) + 1)
    return Segment(
        names=names,
        metric=figures,
        latency_ms=figures.copy(),
        cold_latency_ms=np.array([np.nan, *(2 * figures[1:])]),
        energy_mj=figures,
        weights_bytes=figures,
        activations_bytes=figures,
    )


def factors(common_ratio: float = 1.0, **own_ratios: float) -> Factors:
    return Factors(common_ratio=common_ratio, own_ratios=own_ratios)


def test_latencies_alone_are_multiplied_each_variant_s_by_its_own_ratio():
    (before,) = (segment("dense", "small", "new"),)
    found = corrected(
        Space(segments=(before,)), factors(dense=1.5, small=2.0), factors(1.0, small=4.0)
    )
    (after,) = found.segments
    np.testing.assert_array_equal(after.latency_ms, [1.5, 4.0, 3.0])
    np.testing.assert_array_equal(after.cold_latency_ms, [np.nan, 16.0, 6.0])
    for name in ("names", "metric", "energy_mj", "weights_bytes", "activations_bytes"):
        assert getattr(after, name) is getattr(before, name)


def test_cells_are_corrected_by_segment():
    space = Space(segments=(segment("dense", "small"), segment("dense", "small")))
    hot = Factors(common_ratio=1.0, own_ratios={"0/dense": 1.5, "1/small": 3.0, "dense": 99.0})
    first, second = corrected(space, hot, factors()).segments
    np.testing.assert_array_equal(first.latency_ms, [1.5, 2.0])
    np.testing.assert_array_equal(second.latency_ms, [1.0, 6.0])


def test_another_shape_of_the_library_is_corrected_by_its_own_calls():
    hot = Factors(common_ratio=1.0, own_ratios={"dense": 99.0, "dense@2": 1.5})
    (after,) = corrected(Space(segments=(segment("dense"),)), hot, factors(), 2).segments
    np.testing.assert_array_equal(after.latency_ms, [1.5])


def test_what_all_take_longer_is_a_context_s_load_and_what_all_take_less_is_in_the_space():
    space = Space(
        segments=(segment("a", "b"), segment("c")),
        crossing_ms=(np.array([[1.0], [2.0]]),),
        latency_offset_ms=4.0,
        latency_scale=1.1,
    )
    slower = corrected(space, factors(1.7), factors(1.7))
    np.testing.assert_array_equal(slower.segments[0].latency_ms, [1.0, 2.0])
    faster = corrected(space, factors(0.5), factors(0.25))
    np.testing.assert_array_equal(faster.segments[0].latency_ms, [0.5, 1.0])
    np.testing.assert_array_equal(faster.segments[0].cold_latency_ms, [np.nan, 1.0])
    np.testing.assert_array_equal(faster.crossing_ms[0], [[0.5], [1.0]])
    assert (faster.latency_offset_ms, faster.latency_scale) == (2.0, 1.1)


def test_the_space_that_is_given_stays_as_it_is():
    space = Space(segments=(segment("a", "b"),))
    corrected(space, factors(0.5, a=2.0, b=2.0), factors())
    np.testing.assert_array_equal(space.segments[0].latency_ms, [1.0, 2.0])

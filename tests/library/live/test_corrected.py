"""Spaces with the latencies of here and now."""

from __future__ import annotations

import numpy as np

from adaspring.library.evolve.space import Segment, Space
from adaspring.library.live.corrected import corrected


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


def test_latencies_alone_are_multiplied_each_cell_s_by_its_own_ratio():
    space = Space(segments=(segment("dense", "small"), segment("dense", "tiny", "other")))
    hot = ({"dense": 1.5, "small": 2.0}, {"tiny": 3.0})
    cold = ({"small": 4.0}, {})
    found = corrected(space, hot, cold)
    first, second = found.segments
    np.testing.assert_array_equal(first.latency_ms, [1.5, 4.0])
    np.testing.assert_array_equal(first.cold_latency_ms, [np.nan, 16.0])
    np.testing.assert_array_equal(second.latency_ms, [1.0, 6.0, 3.0])
    np.testing.assert_array_equal(second.cold_latency_ms, [np.nan, 4.0, 6.0])
    for before, after in zip(space.segments, found.segments, strict=True):
        for name in ("names", "metric", "energy_mj", "weights_bytes", "activations_bytes"):
            assert getattr(after, name) is getattr(before, name)


def test_the_space_that_is_given_stays_as_it_is():
    space = Space(segments=(segment("a", "b"),))
    corrected(space, ({"a": 2.0, "b": 2.0},), ({},))
    np.testing.assert_array_equal(space.segments[0].latency_ms, [1.0, 2.0])

"""Whole variants as a space: figures from the manifest, turned so that more is better."""

from __future__ import annotations

import numpy as np
import pytest

from adaspring.library import writer
from adaspring.library.evolve.spaces import spaces_of

from ...support.libraries import parts
from ...support.variants import THREE, by_metric, spaces, variant


def flat(variants):
    (space,) = spaces(variants).each
    (segment,) = space.segments
    return segment


def test_figures_are_those_of_the_manifest_and_unknown_ones_are_nan():
    segment = flat((*THREE, variant("bare"), variant("paced", 0.9, 4, cold=9)))
    assert segment.names == ("best", "middle", "small", "bare", "paced")
    nan = np.nan
    for name, column in (
        ("metric", (0.98, 0.96, 0.90, nan, 0.9)),
        ("latency_ms", (10, 4, 2, nan, 4)),
        ("cold_latency_ms", (nan, nan, nan, nan, 9)),
        ("energy_mj", (50, 20, 8, nan, nan)),
        ("weights_bytes", (9000, 6000, 5000, nan, nan)),
    ):
        np.testing.assert_array_equal(getattr(segment, name), column)


def test_of_an_error_less_becomes_more():
    made = tuple(by_metric(one, 2.0, name="mse", direction="lower", unit="") for one in THREE)
    offer = spaces(made)
    np.testing.assert_array_equal(offer.each[0].segments[0].metric, (-2.0,) * 3)
    assert (offer.metric, offer.unit, offer.metric_sign) == ("mse", "", -1.0)
    assert (offer.plainest_metric, offer.metric_scale) == (-2.0, 2.0)


def test_a_space_knows_the_plainest_and_what_shares_are_of():
    offer = spaces(THREE)
    assert (offer.plainest, offer.plainest_metric) == ("best", 0.98)
    assert (offer.metric_scale, offer.energy_scale_mj) == (1.0, 50.0)
    without = spaces((variant("plain", 0.9), variant("other", 0.9, 1, 1, 30)))
    assert without.energy_scale_mj == 30.0
    assert spaces((variant("plain"),)).energy_scale_mj == 0.0


@pytest.mark.parametrize(
    ("interval", "noise"),
    [
        (None, 0.0),
        ((0.978, 0.982), 0.004 / 3.92),  # one standard error
        ((0.5, 1.0), 0.005),  # half a point at most
        ((0.98, 0.98), 0.0),
    ],
)
def test_the_noise_of_a_share_is_its_standard_error_half_a_point_at_most(interval, noise):
    made = (variant("plain", 0.98, interval=interval), THREE[1])
    assert spaces(made).metric_noise == pytest.approx(noise)


def test_a_written_library_has_the_space_of_its_variants(tmp_path, code):
    manifest = writer.write_library(tmp_path / "a.lib", parts(code))
    offer = spaces_of(manifest, 0)
    assert offer.plainest == "dense"
    np.testing.assert_array_equal(offer.each[0].segments[0].latency_ms, (10, 4, 2))

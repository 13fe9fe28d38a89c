"""Each way to choose an activation's range does what it says, on good and on odd values."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from adaspring.errors import PassError
from adaspring.frontend.data import Dataset
from adaspring.passes.quantize.calibrators import (
    CALIBRATORS,
    affine,
    auto,
    entropy,
    minmax,
    mse,
    percentile,
)
from adaspring.passes.quantize.static import Quantize

from ...support.networks import SmallCnn, TinyEncoder
from ...support.passes import Small, data, error_ratio, imported, known


def heavy_tailed(seed=0):
    return np.random.default_rng(seed).laplace(size=(16, 1000))


def reals(values, span):
    levels = np.clip(np.rint(values / span.scale) + span.zero_point, 0, 255)
    return (levels - span.zero_point) * span.scale


def squared_error(values, low, high):
    scale, zero_point = affine(low, high)
    levels = np.clip(np.rint(values / scale) + zero_point, 0, 255)
    return float(np.mean(np.square((levels - zero_point) * scale - values)))


@pytest.mark.parametrize("name", CALIBRATORS)
@settings(max_examples=15, deadline=None)
@given(values=arrays.arrays(np.float64, (3, 40), elements=st.floats(-1e3, 1e3, width=32)))
def test_zero_is_exact_and_the_figures_are_those_of_the_rounding(name, values):
    span = CALIBRATORS[name](values)
    assert span.scale > 0
    assert 0 <= span.zero_point <= 255
    assert reals(np.zeros(1), span) == 0.0
    error = np.square(reals(values, span) - values).mean(axis=1)
    power = np.square(values).mean(axis=1)
    wanted = np.mean(error / np.where(power > 0, power, 1.0))
    assert span.error_ratio == pytest.approx(wanted, rel=1e-9, abs=1e-30)
    assert 0 <= span.inside_ratio <= 1


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("value", [0.0, 3.5, -2.0])
def test_a_constant_is_exact(name, value):
    values = np.full((8, 50), value)
    np.testing.assert_allclose(reals(values, CALIBRATORS[name](values)), values, rtol=1e-6)


def test_minmax_clips_nothing():
    values = heavy_tailed()
    span = minmax(values)
    assert span.inside_ratio == 1.0
    assert span.scale == pytest.approx((values.max() - values.min()) / 255)


def test_percentile_drops_one_value_in_ten_thousand_on_each_side():
    values = np.arange(100_001, dtype=np.float64)[None] - 50_000
    span = percentile(values)
    assert span.scale == pytest.approx(99_980 / 255, rel=1e-6)
    assert span.inside_ratio == pytest.approx(1 - 2e-4, rel=1e-4)


def test_mse_finds_the_least_squared_error_of_all_shrunk_spans():
    values = np.random.default_rng(0).standard_t(3, size=(16, 1000))
    low, high = values.min(), values.max()
    least = min(squared_error(values, low * f, high * f) for f in np.linspace(0.001, 1, 3000))
    given = float(np.mean(np.square(reals(values, mse(values)) - values)))
    assert given < 1.01 * least
    assert given < squared_error(values, low, high)


def divergence_by_loops(counts, bins, levels):
    """The slides' pseudo-code, bin by bin."""
    p = [float(c) for c in counts[:bins]]
    p[-1] += float(sum(counts[bins:]))
    q = [0.0] * bins
    for level in range(levels):
        merged = [i for i in range(bins) if i * levels // bins == level]
        filled = [i for i in merged if counts[i] > 0]
        for i in filled:
            q[i] = sum(float(counts[j]) for j in merged) / len(filled)
    total = 0.0
    for a, b in zip(np.array(p) / sum(p), np.array(q) / sum(q), strict=True):
        if a > 0:
            total += np.inf if b == 0 else a * np.log(a / b)
    return total


def test_entropy_clips_where_the_slides_pseudo_code_does():
    values = np.abs(heavy_tailed(seed=1))
    counts, edges = np.histogram(values, bins=2048, range=(0, values.max()))
    tried = [divergence_by_loops(counts, bins, 255) for bins in range(255, 2049, 69)]
    span = entropy(values)
    given = divergence_by_loops(counts, int(np.rint(255 * span.scale / edges[1])), 255)
    assert given <= min(tried)
    assert 0.99 < span.inside_ratio < 1


def test_zeros_do_not_move_the_entropy_range():
    values = np.abs(heavy_tailed(seed=2))
    with_zeros = np.concatenate([values, np.zeros((16, 5000))], axis=1)
    assert entropy(values).scale == entropy(with_zeros).scale


def test_one_outlier_in_one_run_moves_minmax_but_not_auto_or_percentile():
    values = np.random.default_rng(0).normal(size=(100, 500))
    calm = minmax(values).scale
    values[17, 5] = 1e4
    assert minmax(values).scale > 1000 * calm
    assert auto(values).scale < 2 * calm
    assert percentile(values).scale < 2 * calm


def test_an_unknown_calibration_lists_the_choices():
    with pytest.raises(PassError, match="no calibration named 'kl'; choose from auto, minmax, "):
        Quantize(calibration="kl")


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("network", [SmallCnn, TinyEncoder], ids=lambda n: n.__name__)
def test_every_calibration_keeps_a_network_near(name, network):
    model = known(network)
    quantize = Quantize(calibration=name)
    small = quantize.apply(model, quantize.plan(model, data(model, 32)))
    assert error_ratio(model, small, data(model, 16, seed=1)) < 0.1


def test_activations_that_overflow_are_refused_by_name():
    net = Small(lambda self, x: self.b(torch.exp(self.a(x))), a=nn.Linear(4, 4), b=nn.Linear(4, 2))
    model = imported(net, (1, 4))
    samples = Dataset(inputs=(np.full((4, 4), 1e30, np.float32),))
    with pytest.raises(PassError, match="becomes NaN or infinite on the calibration data"):
        Quantize().plan(model, samples)

"""GPTQ gives the published algorithm's levels, for any bit width and group size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaspring.errors import PassError
from adaspring.ir.stored_weights import Grid
from adaspring.passes.quantize.gptq import DAMPING_RATIO, gptq, output_error
from adaspring.passes.quantize.weight_grid import largest_scales, nearest, searched_scales


def drawn(groups, outputs, features, seed=0):
    """A weight, and the second moment of correlated inputs."""
    random = np.random.default_rng(seed)
    weight = random.normal(size=(groups, outputs, features))
    mix = random.normal(size=(groups, features, features))
    x = random.normal(size=(groups, 4 * features, features)) @ mix * 0.3
    x += random.normal(size=(groups, 4 * features, 1))
    return weight, np.einsum("gpf,gph->gfh", x, x) / x.shape[1]


def by_elimination(weight, scales, moment, grid):
    """Optimal brain quantization in a fixed order: invert what is left, at every step."""
    features = weight.shape[1]
    spread = grid.spread(scales.astype(np.float64), features)
    damped = moment + DAMPING_RATIO * np.trace(moment) / features * np.eye(features)
    left, levels = weight.copy(), np.zeros(weight.shape)
    order = list(np.argsort(-np.diag(moment), kind="stable"))
    while order:
        inverse = np.linalg.inv(damped[np.ix_(order, order)])
        now = order[0]
        levels[:, now] = np.clip(np.rint(left[:, now] / spread[:, now]), -grid.limit, grid.limit)
        error = (left[:, now] - levels[:, now] * spread[:, now]) / inverse[0, 0]
        left[:, order] -= error[:, None] * inverse[0]
        order = order[1:]
    return levels.astype(np.int8)


@pytest.mark.parametrize(("bits", "group_size"), [(8, None), (4, 4), (3, 5), (2, 1)])
def test_the_quantized_values_are_those_of_elimination_step_by_step(bits, group_size):
    grid, (weight, moment) = Grid(bits=bits, group_size=group_size), drawn(2, 3, 11)
    scales = largest_scales(weight, grid)
    given = gptq(weight, scales, moment, grid)
    for g in range(2):
        wanted = by_elimination(weight[g], scales[g], moment[g], grid)
        np.testing.assert_array_equal(given[g], wanted)


def test_blocks_change_nothing():
    grid, (weight, moment) = Grid(bits=4, group_size=32), drawn(1, 2, 150, seed=3)
    scales = largest_scales(weight, grid)
    wanted = by_elimination(weight[0], scales[0], moment[0], grid)
    assert np.mean(gptq(weight, scales, moment, grid)[0] == wanted) > 0.99


@settings(max_examples=30, deadline=None)
@given(
    bits=st.integers(3, 8),
    group_size=st.sampled_from([None, 8, 16]),
    features=st.integers(24, 48),
    seed=st.integers(0, 9),
)
def test_correlated_inputs_see_less_error_than_from_nearest(bits, group_size, features, seed):
    grid, (weight, moment) = Grid(bits=bits, group_size=group_size), drawn(1, 8, features, seed)
    scales = largest_scales(weight, grid)
    spread = grid.spread(scales, features)
    errors = [
        output_error(levels * spread - weight, moment)
        for levels in (gptq(weight, scales, moment, grid), nearest(weight, spread, grid))
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("moment", ["zero", "diagonal", "dead features"])
def test_where_nothing_correlates_it_is_rounding_to_nearest(moment):
    weight, _ = drawn(2, 5, 12)
    power = {"zero": np.zeros(12), "diagonal": np.arange(1.0, 13), "dead features": np.eye(12)[3]}
    grid, scales = Grid(), largest_scales(weight, Grid())
    given = gptq(weight, scales, np.stack([np.diag(power[moment])] * 2), grid)
    np.testing.assert_array_equal(given, nearest(weight, scales.astype(np.float64), grid))


@pytest.mark.parametrize(("outputs", "features"), [(1, 1), (1, 7), (4, 1)])
def test_one_output_or_one_feature_is_enough(outputs, features):
    weight, moment = drawn(1, outputs, features)
    levels = gptq(weight, largest_scales(weight, Grid()), moment, Grid())
    assert np.abs(levels).max() == 127


def test_constant_inputs_give_outputs_that_nearest_cannot():
    weight, _ = drawn(1, 4, 64)
    moment = np.ones((1, 64, 64))
    grid = Grid(bits=4)
    scales = largest_scales(weight, grid)
    given = output_error(gptq(weight, scales, moment, grid) * scales - weight, moment)
    assert given < 0.05 * output_error(nearest(weight, scales, grid) * scales - weight, moment)


def test_weights_all_zero_stay_zero():
    weight, moment = np.zeros((1, 3, 8)), drawn(1, 3, 8)[1]
    for scales in (
        largest_scales(weight, Grid()),
        searched_scales(weight, Grid(), np.ones((1, 8))),
    ):
        assert (scales > 0).all()
        assert not gptq(weight, scales, moment, Grid()).any()


def test_groups_share_a_scale_and_the_last_may_be_short():
    weight = np.arange(1.0, 11)[None, None]
    scales = largest_scales(weight, Grid(bits=4, group_size=4))
    np.testing.assert_allclose(scales[0, 0] * 7, [4, 8, 10], rtol=1e-6)
    spread = Grid(bits=4, group_size=4).spread(scales, 10)
    np.testing.assert_allclose(spread[0, 0] * 7, [4] * 4 + [8] * 4 + [10] * 2, rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(bits=st.integers(2, 8), group_size=st.sampled_from([None, 5, 16]), seed=st.integers(0, 99))
def test_searched_scales_are_never_worse_than_the_largest(bits, group_size, seed):
    random, grid = np.random.default_rng(seed), Grid(bits=bits, group_size=group_size)
    weight = random.standard_t(2, size=(2, 4, 40))
    power = random.uniform(0, 2, size=(2, 40))

    def errors(scales):
        spread = grid.spread(scales, 40)
        error = np.square(nearest(weight, spread, grid) * spread - weight) * power[:, None]
        return grid.grouped(error).sum(axis=-1)

    found = errors(searched_scales(weight, grid, power))
    whole = errors(largest_scales(weight, grid))
    assert (found <= whole * (1 + 1e-6) + 1e-12).all()


def test_four_bits_gain_from_the_search():
    random, grid = np.random.default_rng(0), Grid(bits=4)
    weight = random.standard_t(4, size=(1, 32, 256))
    power = np.ones((1, 256))
    found, whole = (
        np.square(nearest(weight, scales, grid) * scales - weight).sum()
        for scales in (searched_scales(weight, grid, power), largest_scales(weight, grid))
    )
    assert found < 0.75 * whole


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"bits": 1}, "weights of 1 bits; choose 2 to 8"),
        ({"bits": 9}, "weights of 9 bits; choose 2 to 8"),
        ({"group_size": 0}, "groups of 0 features; choose 1 or more"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(wrong, why):
    with pytest.raises(PassError, match=why):
        Grid(**wrong)

"""Winograd's filtering computes the convolution; it is chosen where it was measured faster."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tvm.s_tir import Schedule
from tvm.tirx import IterVar

from adaspring import targets
from adaspring.backends.build import prepare
from adaspring.backends.conv_algorithms import alternatives, fastest
from adaspring.backends.kernels import compute
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.kernels.winograd import pack_winograd, winograd_conv2d
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.search.transfer import fastest_known
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.frontend.from_torch.importer import from_torch

from ...support.backends import built_and_run
from ...support.boards import HOST, NULL
from ...support.float64 import convolved, normal
from ...support.kernels import FEW, run_kernel

BOARDS = {"host": HOST, "null": NULL}
TILES = (2, 4)
# F(4×4) multiplies by up to 8 and divides by 24: it is less exact than a direct sum.
TOLERANCE = {2: 1e-5, 4: 1e-4}
LANES = instruction_set(targets.host()).float_lanes


class Residual(torch.nn.Module):
    """Two convolutions that Winograd's filtering can do, and three that it cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(16, 32, 3, padding=1)
        self.second = torch.nn.Conv2d(32, 32, 3, padding=1)
        self.strided = torch.nn.Conv2d(32, 32, 3, 2, 1)
        self.dilated = torch.nn.Conv2d(32, 32, 3, dilation=2)
        self.narrow = torch.nn.Conv2d(32, 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(x + self.second(x))
        return self.narrow(torch.relu(self.dilated(torch.relu(self.strided(x)))))


def residual():
    torch.manual_seed(0)
    network, x = Residual().eval(), torch.randn(2, 16, 21, 18)
    model = from_torch(network, (x,), name="residual")
    with torch.no_grad():
        expected = network.double()(x.double()).numpy()
    return model, x.numpy(), expected


def assert_within(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@st.composite
def convolutions(draw):
    """(n, h, w), vectors of input and output channels, and padding."""
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    size = [draw(st.integers(max(1, 3 - padding[i] - padding[i + 2]), 11)) for i in (0, 1)]
    vectors = draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    return (draw(st.integers(1, 2)), *size), vectors, padding


@pytest.mark.parametrize("board", BOARDS)
@FEW
@given(convolutions(), st.sampled_from(TILES))
def test_any_padded_3x3_convolution_by_the_default_rule(board, drawn, tile):
    size, (into, out), padding = drawn
    isa = instruction_set(BOARDS[board])
    lanes = isa.float_lanes
    window = compute.Window(strides=(1, 1), padding=padding, dilation=(1, 1))
    x, weight = normal(*size, into * lanes), normal(out * lanes, into * lanes, 3, 3)
    packed = pack_winograd(weight, lanes, tile)
    settings = {"window": window, "channels": out * lanes, "tile": tile}
    (found,) = run_kernel(winograd_conv2d, [x, packed], isa, **settings)
    assert_within(found, convolved(x, weight, window, 0), TOLERANCE[tile])


@pytest.mark.slow
@pytest.mark.parametrize("tile", TILES)
def test_every_register_tile_computes_the_same(tile):
    isa = instruction_set(targets.host())
    window = compute.Window(strides=(1, 1), padding=(1, 1, 1, 1), dilation=(1, 1))
    x, weight = normal(1, 9, 14, 32), normal(64, 32, 3, 3)
    packed = pack_winograd(weight, isa.float_lanes, tile)
    settings = {"window": window, "channels": 64, "tile": tile}
    expected = convolved(x, weight, window, 0)
    for found in run_kernel(winograd_conv2d, [x, packed], isa, every_tile=True, **settings):
        assert_within(found, expected, TOLERANCE[tile])


@pytest.mark.slow
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("board", BOARDS)
def test_a_network_computes_the_same_and_what_does_not_fit_stays_direct(board, tile, tmp_path):
    board = BOARDS[board]
    model, x, expected = residual()
    direct = prepare(model, board)
    assert direct.direct == {"first.weight", "second.weight"}
    every = dict.fromkeys(model.weights, tile)
    other = prepare(model, board, every)
    points = (tile + 2) ** 2
    assert {n for n, w in other.weights.items() if len(w) == points and w.ndim == 4} == (
        direct.direct
    )
    assert other.direct == frozenset()
    (found,) = built_and_run(other, tmp_path, x)
    assert_within(found, expected, TOLERANCE[tile])


def taking(seconds):
    """Records by which a function takes `seconds(function)`."""

    def known(module):
        found = seconds(module)
        return None if found is None else SimpleNamespace(best_s=found)

    return known


def test_each_layer_is_done_in_the_way_that_was_measured_fastest():
    board = targets.host()
    model, *_ = residual()
    ways = alternatives(model, board)
    assert set(ways.winograd) == set(TILES)

    def seconds(module):
        points, channels = _points(module), _channels(module)
        if channels == 16:  # the first layer: F(4×4)
            return {0: 3.0, 16: 2.0, 36: 1.0}[points]
        return {0: 3.0, 16: 4.0, 36: 5.0}[points]

    chosen = fastest(ways, taking(seconds))
    assert len(chosen.weights["first.weight"]) == 36
    assert chosen.direct == {"second.weight"}


def test_what_was_not_measured_is_done_directly():
    board = targets.host()
    ways = alternatives(residual()[0], board)
    assert fastest(ways, lambda module: None) is ways.direct
    only_winograd = fastest(ways, taking(lambda module: 1.0 if _points(module) == 36 else None))
    assert only_winograd.direct == frozenset()  # the direct way was lost in measuring


def test_filters_that_take_longer_to_read_than_they_save_are_not_chosen():
    board = targets.host()
    ways = alternatives(residual()[0], board)
    gain_s = 1e-7  # the larger filters, 36 for 9, are 110 kB at 20 GB/s: 5.5 µs
    chosen = fastest(ways, taking(lambda module: 1e-3 if _points(module) else 1e-3 + gain_s))
    assert chosen.direct == ways.direct.direct


@pytest.mark.slow
def test_tuning_both_ways_tells_which_is_faster(tmp_path):
    board = targets.host()
    model, x, expected = residual()
    ways = alternatives(model, board)
    log = TuningLog(tmp_path / "log")
    tasks = tasks_of(ways.modules, ways.direct.isa)
    report = tune(tasks, board, log, Tuning(trials=3 * len(tasks), tuner="template"))
    assert not report.failed
    chosen = fastest(ways, fastest_known(log))
    (found,) = built_and_run(chosen, tmp_path, x, best=log.best)
    assert_within(found, expected, TOLERANCE[4])


def test_filters_are_transformed_in_float64():
    weight = normal(LANES, 3, 3, 3)
    ones = pack_winograd(np.ones((LANES, 1, 3, 3), np.float32), LANES, 4)
    assert ones.shape == (36, 1, 1, LANES)
    assert ones[0, 0, 0, 0] == np.float32(1 / 16)  # (1/4)², the first point
    assert pack_winograd(weight, LANES, 2).dtype == np.float32


def _blocks(module):
    sch = Schedule(module)
    return {sch.get(b).name_hint: sch.get(b) for b in sch.get_child_blocks(sch.get_sblock("root"))}


def _points(module) -> int:
    block = _blocks(module).get("winograd_input")
    return 0 if block is None else int(block.iter_vars[0].dom.extent)


def _channels(module) -> int:
    """Input channels of a function's contraction."""
    block = _blocks(module)["contract"]
    reduced = [
        int(var.dom.extent) for var in block.iter_vars if var.iter_type == IterVar.CommReduce
    ]
    return max(reduced)

"""Loops over time, built, give what torch gives: every cell, any sizes, with and without states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from adaspring import targets
from adaspring.frontend.from_torch.importer import from_torch

from ...support.backends import run
from ...support.outputs import assert_close

pytestmark = pytest.mark.slow

HOST, NULL = targets.host(), targets.null()
CELLS = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": lambda *sizes, **settings: nn.RNN(*sizes, nonlinearity="relu", **settings),
}


class Network(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, *states):
        y, last = self.layer(x, (states if len(states) > 1 else states[0]) if states else None)
        return (y, *last) if isinstance(last, tuple) else (y, last)


def check(layer, steps, samples, board, folder, has_states=True):
    torch.manual_seed(0)
    network, rows = Network(layer).eval(), layer.num_layers * (1 + layer.bidirectional)
    x = torch.randn(steps, samples, layer.input_size)
    count = (2 if isinstance(layer, nn.LSTM) else 1) if has_states else 0
    states = [torch.randn(rows, samples, layer.hidden_size) for _ in range(count)]
    model = from_torch(network, (x, *states), name="network")
    with torch.no_grad():
        wanted = [value.numpy() for value in network(x, *states)]
    assert_close(run(model, board, folder, x.numpy(), *(s.numpy() for s in states)), wanted, 1e-5)


@pytest.mark.parametrize("board", [HOST, NULL], ids=["host", "null"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_of_vectors_that_are_not_whole(cell, board, tmp_path):
    check(CELLS[cell](5, 19, bidirectional=True), 4, 3, board, tmp_path)


@pytest.mark.parametrize(("hidden", "samples"), [(16, 1), (48, 5), (64, 8)])
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_of_whole_vectors(cell, hidden, samples, tmp_path):
    check(CELLS[cell](8, hidden), 12, samples, HOST, tmp_path, has_states=samples > 1)


@pytest.mark.parametrize("cell", CELLS)
def test_a_single_step_begins_with_its_state(cell, tmp_path):
    check(CELLS[cell](8, 20), 1, 1, HOST, tmp_path)


def test_samples_are_shared_among_threads(tmp_path):
    check(nn.LSTM(4, 64), 30, 12, HOST, tmp_path)


def test_nan_and_infinity_go_through_a_loop(tmp_path):
    network = Network(nn.RNN(4, 16, nonlinearity="relu")).eval()
    x = torch.randn(3, 1, 4)
    x[1, 0, 2] = np.nan
    model = from_torch(network, (x,), name="network")
    found = run(model, HOST, tmp_path, x.numpy())[0]
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1:]).all()

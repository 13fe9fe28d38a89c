"""Networks run one after the other on a board, as an app runs a network in pieces."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from adaspring import targets
from adaspring.backends.build import build, prepare
from adaspring.backends.rpc.host.client import LeaseClient
from adaspring.backends.rpc.host.remote_net import RemoteNets
from adaspring.backends.rpc.host.session_process import CallRefused, SessionProcess
from adaspring.backends.rpc.protocol import Address
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.pieces.segments import crossings, cut

from ...support import rpc

pytestmark = pytest.mark.board


class TwoOutputs(nn.Module):
    """Two convolutions, the last one returned with its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)

    def forward(self, x):
        y = self.last(torch.relu(self.first(x)))
        return y, y.mean((2, 3))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return TwoOutputs().eval()


@pytest.fixture(scope="module")
def session(network, tmp_path_factory) -> Iterator[SessionProcess]:
    """A session in which the pieces "a" and "b" are loaded."""
    folder = tmp_path_factory.mktemp("chain")
    model = from_torch(network, (torch.zeros(1, 3, 8, 8),), name="net")
    process = SessionProcess()
    with rpc.tracker() as where, rpc.board(where, "host"):
        lease = LeaseClient(Address.parse(where), "host", 60.0).lease()
        assert lease is not None
        process.open(lease, 600.0, 60.0, "cpu")
        for name, piece in zip("ab", cut(model, crossings(model)), strict=True):
            built = build(prepare(piece, targets.host()), None, folder / f"{name}.so")
            weights = folder / f"{name}.npz"
            np.savez(weights, **{f"w{i}": w for i, w in enumerate(built.weights.values())})
            process.ask(60.0, "load_net", name, str(built.code), str(weights))
        yield process
        process.end_session()
    process.close()


@pytest.fixture
def samples(tmp_path) -> Path:
    path = tmp_path / "samples.npz"
    rng = np.random.default_rng(0)
    np.savez(path, x0=rng.standard_normal((7, 1, 3, 8, 8)).astype(np.float32))
    return path


def test_a_chain_gives_what_the_whole_network_gives(session, network, samples, tmp_path):
    outputs = tmp_path / "outputs.npz"
    session.ask(60.0, "run_chain", ["a", "b"], str(samples), str(outputs), 5)
    with np.load(samples) as data, np.load(outputs) as found, torch.inference_mode():
        right = [y.numpy() for y in network(torch.from_numpy(data["x0"][:5, 0]))]
        for index, expected in enumerate(right):
            ours = found[f"y{index}"]
            np.testing.assert_allclose(ours[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_what_takes_long_comes_in_parts(session, samples, tmp_path, monkeypatch):
    nets = RemoteNets(SimpleNamespace(remote=FakeRemote(per_call=2)))
    outputs, steps = tmp_path / "outputs.npz", []
    nets.run_chain([], str(samples), str(outputs), 5, lambda: steps.append(1))
    with np.load(outputs) as data:
        np.testing.assert_array_equal(data["y0"], np.arange(5.0))
    assert len(steps) == 3


def test_calls_of_a_chain_are_timed_apart_and_at_once(session, samples):
    for warm_s, apart_s in ((0.001, 0.0), (0.0, 0.001)):
        times = session.ask(60.0, "time_chain", ["a", "b"], str(samples), 4, warm_s, apart_s)
        assert len(times) == 4
        assert all(0 < ms < 1e4 for ms in times)


def test_a_chain_that_does_not_fit_is_refused_and_the_session_goes_on(session, samples, tmp_path):
    outputs = str(tmp_path / "outputs.npz")
    with pytest.raises(CallRefused):
        session.ask(60.0, "run_chain", ["b", "a"], str(samples), outputs, 1)
    session.ask(60.0, "run_chain", ["a"], str(samples), outputs, 1)


def test_a_board_of_an_older_adaspring_is_named_as_such(samples, tmp_path):
    nets = RemoteNets(SimpleNamespace(remote=FakeRemote(per_call=0)))
    with pytest.raises(RuntimeError, match="it serves an older adaspring; install this one there"):
        nets.run_chain([], str(samples), str(tmp_path / "outputs.npz"), 1, lambda: None)


class FakeRemote:
    """A board that runs so many samples a call; 0: it knows no chains."""

    def __init__(self, per_call: int) -> None:
        self._per_call = per_call

    def upload(self, data: bytearray, name: str) -> None:
        assert data
        assert name == "samples.npz"

    def get_function(self, name: str):
        if not self._per_call:
            raise AttributeError(name)
        return self._run

    def _run(self, file: str, start: int, end: int, seconds: float) -> bytes:
        data = io.BytesIO()
        np.savez(data, y0=np.arange(start, min(start + self._per_call, end), dtype=float))
        return data.getvalue()

"""Compiling for a board that is not this machine but runs over RPC: this machine serves as it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import adaspring
from adaspring import targets
from adaspring.backends.rpc.protocol import Address
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import BoardError, BuildError
from adaspring.explore import compile as compile_module
from adaspring.explore.compile import compile_libraries
from adaspring.explore.measure import variants as measure_module
from adaspring.explore.measure.remote import Asked
from adaspring.explore.plan import plan
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.explore.request import Bounds, Request
from adaspring.frontend.data import Dataset, split
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.passes.quantize.static import Quantize
from adaspring.reference.executor import evaluate

from ...support import networks, rpc

pytestmark = pytest.mark.board

# The processor of this machine, under a name that makes it a board elsewhere.
BOX = msgspec.structs.replace(targets.host(), name="lab-box", rpc_key="lab-box")
RECIPES = (DENSE, Recipe(name="int8", passes=(Quantize(),)))
NAMES = ["dense", "int8"]


@pytest.fixture(scope="module")
def model():
    """Scores that are centred, so that answers vary."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten())
    network = nn.Sequential(*layers, nn.Linear(256, 10)).eval()
    with torch.no_grad():
        network[-1].bias -= network(torch.from_numpy(images())).mean(0)
    return from_torch(network, (torch.from_numpy(images()[:1]),), name="small")


def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((60, 8, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def splits(model):
    """The images labelled by the dense network itself, so that its accuracy is 1."""
    labels = evaluate(model, Dataset(inputs=(images(),)))[0].argmax(1)
    assert len(np.unique(labels)) > 3
    return split(Dataset(inputs=(images(),), targets=labels), seed=0)


@pytest.fixture(scope="module")
def where() -> Iterator[str]:
    with rpc.tracker() as address:
        yield address


@pytest.fixture(autouse=True)
def briefly(monkeypatch) -> None:
    monkeypatch.setattr(measure_module, "Asked", partial(Asked, seconds=0.1))


def request(model, splits, where: str, folder: Path, **changes) -> Request:
    settings = {
        "boards": (BOX,),
        "output": folder / "lib",
        "recipes": RECIPES,
        "bounds": Bounds(max_drop=1.0, front_only=False),
        "tuning": Tuning(trials=0),
        "logs": folder / "logs",
        "tracker": Address.parse(where),
    }
    return Request(model=model, data=splits, **(settings | changes))


class Told:
    """Keeps the steps of measuring, and lets a test do something at one of them."""

    def __init__(self, at: str = "", act=lambda: None) -> None:
        self.steps: list[str] = []
        self._at, self._act = at, act

    def note(self, text: str) -> None:
        assert "24 samples decide what is kept" in text

    def step(self, stage: str, done: int, total: int, detail: str) -> None:
        if stage == "measure on lab-box":
            self.steps.append(detail)
            if detail == self._at and self.steps.count(detail) == 1:
                self._act()


def test_variants_are_run_and_timed_on_the_board_as_an_app_runs_them(
    model, splits, where, tmp_path
):
    told = Told()
    with rpc.board(where, "lab-box") as served:
        result = compile_libraries(plan(request(model, splits, where, tmp_path)), told)
    (board,) = result.boards
    everything = {entry.name: entry for entry in board.manifest.variants}
    dense = everything["dense"]
    assert told.steps == [*NAMES, "all variants in turn", "done"]
    assert dense.cost.metric.value == 1
    assert dense.cost.metric.how == f"test split, 24 samples, run on lab-box, over RPC at {where}"
    assert dense.agreement.max_error_ratio < 1e-4
    for figure in (dense.cost.latency_p50_ms, dense.cost.latency_p90_ms):
        assert figure.origin == "measured"
        assert f"over RPC by the clock of the board at {served.address}" in figure.how
        assert figure.value > 0
    assert board.latency_ratios["dense"] == 1
    assert sorted(board.latency_ratios) == sorted(NAMES)
    for variant in everything.values():
        assert 0 < variant.agreement.max_error_ratio <= variant.agreement.tolerance_ratio

    # This machine being that board, the library can be opened: it answers as it did over RPC.
    net = adaspring.load(tmp_path / "lib").open()
    expected = evaluate(model, Dataset(inputs=(images()[:1],)))[0]
    np.testing.assert_allclose(net(images()[:1]), expected, rtol=1e-4, atol=1e-4)


def test_networks_of_several_inputs_and_outputs_run_on_the_board(where, tmp_path):
    network = networks.TwoInputs()
    model = from_torch(network, networks.example_inputs(network), name="two")
    with rpc.board(where, "lab-box"):
        asked = request(model, None, where, tmp_path, recipes=(DENSE,))
        result = compile_libraries(plan(asked))
    (dense,) = result.boards[0].manifest.variants
    assert dense.agreement.max_error_ratio < 1e-4
    assert dense.cost.metric is None


def test_a_board_killed_while_its_variants_run_is_waited_for(
    model, splits, where, tmp_path, caplog
):
    again = []
    board = rpc.ready(rpc.start_board(where, "lab-box"))

    def kill_and_start_again() -> None:
        board.process.kill()
        board.process.wait()
        again.append(rpc.start_board(where, "lab-box"))

    told = Told("int8", kill_and_start_again)
    try:
        result = compile_libraries(plan(request(model, splits, where, tmp_path)), told)
    finally:
        for process in (board.process, *again):
            rpc.stop(process)
    assert result.boards[0].manifest.variants[0].cost.latency_p50_ms is not None
    assert f"the board at {board.address} is gone; its variants are run again" in caplog.text
    assert told.steps == ["dense", "int8", *NAMES, "all variants in turn", "done"]


def test_a_variant_that_the_board_cannot_run_is_an_error_that_names_the_board(
    model, splits, where, tmp_path, monkeypatch
):
    original = compile_module.build_all

    def build_badly(*arguments):
        built = original(*arguments)
        built["dense"].code.write_bytes(b"no code")
        return built

    monkeypatch.setattr(compile_module, "build_all", build_badly)
    with (
        rpc.board(where, "lab-box") as served,
        pytest.raises(BuildError, match=f"on the board at {served.address} failed: .*0.so"),
    ):
        compile_libraries(plan(request(model, splits, where, tmp_path, recipes=(DENSE,))))


def test_an_emulated_board_gives_outputs_and_accuracy_and_no_latency(
    model, splits, where, tmp_path
):
    tuning = Tuning(trials=2, tuner="template")
    asked = request(model, splits, where, tmp_path, tuning=tuning, recipes=(DENSE,))
    with rpc.board(where, "lab-box-emulated", 0, "--emulated", "some-cpu"):
        result = compile_libraries(plan(asked))
    (board,) = result.boards
    dense = board.manifest.variants[0]
    assert dense.cost.latency_p50_ms is dense.cost.latency_p90_ms is None
    assert (
        dense.cost.metric.how
        == f"test split, 24 samples, run on emulated lab-box, over RPC at {where}"
    )
    assert dense.agreement.max_error_ratio < 1e-4
    assert board.latency_ratios == {}
    assert board.plan.site.emulated
    # its times are not among those of the real board
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["lab-box-emulated"]
    log = TuningLog(tmp_path / "logs" / "lab-box-emulated")
    records = [record for workload in log.workloads() for record in log.records(workload)]
    assert len(records) == board.tuning.measured_count
    assert all(record.origin.emulated for record in records)


def test_a_board_that_is_not_there_is_an_error_and_no_library_is_written(
    model, splits, where, tmp_path
):
    with pytest.raises(BoardError, match="no board under the key lab-box"):
        compile_libraries(plan(request(model, splits, where, tmp_path, recipes=(DENSE,))))
    assert not (tmp_path / "lib").exists()

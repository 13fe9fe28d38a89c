"""Tuning on boards over RPC: boards and trackers that are killed, and an emulated ARM board."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from adaspring import targets
from adaspring.backends.build import build, prepare
from adaspring.backends.rpc.emulator.image import default_folder, image
from adaspring.backends.rpc.emulator.run import emulated_board, emulated_key
from adaspring.backends.rpc.host.client import LeaseClient
from adaspring.backends.rpc.host.session_process import SessionProcess
from adaspring.backends.rpc.protocol import Address
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.errors import BoardError, BoardLost
from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.passes import run
from adaspring.passes.quantize.static import Quantize
from adaspring.reference.executor import evaluate

from ...support import rpc
from ...support.requirements import missing

pytestmark = pytest.mark.board

HOST = targets.host()
PI5 = targets.find("raspberry-pi-5")


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    layers = (nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU())
    return nn.Sequential(*layers).eval(), torch.randn(1, 8, 12, 12)


@pytest.fixture(scope="module")
def model():
    net, x = network()
    return from_torch(net, (x,), name="net")


@pytest.fixture(scope="module")
def tasks(model):
    prepared = prepare(model, HOST)
    return tasks_of([prepared.module], prepared.isa)


def records_count(log: TuningLog) -> int:
    return sum(workload.records_count for workload in log.workloads())


def tune_until(stop, tasks, where: str, folder: Path) -> int:
    """Tune over RPC; `stop` is called after three candidates. How many records there are then."""
    stopped = []

    def tell(done: int, total: int) -> None:
        if done >= 3 and not stopped:
            stopped.append(done)
            stop()

    runner = rpc.connect(where, HOST, wait_s=1.0)
    try:
        with pytest.raises(BoardLost):
            tune(tasks, HOST, TuningLog(folder), Tuning(trials=10**6, patience=10**6), tell,
                 runner=runner)  # fmt: skip
    finally:
        runner.close()
    kept = records_count(TuningLog(folder))
    assert kept >= 3
    return kept


def goes_on(tasks, where: str, folder: Path, kept: int) -> None:
    """A second run measures more and begins with what was kept."""
    with rpc.board(where):
        runner = rpc.connect(where, HOST)
        try:
            report = tune(tasks, HOST, TuningLog(folder), Tuning(trials=2), runner=runner)
        finally:
            runner.close()
    assert (report.reused_count, report.measured_count) == (kept, 2)
    assert records_count(TuningLog(folder)) == kept + 2


def test_a_board_that_is_killed_ends_the_run_and_the_next_goes_on(tasks, tmp_path):
    with rpc.tracker() as where:
        with rpc.board(where) as served:
            kept = tune_until(served.process.kill, tasks, where, tmp_path)
        goes_on(tasks, where, tmp_path, kept)


def test_a_tracker_that_is_killed_ends_the_run_and_the_next_goes_on(tasks, tmp_path):
    with rpc.tracker_process() as (tracker, where), rpc.board(where) as served:

        def stop() -> None:
            tracker.kill()
            served.process.kill()  # or its session would go on without a tracker

        kept = tune_until(stop, tasks, where, tmp_path)
    with rpc.tracker() as where:
        goes_on(tasks, where, tmp_path, kept)


@pytest.fixture(scope="module")
def emulated():
    """An emulated Raspberry Pi 5 at a tracker; gives the tracker's address."""
    try:
        built = image(default_folder())
    except BoardError as error:
        missing(str(error))
    with rpc.tracker() as where:
        tracker = Address.parse(where)
        listen = Address("127.0.0.1", 0)
        with emulated_board(built, PI5, emulated_key(PI5), tracker, listen) as process:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            assert said["board"]["emulated"]
            yield where


def test_an_emulated_board_tunes_and_runs_8_bit_layers_with_dot_products(emulated, tmp_path):
    net, x = network()
    images = np.random.default_rng(0).standard_normal((8, 8, 12, 12)).astype(np.float32)
    model = run(from_torch(net, (x,), name="net"), (Quantize(),), Dataset(inputs=(images,))).model
    prepared = prepare(model, PI5)
    tasks = [t for t in tasks_of([prepared.module], prepared.isa) if t.dot_dtype == "int8"]
    log = TuningLog(tmp_path / "log")
    runner = rpc.connect(emulated, PI5)
    try:
        report = tune(tasks, PI5, log, Tuning(trials=2 * len(tasks)), runner=runner,
                      emulated=runner.emulated)  # fmt: skip
    finally:
        runner.close()
    assert report.failed == ()
    for task in tasks:
        record = log.records(task.module)[0]
        assert record.origin is not None
        assert record.origin.emulated
        assert "adaspring.sdot" in str(record.trace)

    built = build(prepared, log.best, tmp_path / "net.so")
    found = run_on_board(emulated, built, images, tmp_path)
    expected = evaluate(model, Dataset(inputs=(images,)))[0]
    assert np.abs(found - expected).max() <= 5e-2 * np.abs(expected).max()


def run_on_board(where: str, built, images: np.ndarray, folder: Path) -> np.ndarray:
    """The network's output on the board, image by image, in one session."""
    np.savez(folder / "weights.npz", **{f"w{i}": w for i, w in enumerate(built.weights.values())})
    np.savez(folder / "inputs.npz", x0=images[:, None])
    lease = LeaseClient(Address.parse(where), emulated_key(PI5), 60.0).lease()
    assert lease is not None
    session = SessionProcess()
    try:
        assert session.open(lease, 120.0, 60.0, "cpu").machine == "aarch64"
        session.ask(60.0, "load_net", "net", str(built.code), str(folder / "weights.npz"))
        outputs = str(folder / "outputs.npz")
        session.ask(60.0, "run_net", "net", str(folder / "inputs.npz"), outputs)
        session.end_session()
    finally:
        session.close()
    with np.load(outputs) as data:
        return data["y0"][:, 0]

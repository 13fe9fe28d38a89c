from __future__ import annotations

import sys
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import tvm
import tvm_ffi
from adaspring import targets
from adaspring.backends.build import build, prepare
from adaspring.backends.kernels.schedule import tiles
from adaspring.backends.tuning import Tuning, TuningLog, engine, tasks_of, tune
from adaspring.errors import BuildError
from adaspring.frontend.torch_import import from_torch
from adaspring.library.weights import aligned_copy
from tvm import relax

from . import networks


@pytest.fixture(scope="module")
def board():
    return targets.null()


@pytest.fixture(scope="module")
def prepared(board):
    network = networks.SmallResNet()
    return prepare(from_torch(network, networks.example_inputs(network), name="net"), board)


@pytest.fixture(scope="module")
def tasks(prepared):
    return tasks_of([prepared.module], prepared.isa)


def record_lines(folder: Path) -> list[str]:
    return (folder / "records.jsonl").read_text().splitlines()


def test_equal_functions_of_several_variants_are_one_task(prepared, tasks):
    doubled = tasks_of([prepared.module, prepared.module], prepared.isa)
    assert [task.name for task in doubled] == [task.name for task in tasks]
    assert sum(task.weight for task in doubled) == 2 * sum(task.weight for task in tasks)


def test_every_tile_fits_the_registers_and_divides_the_shape(prepared, tasks):
    for task in tasks:
        for tile in tiles(task.shape, prepared.isa):
            assert tile.columns * tile.blocks < prepared.isa.register_count
            assert task.shape.columns % tile.columns == 0
            assert task.shape.channels % (tile.blocks * task.shape.lanes) == 0


def test_each_measured_schedule_is_recorded_once_and_a_second_run_goes_on(board, tasks, tmp_path):
    few = tasks[-2:]
    space = sum(len(tiles(task.shape, engine.instruction_set(board))) for task in few)
    first = tune(few, board, TuningLog(tmp_path), Tuning(trials=4))
    assert (first.measured_count, first.reused_count, first.failed) == (4, 0, ())
    assert len(record_lines(tmp_path)) == 4

    second = tune(few, board, TuningLog(tmp_path), Tuning(trials=3))
    assert (second.measured_count, second.reused_count) == (min(3, space - 4), 4)
    assert len(set(record_lines(tmp_path))) == len(record_lines(tmp_path))


def test_progress_counts_every_trial(board, tasks, tmp_path):
    told = []
    tune(tasks[-1:], board, TuningLog(tmp_path), Tuning(trials=2), lambda *step: told.append(step))
    assert told[-1][0] == told[-1][1] == 2


def test_the_log_gives_the_fastest_schedule_and_a_build_uses_it(board, prepared, tasks, tmp_path):
    log = TuningLog(tmp_path)
    tune(tasks[:1], board, log, Tuning(trials=6))
    measured = log.measured(tasks[0].module)
    best = "\n".join(log.best(tasks[0].module).as_python())
    assert measured[best] == min(measured.values())
    assert log.best(tasks[-1].module) is None

    network = networks.SmallResNet()
    (x,) = networks.example_inputs(network)
    built = build(prepared, log.best, tmp_path / "net.so")
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(built.code)), tvm.cpu())
    weights = [tvm.runtime.tensor(aligned_copy(w)) for w in built.weights.values()]
    ours = machine["main"](tvm.runtime.tensor(x.numpy()), weights).numpy()
    np.testing.assert_allclose(ours, network(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_tuning_leaves_the_network_as_it_was(board, prepared, tasks, tmp_path):
    before = tvm_ffi.structural_hash(prepared.module)
    tune(tasks[-1:], board, TuningLog(tmp_path), Tuning(trials=1))
    build(prepared, None, tmp_path / "net.so")
    assert tvm_ffi.structural_hash(prepared.module) == before


def test_a_candidate_that_crashes_costs_itself_alone(board, tasks, tmp_path, monkeypatch):
    crashed = tmp_path / "crashed"

    def crash_once(job, marker=str(crashed)):
        import os as child_os

        from adaspring.backends.tuning import workers

        if not child_os.path.exists(marker):
            open(marker, "w").close()
            child_os._exit(11)
        return workers.time_candidate(*job)

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(engine, "_time", crash_once)
    report = tune(tasks[-1:], board, TuningLog(tmp_path / "log"), Tuning(trials=2))
    assert report.measured_count == 1
    assert len(report.failed) == 1
    assert tasks[-1].name in report.failed[0]


def test_a_candidate_that_hangs_is_named_and_not_recorded(board, tasks, tmp_path, monkeypatch):
    def hang(job):
        import time

        time.sleep(60)

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(engine, "_time", hang)
    report = tune(tasks[-1:], board, TuningLog(tmp_path), Tuning(trials=1, timeout_s=8.0))
    assert report.measured_count == 0
    assert "timed out" in report.failed[0]
    assert record_lines(tmp_path) == []


def test_a_torn_last_line_is_dropped_with_a_notice(board, tasks, tmp_path, caplog):
    tune(tasks[-1:], board, TuningLog(tmp_path), Tuning(trials=2))
    records = tmp_path / "records.jsonl"
    whole = records.read_bytes()
    records.write_bytes(whole[:-20])
    log = TuningLog(tmp_path)
    assert "torn" in caplog.text
    assert len(log.measured(tasks[-1].module)) == 1
    assert tune(tasks[-1:], board, log, Tuning(trials=1)).measured_count == 1


@pytest.mark.parametrize("name", ["records.jsonl", "workloads.jsonl"])
def test_a_log_that_is_not_one_is_refused_and_kept(tmp_path, name):
    (tmp_path / name).write_text("not a record\n")
    with pytest.raises(BuildError, match="move it away"):
        TuningLog(tmp_path)
    assert (tmp_path / name).read_text() == "not a record\n"


def test_a_log_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="cannot be read"):
        TuningLog(tmp_path / "file" / "board")

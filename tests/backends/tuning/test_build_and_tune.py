from __future__ import annotations

from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax

from adaspring import targets
from adaspring.backends.build import build, prepare
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.schedule.contraction import tiles
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.local import LocalRunner
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.log.origin import CODE
from adaspring.backends.tuning.runner import CandidateLost
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.errors import BoardError, BuildError
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.library.weights import aligned_copy

from ...support import networks

pytestmark = pytest.mark.slow


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


def templates(tasks):
    return [task for task in tasks if task.shape]


def record_lines(folder: Path) -> list[str]:
    return (folder / "records.jsonl").read_text().splitlines()


def test_equal_functions_of_several_variants_are_one_task(prepared, tasks):
    doubled = tasks_of([prepared.module, prepared.module], prepared.isa)
    assert [task.name for task in doubled] == [task.name for task in tasks]
    assert sum(task.weight for task in doubled) == 2 * sum(task.weight for task in tasks)


def test_every_tile_fits_the_registers_and_divides_the_shape(prepared, tasks):
    for task in tasks:
        for tile in tiles(task.shape, prepared.isa) if task.shape else ():
            assert tile.columns * tile.blocks < prepared.isa.register_count
            assert task.shape.columns % tile.columns == 0
            assert task.shape.channels % (tile.blocks * task.shape.lanes) == 0


def test_a_small_layer_is_tried_on_one_thread_and_a_large_one_is_not(prepared, tasks):
    small = min((task.shape for task in templates(tasks)), key=lambda shape: shape.macs_count)
    assert {tile.serial for tile in tiles(small, prepared.isa)} == {False, True}
    large = replace(small, macs_count=50_000_000)
    assert not any(tile.serial for tile in tiles(large, prepared.isa))


def test_each_measured_schedule_is_recorded_once_and_a_second_run_goes_on(board, tasks, tmp_path):
    few = templates(tasks)[-2:]
    space = sum(len(tiles(task.shape, instruction_set(board))) for task in few)
    first = tune(few, board, TuningLog(tmp_path), Tuning(trials=4, tuner="template"))
    assert (first.measured_count, first.reused_count, first.failed) == (4, 0, ())
    assert len(record_lines(tmp_path)) == 4

    second = tune(few, board, TuningLog(tmp_path), Tuning(trials=3, tuner="template"))
    assert (second.measured_count, second.reused_count) == (min(3, space - 4), 4)
    assert len(set(record_lines(tmp_path))) == len(record_lines(tmp_path))


def test_schedules_that_were_measured_in_older_code_are_measured_anew(board, tasks, tmp_path):
    (task,) = templates(tasks)[:1]
    tune([task], board, TuningLog(tmp_path), Tuning(trials=6, tuner="template"))
    known = {record.key for record in TuningLog(tmp_path).records(task.module)}
    records = tmp_path / "records.jsonl"
    older = records.read_text().replace(f" code={CODE} ", " ")
    records.write_text(older)

    again = tune([task], board, TuningLog(tmp_path), Tuning(trials=3, tuner="template"))
    assert again.reused_count == 0
    assert len(TuningLog(tmp_path).measured(task.module)) == 3
    assert TuningLog(tmp_path).measured(task.module).keys() <= known
    assert records.read_text().startswith(older)


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


class Crashing:
    """A runner whose first candidate crashes, and the others take a microsecond."""

    width = 1

    def __init__(self) -> None:
        self.count = 0

    def submit(self, code: Path, arguments) -> Future[list[float]]:
        assert code.read_bytes().startswith(b"\x7fELF")
        self.count += 1
        future: Future[list[float]] = Future()
        if self.count == 1:
            future.set_exception(CandidateLost("crashed with SIGSEGV"))
        else:
            future.set_result([1e-6])
        return future

    def close(self) -> None:
        pass


def test_a_candidate_that_crashes_costs_itself_alone_and_is_not_tried_again(board, tasks, tmp_path):
    task = templates(tasks)[-1:]
    settings = Tuning(trials=2, tuner="template")
    report = tune(task, board, TuningLog(tmp_path), settings, runner=Crashing())
    assert report.measured_count == 1
    assert report.failed == (f"{task[0].name}: run: crashed with SIGSEGV",)
    log = TuningLog(tmp_path)
    (lost,) = log.lost(task[0].module)
    assert lost not in log.measured(task[0].module)
    tune(task, board, log, settings, runner=Crashing())
    assert log.lost(task[0].module) > {lost}
    assert lost not in log.measured(task[0].module)


class Gone(Crashing):
    """A runner whose board is gone after two candidates."""

    def submit(self, code: Path, arguments) -> Future[list[float]]:
        self.count += 1
        future: Future[list[float]] = Future()
        if self.count > 2:
            future.set_exception(BoardError("no board answers; start one"))
        else:
            future.set_result([1e-6])
        return future


def test_a_board_that_is_gone_ends_the_run_and_loses_no_record(board, tasks, tmp_path):
    with pytest.raises(BoardError, match="no board answers"):
        tune(templates(tasks), board, TuningLog(tmp_path), Tuning(trials=20), runner=Gone())
    assert len(record_lines(tmp_path)) == 2


def test_a_candidate_that_crashes_or_hangs_costs_its_worker_alone(board, tmp_path):
    runner = LocalRunner(board, nullcontext, timeout_s=5.0)
    code = tmp_path / "code.so"
    code.write_bytes(b"not a library")
    try:
        with pytest.raises(RuntimeError, match=r"invalid ELF header|file too short"):
            runner.submit(code, []).result(120)
    finally:
        runner.close()


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

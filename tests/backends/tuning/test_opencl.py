"""The tuner on an OpenCL device: the same engine, log and transfer, within the device's limits."""

from __future__ import annotations

import math
import re
from itertools import islice

import numpy as np
import pytest
from msgspec import structs
from tvm.s_tir import Schedule
from tvm.target import Target

import adaspring
from adaspring.backends.build import prepare
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.search.gpu import gpu_candidates
from adaspring.backends.tuning.search.transfer import Transfer
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import Task, tasks_of
from adaspring.errors import UsageError
from adaspring.ir.model import Model
from adaspring.passes import Prune, run
from adaspring.reference.executor import evaluate
from adaspring.targets import Board, host_opencl

from ...support.backends import library_of
from ...support.networks import SmallResNet
from ...support.opencl import require_opencl
from ...support.passes import data, known

pytestmark = pytest.mark.slow
TRIALS = 24


@pytest.fixture(scope="module")
def board() -> Board:
    require_opencl()
    return host_opencl()


@pytest.fixture(scope="module")
def model() -> Model:
    return known(SmallResNet)


@pytest.fixture(scope="module")
def tasks(model, board) -> tuple[Task, ...]:
    return tasks_of([prepare(model, board).module], instruction_set(board))


@pytest.fixture(scope="module")
def tuned(tasks, board, tmp_path_factory):
    log = TuningLog(tmp_path_factory.mktemp("log"))
    return log, tune(tasks, board, log, Tuning(trials=TRIALS))


def most_threads(task: Task, board: Board, log: TuningLog) -> int:
    """How many threads a group has at most, in the first candidates of the template."""
    isa, target = instruction_set(board), Target(dict(board.target))
    proposed = gpu_candidates(task, isa, target, Transfer(log, isa, target), 3)
    templates = islice((c for c in proposed if c.tuner == "template"), 30)
    return max(threads(candidate.schedule) for candidate in templates)


def threads(schedule: Schedule) -> int:
    """How many threads a group has, as the loops of a schedule say."""
    extents = re.findall(r'binding\(T.int64\((\d+)\), thread="threadIdx', schedule.mod.script())
    return math.prod(map(int, extents))


def test_candidates_are_built_timed_and_recorded(tuned):
    log, report = tuned
    assert (report.measured_count, report.failed) == (TRIALS, ())
    assert {r.tuner for w in log.workloads() for r in log.records(w)} == {"rule", "template"}


def test_a_network_by_its_fastest_schedules_is_right(tuned, model, board, tmp_path):
    log, _ = tuned
    folder = library_of(model, board, tmp_path / "net.lib", log.best)
    sample = data(model).take(range(1))
    with adaspring.load(folder) as library:
        found = library.open()(*sample.inputs)
    (wanted,) = evaluate(model, sample)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_second_run_goes_on_from_what_is_known(tuned, tasks, board, tmp_path):
    log, _ = tuned
    more = tune(tasks, board, log, Tuning(trials=1))
    assert (more.measured_count, more.reused_count) == (1, TRIALS)


def test_a_pruned_network_begins_with_the_schedules_of_its_parent(tuned, model, board):
    log, _ = tuned
    pruned = run(model, (Prune(keep_ratio=0.5, multiple_of=8),), None).model
    isa, target = instruction_set(board), Target(dict(board.target))
    transfer = Transfer(log, isa, target)
    ours = tasks_of([prepare(pruned, board).module], isa)
    carried = [candidate for task in ours for candidate in transfer.candidates(task, 2)]
    assert any(candidate.tuner == "template" for candidate in carried)


def test_what_a_device_cannot_run_is_not_built(tasks, board, tmp_path):
    log = TuningLog(tmp_path)
    small = structs.replace(board, target={**board.target, "max_threads_per_block": 32})
    task = next(task for task in tasks if "conv2d" in task.name)
    assert most_threads(task, board, log) > 32
    assert most_threads(task, small, log) <= 32


def test_sketches_are_refused_for_a_gpu(tasks, board, tmp_path):
    with pytest.raises(UsageError, match="no sketches for GPUs"):
        tune(tasks, board, TuningLog(tmp_path), Tuning(trials=1, tuner="sketch"))

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import tvm
from hypothesis import given
from hypothesis import strategies as st
from tvm.s_tir.meta_schedule.arg_info import ArgInfo

from adaspring import targets
from adaspring.backends.build import prepare
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.schedule.default import default_schedule
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.search.context import Context
from adaspring.backends.tuning.search.model import cost_model
from adaspring.backends.tuning.search.proposals import (
    CandidateList,
    SketchSearch,
    template_candidates,
)
from adaspring.backends.tuning.search.space import sketch_space
from adaspring.backends.tuning.search.transfer import Transfer, fit, nearest_tiles, signature
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.passes import run
from adaspring.passes.prune.prune import Prune
from adaspring.passes.quantize.sixteen_bit import SixteenBit
from adaspring.passes.quantize.static import Quantize

from ...support import networks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def board():
    return targets.host()


@pytest.fixture(scope="module")
def model():
    network = networks.SmallResNet()
    return from_torch(network, networks.example_inputs(network), name="net")


@pytest.fixture(scope="module")
def tasks(board, model):
    prepared = prepare(model, board)
    return tasks_of([prepared.module], prepared.isa)


@pytest.fixture(scope="module")
def pruned_tasks(board, model):
    pruned = run(model, (Prune(keep_ratio=0.5, multiple_of=8),), None).model
    prepared = prepare(pruned, board)
    return tasks_of([prepared.module], prepared.isa)


@pytest.fixture(scope="module")
def integer_tasks(board, model):
    images = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype(np.float32)
    quantized = run(model, (Quantize(),), Dataset(inputs=(images,))).model
    prepared = prepare(quantized, board)
    return [t for t in tasks_of([prepared.module], prepared.isa) if t.dot_dtype == "int8"]


def search(task, board, log, **settings):
    target = tvm.target.Target(dict(board.target))
    isa = instruction_set(board)
    model = cost_model(log, target, 1)
    chosen = {"round_size": 6, "thread_count": 1, "seed": 1} | settings
    return SketchSearch(task, isa, target, model, (), **chosen)


def outputs_of(module, board, task) -> np.ndarray:
    """What a scheduled function computes for seeded arguments."""
    rng = np.random.default_rng(0)
    arguments = []
    for info in ArgInfo.from_prim_func(task.module["main"]):
        values = rng.integers(-3, 4, [int(e) for e in info.shape])
        arguments.append(tvm.runtime.tensor(values.astype(str(info.dtype))))
    built = tvm.tirx.build(module, target=tvm.target.Target(dict(board.target)))
    built["main"](*arguments)
    return arguments[-1].numpy()


def assert_right(module, board, task) -> None:
    expected = outputs_of(default_schedule(task.module["main"], instruction_set(board)).mod,
                          board, task)  # fmt: skip
    np.testing.assert_allclose(outputs_of(module, board, task), expected, rtol=1e-4, atol=1e-3)


def test_sketches_compute_what_the_default_schedule_does(board, tasks, tmp_path):
    for task in (tasks[0], tasks[-1]):
        proposed = search(task, board, TuningLog(tmp_path)).propose(6)
        assert len(proposed) == 6
        for candidate in proposed[:2]:
            assert candidate.tuner == "sketch"
            assert_right(candidate.schedule.mod, board, task)


def test_integer_sketches_use_the_dot_product_and_are_right(board, integer_tasks, tmp_path, capfd):
    if instruction_set(board).int8.intrinsic is None:
        pytest.skip("this processor has no 8-bit dot product")
    task = integer_tasks[0]
    proposed = search(task, board, TuningLog(tmp_path)).propose(6)
    assert proposed
    for candidate in proposed[:2]:
        text = str(candidate.schedule.mod)
        assert any(name in text for name in ("vpdpbusd", "vpmaddwd", "pmadd.wd", "sdot"))
        assert_right(candidate.schedule.mod, board, task)
    assert "Tensorize failed" not in capfd.readouterr().err


def test_a_search_goes_on_from_what_it_has_learned(board, tasks, tmp_path):
    proposer = search(tasks[0], board, TuningLog(tmp_path))
    first = proposer.propose(6)
    proposer.learn(first, [[1e-3 * (i + 1)] for i in range(5)] + [None])
    second = proposer.propose(6)
    assert {c.key for c in second}.isdisjoint(c.key for c in first)


def test_a_context_is_made_without_the_import_of_all_intrinsics(board, tasks):
    # in a process of its own: another test may have imported them
    import subprocess
    import sys

    code = (
        "import sys, tvm; from tvm.script import tirx as T, ir as I\n"
        "from adaspring.backends.tuning.search.context import Context\n"
        "Context(tvm.IRModule({}), tvm.target.Target({'kind': 'llvm', 'num-cores': 1}))\n"
        "sys.exit('tvm.s_tir.tensor_intrin' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(extent=st.integers(1, 4096), tiles=st.lists(st.integers(1, 64), min_size=2, max_size=4))
def test_fitted_tiles_divide_the_extent(extent, tiles):
    found = nearest_tiles(extent, tiles)
    assert len(found) == len(tiles)
    assert np.prod(found) == extent


def test_tiles_that_fit_are_kept():
    assert nearest_tiles(128, [2, 4, 16]) == [2, 4, 16]
    assert nearest_tiles(96, [2, 4, 16]) == [2, 3, 16]


def test_a_schedule_of_one_width_is_carried_to_another(board, tasks, pruned_tasks):
    isa = instruction_set(board)
    kinds = {signature(task.module).kind: task for task in pruned_tasks}
    found = 0
    for task in tasks:
        other = kinds.get(signature(task.module).kind)
        if other is None or task.shape is None:
            continue
        for candidate in list(template_candidates(task, isa))[:3]:
            fitted = fit(candidate.schedule.trace, other.module)
            assert fitted is not None
            assert_right(fitted.mod, board, other)
            found += 1
    assert found >= 3


def test_a_schedule_that_needs_another_block_is_not_carried(board, tasks):
    isa = instruction_set(board)
    convolution = next(task for task in tasks if task.shape and "conv" in task.name)
    dense = next(task for task in tasks if "dense" in task.name)
    trace = next(template_candidates(convolution, isa)).schedule.trace
    assert fit(trace, dense.module) is None


def test_a_pruned_network_begins_with_the_schedules_of_its_parent(
    board, tasks, pruned_tasks, tmp_path
):
    log = TuningLog(tmp_path)
    convolutions = [task for task in tasks if "conv2d" in task.name]
    tune(convolutions[:2], board, log, Tuning(trials=6, tuner="sketch"))
    target = tvm.target.Target(dict(board.target))
    transfer = Transfer(log, instruction_set(board), target)
    kinds = {signature(task.module).kind for task in convolutions[:2]}
    similar = [t for t in pruned_tasks if signature(t.module).kind in kinds]
    carried = [c for task in similar for c in transfer.candidates(task, 2)]
    assert carried
    assert_right(carried[0].schedule.mod, board, next(
        t for t in similar if list(transfer.candidates(t, 2))))  # fmt: skip


def test_functions_without_a_contraction_are_searched(board, tasks, tmp_path):
    pooled = next(task for task in tasks if task.shape is None)
    report = tune([pooled], board, TuningLog(tmp_path), Tuning(trials=4, round_size=4))
    assert report.measured_count + len(report.failed) == 4
    assert report.failed == ()


def test_a_task_is_left_when_nothing_improves(board, tasks, tmp_path):
    report = tune(tasks[-1:], board, TuningLog(tmp_path),
                  Tuning(trials=10_000, tuner="template", patience=6))  # fmt: skip
    assert report.ended == "nothing more to gain"
    assert report.measured_count < 100


def test_tuning_stops_when_the_time_is_up(board, tasks, tmp_path):
    report = tune(tasks, board, TuningLog(tmp_path), Tuning(trials=10_000, time_limit_s=1e-3))
    assert report.ended == "the time limit was reached"
    assert report.measured_count == 0


def test_a_list_is_gone_through_in_order():
    listed = CandidateList(iter("abcde"))
    assert [listed.propose(2), listed.propose(2), listed.propose(2), listed.propose(2)] == [
        ["a", "b"], ["c", "d"], ["e"], []]  # fmt: skip


def test_where_the_time_went_is_told(board, tasks, tmp_path):
    report = tune(tasks[-1:], board, TuningLog(tmp_path), Tuning(trials=2))
    assert set(report.stages_s) == {"propose", "lower", "llvm", "link", "measure"}
    assert all(seconds >= 0 for seconds in report.stages_s.values())


def test_the_space_of_a_function_without_floats_is_not_empty(board, integer_tasks):
    target = tvm.target.Target(dict(board.target))
    space = sketch_space(instruction_set(board), dot_dtype="int8")
    context = Context(integer_tasks[0].module, target, space=space)
    assert context.generate_design_space()


def test_layers_of_bfloat16_are_tiled_around_the_instruction_of_the_board(model):
    board = msgspec.structs.replace(
        targets.null(),
        target={"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "znver4", "num-cores": 1},
        architecture="x86_64",
    )
    prepared = prepare(run(model, (SixteenBit(),), None).model, board)
    tasks = [t for t in tasks_of([prepared.module], prepared.isa) if t.dot_dtype == "uint16"]
    assert len(tasks) >= 4
    space = sketch_space(prepared.isa, dot_dtype="uint16")
    target = tvm.target.Target(dict(board.target))
    (sketch, *_) = Context(tasks[0].module, target, space=space).generate_design_space()
    assert "vdpbf16ps" in str(sketch.trace)


def test_a_schedule_of_floats_is_not_carried_over_to_bfloat16(model, board):
    """Other extents aside, it has another instruction."""
    dense, half = (
        {signature(task.module).kind for task in tasks_of([prepared.module], prepared.isa)}
        for prepared in (
            prepare(m, board) for m in (model, run(model, (SixteenBit(),), None).model)
        )
    )
    assert any("uint16" in reads for kind in half for _, _, reads, _ in kind)
    assert not any("uint16" in reads for kind in dense for _, _, reads, _ in kind)


def test_layers_of_bfloat16_are_tuned(model, tmp_path):
    host = targets.host()
    prepared = prepare(run(model, (SixteenBit(),), None).model, host)
    task = next(t for t in tasks_of([prepared.module], prepared.isa) if t.dot_dtype == "uint16")
    log = TuningLog(tmp_path)
    report = tune([task], host, log, Tuning(trials=3, tuner="template"))
    assert report.measured_count == 3
    assert log.best(task.module) is not None

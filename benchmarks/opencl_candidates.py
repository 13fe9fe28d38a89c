"""Schedules of the GPU template, drawn at random, each compared with its function's default."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule.arg_info import ArgInfo

from adaspring.backends.build import Prepared
from adaspring.backends.candidate_worker import build_candidate
from adaspring.backends.schedule.gpu import default_gpu_schedule, template_schedules
from adaspring.backends.tuning.tasks import Task, tasks_of

_SEED = 0
_PER_FUNCTION = 5


def compare_candidates(networks: Sequence[Prepared], count: int) -> dict[str, Any]:
    """Run `count` schedules, a few of each function in turn; give those that differ."""
    wrong, compared, draw = [], 0, random.Random(_SEED)
    first = networks[0]
    tasks = tasks_of([each.module for each in networks], first.isa)
    while compared < count:
        before = compared
        for task in tasks:
            wanted = None
            for schedule in _drawn(task, first, draw, min(_PER_FUNCTION, count - compared)):
                if wanted is None:
                    wanted = _run(_default(task, first), task, first)
                found = _run(schedule, task, first)
                compared += 1
                if not np.allclose(found, wanted, rtol=1e-4, atol=1e-3 * np.abs(wanted).max()):
                    tiles = [list(map(int, tile)) for tile in schedule.trace.decisions.values()]
                    wrong.append(f"{task.name} by {tiles}")
            if compared >= count:
                break
        if compared == before:
            break  # no function has a template
    return {"compared_count": compared, "wrong": wrong}


def _default(task: Task, network: Prepared) -> Schedule:
    return default_gpu_schedule(task.module["main"], network.isa, network.target)


def _drawn(task: Task, network: Prepared, draw: random.Random, count: int) -> Iterator[Schedule]:
    known = list(template_schedules(task.module["main"], network.isa, network.target))
    yield from draw.sample(known, min(count, len(known)))


def _run(schedule: Schedule, task: Task, network: Prepared) -> np.ndarray:
    """What a schedule gives on the device, for inputs that are always the same."""
    board = network.board
    settings = json.dumps(dict(board.target)), board.architecture
    built = build_candidate(tvm.ir.save_json(schedule.mod), *settings)
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "code.so"
        code.write_bytes(built.code)
        main = tvm.runtime.load_module(str(code))["main"]
    tensors = [
        tvm.runtime.tensor(_values(index, argument), tvm.opencl(0))
        for index, argument in enumerate(ArgInfo.from_prim_func(task.module["main"]))
    ]
    main(*tensors)
    return tensors[-1].numpy().astype(np.float64)


def _values(index: int, argument: Any) -> np.ndarray:
    shape, dtype = [int(extent) for extent in argument.shape], str(argument.dtype)
    drawn = np.random.default_rng(index)
    if "int" in dtype:
        return drawn.integers(0, 3, shape).astype(dtype)
    return drawn.standard_normal(shape).astype(dtype)

"""The tuner: propose schedules, build and time them apart from this process, keep every record.

Each task's candidates come from its template's tiles, the most promising first. Every task gets a
first round; after that trials go where the most time is spent. Records are appended as they are
measured, and a schedule that the log already holds is not measured again, so a run that was
killed goes on where it stopped.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tvm
from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.schedule import ScheduleError
from tvm.support.popen_pool import PopenPoolExecutor, StatusKind

from ...targets import Board
from ..isa import InstructionSet, instruction_set
from ..kernels.schedule import new_schedule, schedule_contraction, tiles
from . import workers
from .log import TuningLog, best_of, trace_key
from .tasks import Task

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Settings: at most `trials` candidates in all, `round_size` of one task at a time."""

    trials: int
    round_size: int = 6
    timeout_s: float = 20.0


@dataclass(frozen=True, kw_only=True)
class TuningReport:
    """What a run of the tuner did; `failed` names each lost candidate with the reason."""

    measured_count: int
    reused_count: int
    failed: tuple[str, ...]
    elapsed_s: float


@dataclass
class _State:
    """One task's candidates that are still to try, and its best time so far."""

    task: Task
    pending: list[Schedule]
    best_s: float
    rounds: int = 0

    @property
    def gain(self) -> float:
        """Where trials pay: time spent in the task, less with every round that was spent on it."""
        return self.task.weight * self.best_s / (1 + self.rounds) ** 2


@dataclass
class _Outcome:
    measured: int = 0
    reused: int = 0
    failed: list[str] = field(default_factory=list)


def tune(
    tasks: Sequence[Task],
    board: Board,
    log: TuningLog,
    settings: Tuning,
    progress: Progress = lambda done, total: None,
) -> TuningReport:
    """Tune `tasks` on this machine, which is `board`; the records go to `log`."""
    start = time.monotonic()
    outcome = _Outcome()
    isa = instruction_set(board)
    states = [_state(task, isa, log, outcome) for task in tasks]
    total = min(settings.trials, sum(len(state.pending) for state in states))
    if total:
        with tempfile.TemporaryDirectory(prefix="adaspring-tune-") as folder:
            bench = _Bench(board, Path(folder), settings.timeout_s)
            try:
                _rounds(states, bench, log, settings, outcome, total, progress)
            finally:
                bench.close()
    return TuningReport(
        measured_count=outcome.measured,
        reused_count=outcome.reused,
        failed=tuple(outcome.failed),
        elapsed_s=time.monotonic() - start,
    )


def _rounds(states, bench, log, settings, outcome, total, progress) -> None:
    """Spend the trials, a round of one task at a time."""
    left = total
    progress(0, total)
    while left > 0:
        open_states = [state for state in states if state.pending]
        if not open_states:
            return
        state = max(open_states, key=lambda s: (s.rounds == 0, s.gain))
        count = min(settings.round_size, left)
        batch, state.pending = state.pending[:count], state.pending[count:]
        for sch, result in zip(batch, bench.measure(state.task, batch), strict=True):
            if isinstance(result, str):
                outcome.failed.append(f"{state.task.name}: {result}")
                continue
            log.add(state.task.module, sch.trace, result, bench.target)
            outcome.measured += 1
            state.best_s = min(state.best_s, best_of(result))
        state.rounds += 1
        left -= len(batch)
        progress(total - left, total)


def _state(task: Task, isa: InstructionSet, log: TuningLog, outcome: _Outcome) -> _State:
    known = log.measured(task.module)
    outcome.reused += len(known)
    pending = []
    for tile in tiles(task.shape, isa):
        sch = new_schedule(task.module["main"])
        try:
            schedule_contraction(sch, tile, isa)
        except ScheduleError:
            break  # the template does not fit this function's epilogue: no tile will
        if trace_key(sch.trace) not in known:
            pending.append(sch)
    best = min(known.values(), default=float("inf"))
    return _State(task, pending, best, rounds=len(known) // 6)


class _Bench:
    """Warm workers: as many builders as the machine has cores, and one that times alone."""

    def __init__(self, board: Board, folder: Path, timeout_s: float) -> None:
        self.board = board
        self.folder = folder
        self.target = tvm.target.Target(dict(board.target))
        setup = {"initializer": workers.start, "timeout": timeout_s}
        self.builders = PopenPoolExecutor(board.core_count, initargs=(1,), **setup)
        self.runner = PopenPoolExecutor(1, initargs=(board.core_count,), **setup)
        self.count = 0

    def close(self) -> None:
        self.builders.shutdown()
        self.runner.shutdown()

    def measure(self, task: Task, schedules: Sequence[Schedule]) -> list[list[float] | str]:
        """Times in seconds of each schedule, or why it was lost."""
        target = json.dumps(dict(self.board.target))
        outputs = [str(self.folder / f"{self.count + i}.so") for i in range(len(schedules))]
        self.count += len(schedules)
        inputs = [
            (tvm.ir.save_json(sch.mod), target, self.board.architecture, output)
            for sch, output in zip(schedules, outputs, strict=True)
        ]
        built = list(self.builders.map_with_error_catching(_build, inputs))
        arguments = [
            (tuple(int(extent) for extent in argument.shape), str(argument.dtype))
            for argument in ArgInfo.from_prim_func(task.module["main"])
        ]
        timed: list[list[float] | str] = []
        for status, output in zip(built, outputs, strict=True):
            if status.status != StatusKind.COMPLETE:
                timed.append(_reason("build", status))
                continue
            (result,) = self.runner.map_with_error_catching(_time, [(output, arguments)])
            ok = result.status == StatusKind.COMPLETE
            timed.append(result.value if ok else _reason("run", result))
            Path(output).unlink()
        return timed


def _build(job):
    return workers.build_candidate(*job)


def _time(job):
    return workers.time_candidate(*job)


def _reason(stage: str, result) -> str:
    text = str(result.value).strip().splitlines() or ["no message"]
    kind = "timed out" if result.status == StatusKind.TIMEOUT else text[-1]
    return f"{stage}: {kind}"

"""The tuner: propose schedules, build and time them apart from this process, keep every record.

Candidates are built side by side while others are timed; what comes back is appended to the log
at once, and a schedule that the log already holds is not measured again, so a run that was killed
goes on where it stopped. Each task begins with its default schedule and those of similar tasks;
after that trials go where the most time is spent and rounds still bring something.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain

from tvm.s_tir.meta_schedule.cost_model import CostModel
from tvm.target import Target

from ... import interrupts
from ...errors import UsageError
from ...targets import Board
from ..farm import Farm
from ..kernels.isa import instruction_set
from ..schedule.default import default_schedule
from .log.log import Origin, TuningLog
from .runner import Runner
from .search.gpu import gpu_candidates
from .search.model import cost_model
from .search.proposals import Candidate, CandidateList, Proposer, SketchSearch, template_candidates
from .search.transfer import Transfer
from .settings import Tuning, TuningReport
from .state import Round, TaskState
from .tasks import Task
from .workbench import Outcome, Workbench

Progress = Callable[[int, int], None]

_SIMILAR_TASKS = 3


def tune(
    tasks: Sequence[Task],
    board: Board,
    log: TuningLog,
    settings: Tuning,
    progress: Progress = lambda done, total: None,
    *,
    runner: Runner | None = None,
    farm: Farm | None = None,
    emulated: bool = False,
) -> TuningReport:
    """Tune `tasks` for `board`; the records go to `log`.

    Candidates are built on `farm` (worker processes of this machine where left out) and timed by
    `runner` (this machine, which then is the board, where left out). `emulated` marks the records
    of a board that is not the real one.

    Raises:
        UsageError: sketches are asked for, and the board is a GPU.
        BoardError: no board can time candidates any more; BuildError: the farm is gone, or the
            log cannot be written. What was measured until then is in the log.

    """
    if board.device != "cpu" and settings.tuner == "sketch":
        raise UsageError("--tuner sketch: there are no sketches for GPUs; choose template or auto")
    start_s = time.monotonic()
    with Workbench(board, settings.timeout_s, farm, runner) as bench:
        run = _Run(tasks, board, log, settings, bench, emulated)
        with interrupts.keep_interrupts():
            run.go(progress)
    return TuningReport(
        measured_count=run.measured_count,
        reused_count=sum(state.reused_count for state in run.states),
        failed=tuple(run.failed),
        elapsed_s=time.monotonic() - start_s,
        stages_s=dict(bench.stages_s),
        ended=run.ended,
    )


class _Run:
    """One run of the tuner: whose turn it is, and what becomes of each candidate."""

    def __init__(
        self,
        tasks: Sequence[Task],
        board: Board,
        log: TuningLog,
        settings: Tuning,
        bench: Workbench,
        emulated: bool,
    ) -> None:
        limit_s = float("inf") if settings.time_limit_s is None else settings.time_limit_s
        self.deadline_s = time.monotonic() + limit_s
        self.log, self.settings, self.bench = log, settings, bench
        self.target = Target(dict(board.target))
        self.isa = instruction_set(board)
        self.origin = Origin.now(board.name, emulated=emulated, seed=settings.seed)
        self.transfer = Transfer(log, self.isa, self.target)
        self.states = [TaskState(t, log, settings, self._proposers(t)) for t in tasks]
        self.started_count = self.measured_count = 0
        self.failed: list[str] = []
        self.ended = ""

    def go(self, progress: Progress) -> None:
        """Keep the workers busy until the trials, the time, or the ideas are used up."""
        progress(0, self.settings.trials)
        while True:
            while self.bench.needs_candidates and (state := self._next()) is not None:
                self._begin(state)
                interrupts.check()
            if not self.bench.in_flight:
                break
            interrupts.check()
            self._take(self.bench.next())
            progress(self.measured_count + len(self.failed), self.settings.trials)
        progress(self.started_count, self.started_count)

    def _proposers(self, task: Task) -> Iterator[Proposer]:
        """First what is expected good, then the template's knobs, then a search."""
        if self.target.host is not None:
            yield CandidateList(
                gpu_candidates(task, self.isa, self.target, self.transfer, _SIMILAR_TASKS)
            )
            return
        plain = Candidate(default_schedule(task.module["main"], self.isa), "rule")
        template = template_candidates(task, self.isa) if self.settings.tuner != "sketch" else ()
        similar = self.transfer.candidates(task, _SIMILAR_TASKS)
        yield CandidateList(chain((plain,), self.transfer.older(task), similar, template))
        if self.settings.tuner != "template":
            yield SketchSearch(
                task,
                self.isa,
                self.target,
                self.model,
                [r for r in self.log.records(task.module) if r.tuner == "sketch"],
                round_size=self.settings.round_size,
                thread_count=self.bench.core_count,
                seed=self.settings.seed + 1,  # TVM takes 0 for a seed of its own
            )

    @cached_property
    def model(self) -> CostModel:
        """The cost model, made when the first search begins."""
        return cost_model(self.log, self.target, self.bench.core_count)

    def _next(self) -> TaskState | None:
        """The task that the next round pays most for; None where nothing may begin now."""
        if self.started_count >= self.settings.trials:
            self.ended = "all trials were used"
        elif time.monotonic() > self.deadline_s:
            self.ended = "the time limit was reached"
        elif all(state.over for state in self.states):
            self.ended = "nothing more to gain"
        if self.ended:
            return None
        idle = [state for state in self.states if not state.over and not state.busy]
        return max(idle, key=lambda state: state.priority, default=None)

    def _begin(self, state: TaskState) -> None:
        """Propose a round of a task and send it on its way."""
        with self.bench.hold_timing():
            begun = state.propose(self.settings.trials - self.started_count)
        if begun is None:
            return
        state.busy = True
        fresh = begun.missing
        self.started_count += len(fresh)
        for position in fresh:
            self.bench.submit(begun, position)
        self._end_if_complete(begun)

    def _take(self, outcome: Outcome) -> None:
        """Keep what was found of a candidate."""
        task = outcome.round.state.task
        candidate = outcome.round.candidates[outcome.position]
        trace, origin = candidate.schedule.trace, self.origin.by(candidate.tuner)
        if outcome.seconds is None:
            self.failed.append(f"{task.name}: {outcome.reason}")
            self.log.add_lost(task.module, trace, outcome.reason, origin)
        else:
            self.log.add(task.module, trace, outcome.seconds, self.target, origin)
            self.measured_count += 1
        outcome.round.results[outcome.position] = outcome.seconds
        self._end_if_complete(outcome.round)

    def _end_if_complete(self, done: Round) -> None:
        if not done.missing:
            with self.bench.hold_timing():
                done.state.take(done)
            done.state.busy = False

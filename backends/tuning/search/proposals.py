"""Where a task's candidates come from: lists to go through, and a search of sketches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule.cost_model import CostModel
from tvm.s_tir.meta_schedule.database import MemoryDatabase, TuningRecord
from tvm.s_tir.meta_schedule.runner import RunnerResult
from tvm.s_tir.meta_schedule.search_strategy import EvolutionarySearch, MeasureCandidate
from tvm.s_tir.schedule import ScheduleError
from tvm.target import Target

from ...kernels.isa import InstructionSet
from ...schedule.contraction import new_schedule, tiles
from ...schedule.winograd import apply_template
from ..log.log import Record, trace_key
from ..tasks import Task
from .context import Context
from .space import sketch_space

# An eighth of TVM's population and half of its generations: with TVM's, proposing would take longer
# than building and measuring together.
_POPULATION, _GENERATIONS = 64, 2
_LOST_S = 1e10


@dataclass(frozen=True)
class Candidate:
    """One schedule to measure, and which tuner proposed it."""

    schedule: Schedule
    tuner: str

    @property
    def key(self) -> str:
        """The same text for the same schedule."""
        return trace_key(self.schedule.trace)


class Proposer(Protocol):
    """Gives a task's candidates, and hears how they fared."""

    def propose(self, count: int) -> list[Candidate]:
        """The next candidates, about `count`; none where there are no more."""

    def learn(self, candidates: Sequence[Candidate], results: Sequence[list[float] | None]) -> None:
        """Hear the seconds of what was proposed, None for what was lost."""


class CandidateList:
    """Candidates that are known ahead, in their order."""

    def __init__(self, candidates: Iterator[Candidate]) -> None:
        self._rest = candidates

    def propose(self, count: int) -> list[Candidate]:
        """The next `count`."""
        return list(islice(self._rest, count))

    def learn(self, candidates: Sequence[Candidate], results: Sequence[list[float] | None]) -> None:
        """Nothing: the order is fixed."""


def template_candidates(task: Task, isa: InstructionSet) -> Iterator[Candidate]:
    """The hand-written schedule with each of its tiles, the most promising first."""
    for tile in tiles(task.shape, isa) if task.shape else ():
        sch = new_schedule(task.module["main"])
        try:
            apply_template(sch, tile, isa)
        except ScheduleError:
            return  # the template does not fit this function's epilogue: no tile will
        yield Candidate(sch, "template")


class SketchSearch:
    """Evolutionary search over derived sketches, guided by a cost model (Ansor's way).

    `known` are measured sketches of this task: the search goes on from the best of them.
    Source: Zheng et al., "Ansor", OSDI 2020, section 5.
    """

    def __init__(
        self,
        task: Task,
        isa: InstructionSet,
        target: Target,
        model: CostModel,
        known: Sequence[Record],
        *,
        round_size: int,
        thread_count: int,
        seed: int,
    ) -> None:
        self._target = target
        self._model = model
        self._database = MemoryDatabase()
        self._workload = self._database.commit_workload(task.module)
        self._context = Context(
            task.module,
            target,
            space=sketch_space(isa, dot_dtype=task.dot_dtype),
            strategy=EvolutionarySearch(
                population_size=_POPULATION,
                genetic_num_iters=_GENERATIONS,
                init_min_unmeasured=_POPULATION // 4,
            ),
            thread_count=thread_count,
            seed=seed,
        )
        self._proposed: list[MeasureCandidate] = []
        for record in known:
            self._keep(record.trace, record.run_secs)
        self._context.pre_tuning(
            max_trials=1 << 30,
            num_trials_per_iter=round_size,
            design_spaces=self._context.generate_design_space(),
            database=self._database,
            cost_model=model,
        )

    def propose(self, count: int) -> list[Candidate]:
        """The next round (its size is fixed), the ones expected fastest and a few at random."""
        self._proposed = list(self._context.generate_measure_candidates() or ())
        return [Candidate(proposed.sch, "sketch") for proposed in self._proposed]

    def learn(self, candidates: Sequence[Candidate], results: Sequence[list[float] | None]) -> None:
        """Put the results before the search and the cost model."""
        for candidate, seconds in zip(candidates, results, strict=True):
            if seconds is not None:
                self._keep(candidate.schedule.trace, seconds)
        told = [RunnerResult(seconds or [_LOST_S], None) for seconds in results]
        self._model.update(self._context, self._proposed, told)
        self._context.notify_runner_results(self._proposed, told)

    def _keep(self, trace, seconds: Sequence[float]) -> None:
        self._database.commit_tuning_record(
            TuningRecord(trace, self._workload, list(seconds), self._target, None)
        )

"""How one task goes: where its candidates come from, what is known of it, when to leave it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tvm.s_tir.meta_schedule.arg_info import ArgInfo

from .log.log import TuningLog, best_of
from .runner import Arguments
from .search.proposals import Candidate, CandidateList, Proposer
from .settings import Tuning
from .tasks import Task

_LIST_ROUND = 6
_GAIN_RATIO = 0.99
_STALE_ROUNDS = 3


@dataclass
class Round:
    """Candidates of one task that are measured together; `results` by position, None: lost."""

    state: TaskState
    candidates: list[Candidate]
    results: dict[int, list[float] | None] = field(default_factory=dict)

    @property
    def missing(self) -> list[int]:
        """The positions without a result."""
        return [i for i in range(len(self.candidates)) if i not in self.results]


class TaskState:
    """One task on its way. A schedule that was measured or lost before is not tried again."""

    def __init__(
        self, task: Task, log: TuningLog, settings: Tuning, proposers: Iterator[Proposer]
    ) -> None:
        self.task = task
        self.arguments: Arguments = [
            (tuple(int(extent) for extent in argument.shape), str(argument.dtype))
            for argument in ArgInfo.from_prim_func(task.module["main"])
        ]
        self.busy = False
        self._settings = settings
        self._measured = dict(log.measured(task.module))
        self._lost = set(log.lost(task.module))
        self.reused_count = len(self._measured)
        self._rounds = self.reused_count // settings.round_size
        self._last_gain = 0.0
        self._stale = self._stale_rounds = 0
        self._proposers = proposers
        self._proposer = next(proposers, None)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to propose, or it has stopped paying."""
        return self._proposer is None

    @property
    def priority(self) -> tuple[bool, float]:
        """Untouched tasks first; then by the time spent in the task, and what rounds bring."""
        best_s = min(self._measured.values(), default=float("inf"))
        hope = self._last_gain + 1 / (1 + self._rounds) ** 2
        return self._rounds == 0, self.task.weight * best_s * hope

    def propose(self, count: int) -> Round | None:
        """The next round, at most `count` of it not known already; None where it is over."""
        while self._proposer is not None:
            size = (
                _LIST_ROUND
                if isinstance(self._proposer, CandidateList)
                else self._settings.round_size
            )
            candidates = self._proposer.propose(min(size, count))
            if candidates and self._stale_rounds < _STALE_ROUNDS:
                return self._round(candidates, count)
            self._advance()
        return None

    def _round(self, candidates: list[Candidate], count: int) -> Round:
        begun = Round(self, candidates)
        seen: set[str] = set()
        for position, candidate in enumerate(candidates):
            key = candidate.key
            if key in self._measured:
                begun.results[position] = [self._measured[key]]
            elif key in self._lost or key in seen or len(seen) >= count:
                begun.results[position] = None
            else:
                seen.add(key)
        self._stale_rounds = 0 if seen else self._stale_rounds + 1
        return begun

    def take(self, done: Round) -> None:
        """Learn from a round that is complete."""
        assert self._proposer is not None
        results = [done.results[i] for i in range(len(done.candidates))]
        self._proposer.learn(done.candidates, results)
        before = min(self._measured.values(), default=None)
        for candidate, seconds in zip(done.candidates, results, strict=True):
            if seconds is None:
                self._lost.add(candidate.key)
            else:
                self._measured[candidate.key] = best_of(seconds)
        after = min(self._measured.values(), default=None)
        self._rounds += 1
        self._last_gain = 1 - after / before if before and after else 0.0
        better = after is not None and (before is None or after < _GAIN_RATIO * before)
        self._stale = 0 if better else self._stale + len(results)
        if self._stale >= self._settings.patience:
            self._advance()

    def _advance(self) -> None:
        """Go on to the next source of candidates; none after the last."""
        self._proposer = next(self._proposers, None)
        self._stale = self._stale_rounds = 0

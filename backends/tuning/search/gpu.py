"""Where candidates for GPUs come from: DLight's rules, similar tasks, every tile of our template.

What asks for more threads or memory than the board's target allows is not built.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule.postproc import VerifyGPUCode
from tvm.s_tir.meta_schedule.space_generator import PostOrderApply
from tvm.s_tir.schedule import ScheduleError
from tvm.target import Target

from ...kernels.isa import InstructionSet
from ...schedule.default import replay
from ...schedule.gpu import default_gpu_schedule, rule_schedules, template_schedules
from ...schedule.gpu_contraction import MOST_SUMS, sums_of
from ..tasks import Task
from .context import Context
from .proposals import Candidate
from .transfer import Transfer


def gpu_candidates(
    task: Task, isa: InstructionSet, target: Target, transfer: Transfer, similar_count: int
) -> Iterator[Candidate]:
    """The schedule that it has untuned, those of similar tasks, DLight's, the template's tiles."""
    function, limits = task.module["main"], Limits(task, target)
    untuned = default_gpu_schedule(function, isa, target)
    found = chain(
        (Candidate(sch, "rule") for sch in _as_records(task, untuned)),
        transfer.candidates(task, similar_count),
        (
            Candidate(sch, "rule")
            for ruled in rule_schedules(function, target)
            for sch in _as_records(task, ruled)
        ),
        (Candidate(sch, "template") for sch in template_schedules(function, isa, target)),
    )
    return (candidate for candidate in found if limits.hold(candidate.schedule))


class Limits:
    """What a kernel may use: threads in a group and local memory (the target's), registers."""

    def __init__(self, task: Task, target: Target) -> None:
        self._check = VerifyGPUCode()
        space = PostOrderApply(sch_rules=[], postprocs=[self._check], mutator_probs={})
        self._context = Context(task.module, target, space=space)  # keeps what the check reads

    def hold(self, schedule: Schedule) -> bool:
        """Whether a schedule keeps them."""
        return sums_of(schedule.trace) <= MOST_SUMS and bool(self._check.apply(schedule))


def _as_records(task: Task, ruled: Schedule) -> Iterator[Schedule]:
    """A schedule as a record will give it again, from its trace alone; none where that fails."""
    with suppress(ScheduleError):
        yield replay(task.module["main"], ruled.trace)

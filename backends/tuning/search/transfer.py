"""Schedules carried over from the most similar functions that the log knows.

A pruned or factorized variant has the functions of its parent with other extents, and what is fast
for one is nearly fast for the other (Gibson and Cano, "Transfer-Tuning: Reusing Auto-Schedules for
Efficient Tensor Program Code Generation", PACT 2022). A record's schedule is replayed on the new
function, each of its tile sizes replaced by the nearest that divides the new extent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tvm import IRModule
from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule.space_generator import PostOrderApply
from tvm.s_tir.schedule import ScheduleError, Trace
from tvm.target import Target

from ...kernels.isa import InstructionSet
from ...schedule.contraction import new_schedule
from ...schedule.default import replay
from ..log.log import Record, TuningLog, Workload
from ..tasks import Task
from .context import Context
from .proposals import Candidate
from .space import sketch_space

_PER_FUNCTION, _OLDER = 3, 6


@dataclass(frozen=True)
class Signature:
    """What two functions must share to share schedules (`kind`), and what may differ."""

    kind: tuple[tuple[str, str, tuple[str, ...], int], ...]
    extents: tuple[int, ...]

    def distance(self, other: Signature) -> float:
        """How far apart the extents are, in octaves; infinite for another kind of function."""
        if self.kind != other.kind:
            return math.inf
        pairs = zip(self.extents, other.extents, strict=True)
        return sum(abs(math.log2(ours / theirs)) for ours, theirs in pairs)


def signature(module: IRModule) -> Signature:
    """Name, types written and read, and rank of every block, and every block's extents."""
    sch = new_schedule(module["main"])
    blocks = [sch.get(rv) for rv in sch.get_child_blocks(sch.get_sblock("root"))]
    kind = tuple(
        (
            str(block.name_hint),
            str(block.writes[0].source.dtype),
            tuple(str(region.source.dtype) for region in block.reads),
            len(block.iter_vars),
        )
        for block in blocks
    )
    extents = tuple(int(var.dom.extent) for block in blocks for var in block.iter_vars)
    return Signature(kind, extents)


class Transfer:
    """The functions of a log, to find the most similar ones of a task."""

    def __init__(self, log: TuningLog, isa: InstructionSet, target: Target) -> None:
        self._log, self._isa, self._target = log, isa, target
        self._known = [
            (signature(workload.module), workload)
            for workload in log.workloads()
            if workload.records_count
        ]

    def older(self, task: Task) -> Iterator[Candidate]:
        """The best schedules of the task's own function whose times are those of older code."""
        for record in self._log.records(task.module, limit=_OLDER):
            if not record.is_current:
                yield Candidate(replay(task.module["main"], record.trace), record.tuner)

    def candidates(self, task: Task, count: int) -> Iterator[Candidate]:
        """The best schedules of `count` similar functions, nearest first, fitted to `task`."""
        ours = signature(task.module)
        near = [(ours.distance(theirs), workload) for theirs, workload in self._known]
        near = [p for p in near if p[0] < math.inf and not p[1].holds(task.module)]
        context = Context(task.module, self._target, space=self._space(task))
        for _, workload in sorted(near, key=lambda pair: pair[0])[:count]:
            for record in self._log.records(workload, limit=_PER_FUNCTION):
                fitted = _finish(record.trace, context)
                if fitted is not None:
                    yield Candidate(fitted, record.tuner)

    def _space(self, task: Task) -> PostOrderApply | None:
        """What finishes a sketch, of which there are none for GPUs."""
        if self._target.host is not None:
            return None
        return sketch_space(self._isa, dot_dtype=task.dot_dtype)


def _finish(trace: Trace, context: Context) -> Schedule | None:
    """A record's schedule on the context's function, a sketch's last steps done anew."""
    fitted = fit(trace, context.mod)
    if fitted is None or not any(i.kind.name == "EnterPostproc" for i in trace.insts):
        return fitted
    fitted.enter_postproc()
    passed = all(step.apply(fitted) for step in context.space_generator.postprocs)
    return fitted if passed else None


def fastest_known(log: TuningLog) -> Callable[[IRModule], Record | None]:
    """The fastest record of a function, or of one that differs from it in constants alone.

    An 8-bit layer has its scales in its code, and training anew changes them, not what is fast.
    """
    twins: dict[Signature, Workload] = {}

    def fastest(module: IRModule) -> Record | None:
        own = log.records(module, limit=1)
        if own:
            return own[0]
        if not twins:
            twins.update((signature(w.module), w) for w in log.workloads() if w.records_count)
        twin = twins.get(signature(module))
        return log.records(twin, limit=1)[0] if twin else None

    return fastest


def best_known(log: TuningLog) -> Callable[[IRModule], Trace | None]:
    """The schedule of the fastest record that is known (`fastest_known`)."""
    fastest = fastest_known(log)

    def best(module: IRModule) -> Trace | None:
        record = fastest(module)
        return None if record is None else record.trace

    return best


def fit(trace: Trace, module: IRModule) -> Schedule | None:
    """Replay `trace` on another function, tile sizes fitted; None where a loop or block is missing.

    What the sketch tuner's last steps did is left out: they depend on the sizes.
    """
    sch = new_schedule(module["main"])

    def decide(instruction, inputs, attributes, decision):
        if instruction.kind.name != "SamplePerfectTile":
            return decision
        return nearest_tiles(int(sch.get(inputs[0]).extent), [int(d) for d in decision])

    try:
        trace.apply_to_schedule(sch, remove_postproc=True, decision_provider=decide)
    except (ScheduleError, RuntimeError, ValueError, IndexError):
        return None
    return sch


def nearest_tiles(extent: int, tiles: Sequence[int]) -> list[int]:
    """Factors of `extent`, each the nearest to the wanted one, the innermost chosen first."""
    found, left = [], extent
    for wanted in reversed(tiles[1:]):
        divisors = [d for d in range(1, left + 1) if left % d == 0]
        found.append(min(divisors, key=lambda d: abs(math.log2(d / wanted))))
        left //= found[-1]
    return [left, *reversed(found)]

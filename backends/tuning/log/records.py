"""What a log tells: functions that were tuned, their measured schedules, and what was lost."""

from __future__ import annotations

import base64
import math
import statistics
from dataclasses import dataclass, field
from functools import cached_property

import tvm_ffi
from tvm import IRModule
from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule.database import Workload as SavedWorkload
from tvm.s_tir.schedule import Trace

from ....errors import BuildError
from .lines import best_of, check_depth
from .origin import Origin, is_current, rank_of
from .trace import trace_from_json, trace_key


@dataclass(eq=False)
class Workload:
    """A function that was tuned, with its measured schedules in the order of their measuring.

    `text` is its module as TVM saves it, `where` the line that it was read from. `lost` holds the
    keys of candidates that could not be measured, each with what is known of it.
    """

    hash: str
    text: str = field(repr=False)
    where: str
    measured: list[Record] = field(default_factory=list, repr=False)
    failed: list[Record] = field(default_factory=list, repr=False)

    @property
    def records_count(self) -> int:
        """How many measured schedules there are."""
        return len(self.measured)

    @property
    def best_s(self) -> float:
        """The least time of any schedule; infinite where none was measured."""
        return min((record.best_s for record in self.measured), default=math.inf)

    @cached_property
    def module(self) -> IRModule:
        """The function as a module of its own, named `main`."""
        try:
            check_depth(base64.b64decode(self.text))
            return SavedWorkload.from_json([self.hash, self.text]).mod
        except Exception as error:  # whatever TVM raises for text that is not its own
            raise BuildError(
                f"{self.where}: the function cannot be read ({_last_line(error)}); "
                "tune from scratch into another log"
            ) from error

    @cached_property
    def block_names(self) -> tuple[str, ...]:
        """The names of its blocks, in their order."""
        return block_names(self.module)

    def holds(self, module: IRModule) -> bool:
        """Whether `module` is this function, so that schedules of the one are of the other.

        TVM's equality does not see the names of blocks; schedules find blocks by them.
        """
        same = tvm_ffi.structural_equal(self.module, module)
        return same and self.block_names == block_names(module)


@dataclass(frozen=True, eq=False)
class Record:
    """A measured schedule. All repeats are kept; the least is what counts."""

    workload: Workload = field(repr=False)
    trace_json: bytes = field(repr=False)
    run_secs: tuple[float, ...]
    origin: Origin | None
    where: str

    @cached_property
    def trace(self) -> Trace:
        """The schedule."""
        try:
            return trace_from_json(self.trace_json, self.workload.module)
        except Exception as error:  # whatever TVM raises for text that is not its own
            raise BuildError(
                f"{self.where}: the schedule cannot be read ({_last_line(error)}); delete that line"
            ) from error

    @cached_property
    def key(self) -> str:
        """What tells the schedule from others."""
        return trace_key(self.trace)

    @cached_property
    def best_s(self) -> float:
        """The least of the times."""
        return best_of(self.run_secs)

    @property
    def noise_ratio(self) -> float:
        """How far the median lies above the least time: (median - min) / min."""
        return statistics.median(self.run_secs) / self.best_s - 1

    @property
    def rank(self) -> tuple[bool, float]:
        """By what one is preferred to another (`rank_of`)."""
        return rank_of(self.origin, self.best_s)

    @property
    def is_current(self) -> bool:
        """Whether its times are those of the code that is generated now."""
        return is_current(self.origin)

    @property
    def tuner(self) -> str:
        """What proposed the schedule, or `unknown`."""
        return self.origin.tuner if self.origin else "unknown"


@dataclass(frozen=True)
class Loss:
    """A candidate that was not measured: its trace's key, why, and where it was tried."""

    key: str
    reason: str
    origin: Origin | None


def block_names(module: IRModule) -> tuple[str, ...]:
    """The names of the blocks of `main`, in their order."""
    sch = Schedule(module)
    root = sch.get_sblock(str(module["main"].body.block.name_hint))
    return tuple(str(sch.get(block).name_hint) for block in sch.get_child_blocks(root))


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]

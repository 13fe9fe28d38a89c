"""Measured schedules of one board: append-only files that a second run, or a second host, reads.

The records are MetaSchedule's (one JSON line each): `workloads.jsonl` holds each distinct
function, `records.jsonl` each measured schedule of one, its times and its target.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from tvm import IRModule
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord
from tvm.s_tir.schedule import Trace
from tvm.target import Target

from ...errors import BuildError

_log = logging.getLogger(__name__)


class TuningLog:
    """The tuning log of one board, in `folder`; it is made where it does not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        workloads, self.records = folder / "workloads.jsonl", folder / "records.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in (workloads, self.records):
                _drop_torn_line(path)
            self.database = JSONDatabase(str(workloads), str(self.records))
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise BuildError(
                f"the tuning log {folder} cannot be read ({reason}); move it away to tune afresh"
            ) from error

    def measured(self, module: IRModule) -> dict[str, float]:
        """Seconds of every measured schedule of `module`, by its trace."""
        return {trace_key(r.trace): best_of(r.run_secs) for r in self._records(module)}

    def best(self, module: IRModule) -> Trace | None:
        """The fastest schedule of `module`, or None where none was measured."""
        fastest = min(self._records(module), key=lambda r: best_of(r.run_secs), default=None)
        return None if fastest is None else fastest.trace

    def _records(self, module: IRModule) -> list[TuningRecord]:
        if not self.database.has_workload(module):
            return []
        return list(self.database.get_top_k(self.database.commit_workload(module), 1 << 20))

    def add(self, module: IRModule, trace: Trace, run_secs: list[float], target: Target) -> None:
        """Append one measured schedule; BuildError where the disk did not take it."""
        before = self.records.stat().st_size
        self.database.commit_tuning_record(
            TuningRecord(
                trace,
                self.database.commit_workload(module),
                run_secs,
                target,
                ArgInfo.from_prim_func(module["main"]),
            )
        )
        if self.records.stat().st_size <= before:  # TVM does not say when its write fails
            raise BuildError(
                f"{self.records} could not be written; free some space: the same command goes on"
            )


def trace_key(trace: Trace) -> str:
    """The same text for the same schedule, whether made now or read from a file."""
    return "\n".join(str(line) for line in trace.as_python())


def best_of(run_secs: Iterable[float]) -> float:
    """The least of several timings: what disturbs a run only ever makes it longer."""
    return min(float(second) for second in run_secs)


def _drop_torn_line(path: Path) -> None:
    """Cut what follows the last line break: the write that a kill or a full disk broke off."""
    if not path.exists():
        path.touch()
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole == len(data):
        return
    _log.warning("%s: its last record was torn and is dropped", path)
    temporary = path.with_suffix(".repair")
    temporary.write_bytes(data[:whole])
    os.replace(temporary, path)

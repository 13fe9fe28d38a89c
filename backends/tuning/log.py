"""Measured schedules of one board: append-only files that a second run, or a second host, reads.

The records are MetaSchedule's (one JSON line each): `workloads.jsonl` holds each distinct
function, `records.jsonl` each measured schedule of one, its times and its target.
"""

from __future__ import annotations

import logging
import os
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
        workloads, records = folder / "workloads.jsonl", folder / "records.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in (workloads, records):
                _drop_torn_line(path)
            self.database = JSONDatabase(str(workloads), str(records))
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise BuildError(
                f"the tuning log {folder} cannot be read ({reason}); move it away to tune afresh"
            ) from error

    def measured(self, module: IRModule) -> dict[str, float]:
        """Median seconds of every measured schedule of `module`, by its trace."""
        workload = self.database.commit_workload(module)
        records = self.database.get_top_k(workload, 1 << 20)
        return {trace_key(record.trace): _median(record.run_secs) for record in records}

    def add(self, module: IRModule, trace: Trace, run_secs: list[float], target: Target) -> None:
        """Append one measured schedule."""
        self.database.commit_tuning_record(
            TuningRecord(
                trace,
                self.database.commit_workload(module),
                run_secs,
                target,
                ArgInfo.from_prim_func(module["main"]),
            )
        )


def trace_key(trace: Trace) -> str:
    """The same text for the same schedule, whether made now or read from a file."""
    return "\n".join(str(line) for line in trace.as_python())


def _median(values) -> float:
    ordered = sorted(float(value) for value in values)
    return ordered[len(ordered) // 2]


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

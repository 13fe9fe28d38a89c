"""Measured schedules of one board: append-only files that a second run, or a second host, reads.

A log is a folder. `workloads.jsonl` holds each distinct function and `records.jsonl` each measured
schedule of one, its times and its target, as MetaSchedule's JSONDatabase writes and reads them;
`lost.jsonl` holds the candidates that could not be measured. docs/tuning-logs.md says more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tvm import IRModule
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.database import Workload as SavedWorkload
from tvm.s_tir.schedule import Trace
from tvm.target import Target

from ....errors import BuildError
from .files import write_error, writing
from .folder import LogFolder
from .index import Index, hash_of
from .lines import LostLine, Measurement, RecordLine, WorkloadLine, are_times, best_of
from .origin import Origin, tvm_version
from .records import Loss, Record, Workload
from .trace import trace_as_json, trace_key

__all__ = ["Loss", "Origin", "Record", "TuningLog", "Workload", "best_of", "trace_key"]


class TuningLog:
    """The tuning log in `folder`, over `shipped` ones that are only read.

    `folder` is made when something is first written. Several processes may write to it at once;
    each sees what the others wrote when it writes itself.

    Raises:
        BuildError: a folder cannot be read, or one of its lines is damaged.

    """

    def __init__(self, folder: Path, shipped: Iterable[Path] = ()) -> None:
        self.folder = folder
        here = folder.resolve()
        self._shipped = tuple(path for path in shipped if path.resolve() != here)
        self._forget()
        self._own.read()
        self._read_shipped()

    def _forget(self) -> None:
        self._index = Index()
        self._own = LogFolder(self.folder, self._index)

    def _read_shipped(self) -> None:
        for folder in self._shipped:
            LogFolder(folder, self._index).read()

    def workloads(self) -> tuple[Workload, ...]:
        """All functions, in the order in which they came."""
        return tuple(self._index.workloads)

    def records(self, of: IRModule | Workload, limit: int | None = None) -> tuple[Record, ...]:
        """The measured schedules of a function, the fastest first; `limit` of them at most.

        Those that were measured in code as it is generated now come before all others.
        """
        workload = of if isinstance(of, Workload) else self._index.find(of)
        measured = workload.measured if workload else ()
        return tuple(sorted(measured, key=lambda record: record.rank)[:limit])

    def measured(self, module: IRModule) -> dict[str, float]:
        """Seconds of every schedule of `module` that need not be measured again, by its key."""
        slowest_first = reversed(self.records(module))
        return {record.key: record.best_s for record in slowest_first if record.is_current}

    def best(self, module: IRModule) -> Trace | None:
        """The fastest schedule of `module`, or None where none was measured."""
        fastest = self.records(module, limit=1)
        return fastest[0].trace if fastest else None

    def losses(self, workload: Workload) -> tuple[Loss, ...]:
        """Every candidate of a function that was lost, whatever lost it."""
        failed = (Loss(r.key, "MetaSchedule recorded no time", r.origin) for r in workload.failed)
        return (*failed, *self._index.losses(workload.hash))

    def lost(self, module: IRModule) -> set[str]:
        """Keys of the candidates of `module` that this version of TVM need not try again."""
        workload = self._index.find(module)
        losses = self.losses(workload) if workload else self._index.losses(hash_of(module))
        installed = tvm_version()
        return {
            loss.key
            for loss in losses
            if loss.origin is None or loss.origin.tvm_version == installed
        }

    def add(
        self,
        module: IRModule,
        trace: Trace,
        run_secs: Sequence[float],
        target: Target,
        origin: Origin | None = None,
    ) -> None:
        """Append one measured schedule.

        Raises:
            BuildError: these are no times, or it could not be written. The log is as it was.

        """
        if not are_times(run_secs):
            raise BuildError(f"{list(run_secs)} are no times of a schedule, which lie above 0 s")
        measurement = _measurement(module, trace, run_secs, target, origin)
        with self._writing():
            position = self._own.append_workload(self._line_of(module))
            self._own.append_record(RecordLine(position, measurement))

    def add_lost(self, module: IRModule, trace: Trace, reason: str, origin: Origin) -> None:
        """Append one candidate that could not be measured; `add` says what may be raised."""
        line = LostLine(hash_of(module), trace_key(trace), reason, origin.tag())
        with self._writing():
            self._own.append_workload(self._line_of(module))
            self._own.append_lost(line)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Alone with the files, and up to date with them."""
        with writing(self.folder):
            replaced = self._own.was_replaced()
            if replaced:
                self._forget()
            try:
                self._own.read_on()
            except OSError as error:
                raise write_error(self.folder, error) from error
            if replaced:
                self._read_shipped()
            yield

    def _line_of(self, module: IRModule) -> WorkloadLine:
        known = self._index.find(module)
        if known is not None:
            return WorkloadLine(known.hash, known.text)
        return WorkloadLine(*SavedWorkload(module).as_json())


def _measurement(
    module: IRModule,
    trace: Trace,
    run_secs: Sequence[float],
    target: Target,
    origin: Origin | None,
) -> Measurement:
    arguments = [argument.as_json() for argument in ArgInfo.from_prim_func(module["main"])]
    target_json = msgspec.json.decode(str(target))
    if origin is not None:
        target_json["tag"] = origin.tag()
    return Measurement(
        trace=msgspec.Raw(trace_as_json(trace)),
        run_secs=tuple(run_secs),
        target=target_json,
        arguments=msgspec.Raw(msgspec.json.encode(arguments)),
    )

"""One folder of a log, read into an index; what others append to it is read on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ....errors import BuildError
from .files import LineFile, reading
from .index import Index
from .lines import (
    LOST,
    RECORDS,
    WORKLOADS,
    Line,
    LostLine,
    RecordLine,
    WorkloadLine,
    damaged,
    decode,
    encode,
)
from .records import Record, Workload


class LogFolder:
    """The three files of `folder`, as far as they were read."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self._index = index
        self._positions: list[Workload] = []  # a record names its function by its line
        self._workloads, self._records, self._lost = (
            LineFile(folder / name) for name in (WORKLOADS, RECORDS, LOST)
        )

    def read(self) -> None:
        """Read while nobody writes.

        Raises:
            BuildError: the folder cannot be read, or a line is damaged.

        """
        try:
            with reading(self.folder):
                self.read_on()
        except OSError as error:
            raise BuildError(
                f"the tuning log {self.folder} cannot be read: {error}; fix its permissions, or "
                "move it away to tune from scratch"
            ) from error

    def was_replaced(self) -> bool:
        """Whether what was read is no longer there: the log was compacted."""
        return any(f.was_replaced() for f in (self._workloads, self._records, self._lost))

    def read_on(self) -> None:
        """Take what was appended since the last reading."""
        for workload, where, _ in new_lines(self._workloads, WorkloadLine):
            self._positions.append(self._index.take_workload(workload, where))
        for record, where, number in new_lines(self._records, RecordLine):
            if not 0 <= record.workload < len(self._positions):
                why = f"function {record.workload}, but {WORKLOADS} has {len(self._positions)}"
                raise damaged(self._records.path, number, why)
            self._take_record(record, where)
        for lost, _, _ in new_lines(self._lost, LostLine):
            self._index.take_loss(lost)

    def append_workload(self, line: WorkloadLine) -> int:
        """The line of a function, appended where this folder does not have it."""
        workload = self._index.take_workload(line, str(self._workloads.path))
        if workload not in self._positions:
            self._workloads.append(encode(line), sync=True)
            self._positions.append(workload)
        return self._positions.index(workload)

    def append_record(self, line: RecordLine) -> None:
        """Append a measured schedule."""
        self._records.append(encode(line))
        self._take_record(line, f"{self._records.path}, line {self._records.lines_count}")

    def append_lost(self, line: LostLine) -> None:
        """Append a candidate that was lost."""
        self._lost.append(encode(line))
        self._index.take_loss(line)

    def _take_record(self, line: RecordLine, where: str) -> None:
        workload, found = self._positions[line.workload], line.measurement
        record = Record(
            workload=workload,
            trace_json=bytes(found.trace),
            run_secs=found.run_secs or (),
            origin=found.origin,
            where=where,
        )
        (workload.failed if found.failed else workload.measured).append(record)


def new_lines(file: LineFile, kind: type[Line]) -> Iterator[tuple[Line, str, int]]:
    """Each new line, where it is, and its number."""
    number = file.lines_count
    for text in file.read_on():
        number += 1
        yield decode(kind, text, file.path, number), f"{file.path}, line {number}", number

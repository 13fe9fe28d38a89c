"""One log of several: the union of their lines, whatever the order in which they are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from ....errors import BuildError, UsageError
from ....files.replace import folder_beside
from .contents import Contents, read_contents
from .files import write_error, write_synced
from .lines import LOST, RECORDS, WORKLOADS, RecordLine, WorkloadLine
from .records import Workload


def merge(folders: Sequence[Path], output: Path) -> Contents:
    """Write the union of the logs in `folders` to `output`, which must not exist; what it holds.

    The bytes depend on what the logs hold alone: functions are in the order of their hashes,
    records in that of their function and times, equal lines are written once. `output` may not be
    one of the logs, since a tuner may be writing there.

    Raises:
        UsageError: `output` exists. BuildError: a log cannot be read, or `output` not written.

    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(f"{output} exists; merge into a new folder, then put it in its place")
    union = unite([read_contents(folder) for folder in folders])
    _write(output, union)
    return union


def unite(logs: Sequence[Contents]) -> Contents:
    """The union of several logs; merging it with any of them again changes nothing."""
    stands_for = _same_functions({line for log in logs for line in log.workloads})
    workloads = sorted(set(stands_for.values()), key=lambda line: (line.hash, line.module))
    positions = {line: position for position, line in enumerate(workloads)}
    records: dict[bytes, RecordLine] = {}
    for log in logs:
        for record in log.records:
            position = positions[stands_for[log.workloads[record.workload]]]
            plain = _plain(msgspec.structs.replace(record, workload=position))
            records[_encode(plain)] = plain
    in_order = sorted(
        records.items(), key=lambda pair: (pair[1].workload, pair[1].measurement.best_s, pair[0])
    )
    lost = {_encode(line): line for log in logs for line in log.lost}
    return Contents(
        workloads=tuple(workloads),
        records=tuple(record for _, record in in_order),
        lost=tuple(lost[text] for text in sorted(lost)),
    )


def _same_functions(lines: Iterable[WorkloadLine]) -> dict[WorkloadLine, WorkloadLine]:
    """For each line, the first in order of those that hold the same function.

    The names of variables are free, so two hosts may save one function as different texts.
    """
    first: dict[str, list[tuple[WorkloadLine, Workload]]] = {}
    stands_for = {}
    for line in sorted(lines, key=lambda line: (line.hash, line.module)):
        known = first.setdefault(line.hash, [])
        ours = Workload(line.hash, line.module, f"the function with hash {line.hash}")
        same = next((other for other, theirs in known if theirs.holds(ours.module)), None)
        if same is None:
            known.append((line, ours))
        stands_for[line] = same or line
    return stands_for


def _plain(record: RecordLine) -> RecordLine:
    """The record with one spelling for equal values: TVM writes a number with 20 digits."""
    found = record.measurement
    try:
        trace, arguments = (
            msgspec.Raw(msgspec.json.encode(msgspec.json.decode(text)))
            for text in (found.trace, found.arguments)
        )
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BuildError(
            f"a schedule in {RECORDS} cannot be read: {error}; delete its line"
        ) from error
    plain = msgspec.structs.replace(found, trace=trace, arguments=arguments)
    return msgspec.structs.replace(record, measurement=plain)


def _encode(line: msgspec.Struct) -> bytes:
    return msgspec.json.encode(line, order="sorted")


def _write(output: Path, union: Contents) -> None:
    """Write a folder whole or not at all."""
    files = {RECORDS: union.records, WORKLOADS: union.workloads, LOST: union.lost}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with folder_beside(output) as beside:
            new = beside / output.name
            new.mkdir()  # within the temporary one, which others may not read
            for file, lines in files.items():
                write_synced(new / file, b"".join(_encode(line) + b"\n" for line in lines))
            new.rename(output)
    except OSError as error:
        raise write_error(output, error) from error

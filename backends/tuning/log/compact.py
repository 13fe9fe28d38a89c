"""A log without what is of no more use: slow schedules, and what another compiler lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .contents import check_is_log, contents_of
from .files import replace_file, writing
from .lines import LOST, RECORDS, LostLine, RecordLine, encode
from .origin import Origin, tvm_version


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """How many lines there were, and how many are left."""

    records_before_count: int
    records_count: int
    lost_before_count: int
    lost_count: int


def compact(folder: Path, keep_count: int) -> Compacted:
    """Keep the `keep_count` fastest schedules of each function, and the fastest of each tuner.

    Of what was lost, one line a candidate stays, where the TVM that is installed lost it. Each
    file is replaced in one step, while no tuner can write; `workloads.jsonl` stays as it is, so
    a kill at any point leaves a log. A tuner that runs goes on with the new files.

    Raises:
        BuildError: it is no log, has a damaged line, or cannot be written.

    """
    check_is_log(folder)
    with writing(folder):
        before = contents_of(folder)
        records = _keep_fastest(before.records, keep_count)
        lost = _keep_current_losses(before.lost)
        if len(lost) < len(before.lost):
            replace_file(folder / LOST, _lines(lost))
        if len(records) < len(before.records):
            replace_file(folder / RECORDS, _lines(records))  # the lock is on it: nothing after
    return Compacted(
        records_before_count=len(before.records),
        records_count=len(records),
        lost_before_count=len(before.lost),
        lost_count=len(lost),
    )


def _keep_fastest(records: Sequence[RecordLine], keep_count: int) -> list[RecordLine]:
    """The fastest, each schedule once, in the order in which they were measured."""
    fastest_first = sorted(enumerate(records), key=lambda pair: pair[1].measurement.rank)
    schedules: dict[int, set[bytes]] = defaultdict(set)
    tuners: dict[int, set[str | None]] = defaultdict(set)
    kept = set()
    for position, record in fastest_first:
        known, of = schedules[record.workload], tuners[record.workload]
        schedule, tuner = bytes(record.measurement.trace), _tuner(record)
        if tuner not in of or (schedule not in known and len(known) < keep_count):
            kept.add(position)
        known.add(schedule)
        of.add(tuner)
    return [record for position, record in enumerate(records) if position in kept]


def _tuner(record: RecordLine) -> str | None:
    origin = record.measurement.origin
    return origin.tuner if origin else None


def _keep_current_losses(lost: Sequence[LostLine]) -> list[LostLine]:
    """The last line of each candidate."""
    installed = tvm_version()
    found = {}
    for line in lost:
        origin = Origin.from_tag(line.tag)
        if origin is None or origin.tvm_version == installed:
            found[line.workload, line.trace] = line
    return list(found.values())


def _lines(lines: Sequence[RecordLine] | Sequence[LostLine]) -> bytes:
    return b"".join(encode(line) + b"\n" for line in lines)

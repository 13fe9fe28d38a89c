"""What a line of each of a log's files holds, and how it is read and written.

`workloads.jsonl` and `records.jsonl` are MetaSchedule's. A line is decoded no further than is
needed to find it again: a schedule stays JSON until someone asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct

from ....errors import BuildError
from .origin import Origin, rank_of

WORKLOADS, RECORDS, LOST = "workloads.jsonl", "records.jsonl", "lost.jsonl"

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
MAX_DEPTH = 200  # of a schedule or a function; those of TVM are nested a dozen deep

# MetaSchedule records a candidate that failed as one of 1e10 s, or without times.
_FAILED_S = 1e9
_MOST_S = 1e10


Seconds = Annotated[float, Meta(gt=0, le=_MOST_S)]


class WorkloadLine(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A function: its structural hash, and its module as TVM saves it."""

    hash: str
    module: str


class Measurement(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A schedule, its seconds, the target (its tag says the origin), and the arguments."""

    trace: Raw
    run_secs: tuple[Seconds, ...] | None
    target: dict[str, Any] | None
    arguments: Raw

    @property
    def best_s(self) -> float:
        """The least of its times; infinite where it has none."""
        return best_of(self.run_secs or ())

    @property
    def origin(self) -> Origin | None:
        """Where it comes from, as the target's tag says, or None."""
        return Origin.from_tag((self.target or {}).get("tag", ""))

    @property
    def rank(self) -> tuple[bool, float]:
        """By what one is preferred to another (`rank_of`)."""
        return rank_of(self.origin, self.best_s)

    @property
    def failed(self) -> bool:
        """Whether MetaSchedule recorded a candidate that could not be built or run."""
        return self.best_s >= _FAILED_S


class RecordLine(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A measured schedule of the function on line `workload` (from 0) of `workloads.jsonl`."""

    workload: int
    measurement: Measurement


class LostLine(Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate that was not measured: its function's hash, its trace's key, and why."""

    workload: str
    trace: str
    reason: str
    tag: str


Line = TypeVar("Line", WorkloadLine, RecordLine, LostLine)

_REMEDIES = {
    WORKLOADS: "Copy the file back from elsewhere",  # records count its lines: none may go
    RECORDS: "Delete that line",
    LOST: "Delete that line",
}


def best_of(run_secs: Iterable[float]) -> float:
    """The least of several timings: what disturbs a run only ever makes it longer."""
    return min((float(second) for second in run_secs), default=float("inf"))


def decode(kind: type[Line], text: bytes, path: Path, number: int) -> Line:
    """Read one line of `path`; BuildError names file and line where it is damaged."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(path, number, str(error)) from error


def are_times(run_secs: Sequence[float]) -> bool:
    """Whether these can be the seconds of a call: above 0, finite, none of them NaN."""
    return len(run_secs) > 0 and all(0 < float(second) <= _MOST_S for second in run_secs)


def encode(line: Struct) -> bytes:
    """One line, without its line break."""
    return msgspec.json.encode(line)


def damaged(path: Path, number: int, why: str) -> BuildError:
    """The error for a line that is whole and yet cannot be read."""
    return BuildError(
        f"the tuning log {path.parent} cannot be read: {path.name}, line {number} is damaged "
        f"({why}). {_REMEDIES[path.name]}, or, to tune from scratch without this log, move it away"
    )


def check_depth(text: bytes) -> None:
    """Refuse JSON that must not reach TVM: ValueError.

    Parsers recurse: Python's stop at a limit, TVM's overflows the stack and ends the process.
    """
    bare = np.frombuffer(_STRING.sub(b"", text), np.uint8)
    opens, closes = (np.isin(bare, np.frombuffer(ends, np.uint8)) for ends in (b"[{", b"]}"))
    if np.cumsum(opens.astype(np.int64) - closes).max(initial=0) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")

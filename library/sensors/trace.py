"""Traces of moments: recorded while an app runs, played in place of the machine's sensors.

A trace is a text file. Its first line is `{"trace_version":1}`; each line after it is a moment: its
time in seconds and what was seen, what is not known being left out:

    {"time_s":0.0,"battery_ratio":0.8,"on_mains":false,"load_ratio":0.1,"latency_budget_ms":20.0}
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta, Struct

from ...errors import TraceError, UsageError
from ...files.read import read_regular
from .readings import Amount, Readings
from .sensors import Source, of_this_machine

_VERSION = 1
_MOST_BYTES = 2**28
_OWN = ("latency_budget_ms", "metric_floor", "calls_per_s", "energy_left_mj", "time_left_s")
_MOST_FACTOR = 1e9
_MOST_DISORDER_S = 0.1  # two threads that read one recorder at once may write in either order


class _Header(Struct, frozen=True, forbid_unknown_fields=True):
    trace_version: int


class Moment(Readings, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What was seen at a time, and what the app wanted then, as in a Context.

    `time_s` counts from the trace's beginning.
    """

    time_s: Annotated[float, Meta(ge=0, le=1e9)]
    latency_budget_ms: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    metric_floor: float | None = None
    calls_per_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    energy_left_mj: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    time_left_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    memory_budget_bytes: Amount | None = None

    def context_fields(self) -> dict[str, Any]:
        """Return what was seen as a Context's fields, and what was wanted, where it was."""
        fields = super().context_fields() | {name: getattr(self, name) for name in _OWN}
        if self.memory_budget_bytes is not None:
            fields["memory_budget_bytes"] = self.memory_budget_bytes
        return fields


class Recorder:
    """Reads a source, and writes down each moment before it hands it on.

    Give it where sensors are asked for: `net.follow(sensors=Recorder("day.jsonl"))`. Each line is
    written at once, so what was recorded survives a kill, but for half a line at the end. The
    reading at which the disk is full is an error, the next ones are handed on alone.

    Raises:
        TraceError: there is something of that name already, or it cannot be written.

    """

    def __init__(
        self,
        path: str | Path,
        source: Source | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._source = source or of_this_machine()
        self._clock = clock
        self._begin_s = clock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.fdopen(os.open(path, flags, 0o666), "ab", buffering=0)
        except FileExistsError:
            raise TraceError(f"{path} is there already; give another name, or remove it") from None
        except (OSError, ValueError) as problem:
            raise TraceError(f"{path} cannot be written: {_reason(problem)}") from problem
        self._write(_Header(_VERSION))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def read(self) -> Readings:
        """Return what the source reads now, written down."""
        readings = self._source.read()
        seen = {name: getattr(readings, name) for name in readings.__struct_fields__}
        self._write(Moment(**{**seen, "time_s": max(0.0, self._clock() - self._begin_s)}))
        return readings

    def close(self) -> None:
        """End the recording; what is read from then on is handed on alone."""
        self._file.close()

    def _write(self, line: Struct) -> None:
        if self._file.closed:
            return
        data = msgspec.json.encode(line) + b"\n"
        try:
            whole = self._file.write(data) == len(data)
            problem = "" if whole else "there was room for a part of a line"
        except OSError as error:
            problem = _reason(error)
        if problem:
            self._file.close()  # what is read goes on to be handed on
            raise TraceError(f"{self._path} cannot be written: {problem}; the recording ends here")


class Replay:
    """Plays a trace: what is seen now is what was seen as long after its first moment.

    It begins at the first reading, and stays at the last moment (`ended`).

    Args:
        path: the file.
        speed: how many seconds of the trace pass in one; 60 plays an hour in a minute.
        clock: seconds that pass.

    Raises:
        TraceError: the file is missing, no trace, or a line of it is wrong; half a line at the
            end, as a kill leaves it, is not.

    """

    def __init__(
        self,
        path: str | Path,
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(speed, int | float) or not 0 < speed <= _MOST_FACTOR:
            raise UsageError(f"speed is {speed!r}; it must be above 0, for example 60")
        self.moments = read_trace(path)
        self._times_s = [moment.time_s for moment in self.moments]
        self._speed = speed
        self._clock = clock
        self._begin_s: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the last moment is reached."""
        return self._passed_s() >= self._times_s[-1]

    def read(self) -> Moment:
        """Return the moment that is played now."""
        index = bisect_right(self._times_s, self._passed_s()) - 1
        return self.moments[max(0, index)]

    def _passed_s(self) -> float:
        if self._begin_s is None:
            self._begin_s = self._clock()
        return self._times_s[0] + self._speed * (self._clock() - self._begin_s)


def read_trace(path: str | Path) -> tuple[Moment, ...]:
    """Return a trace's moments, in the order of their times.

    Raises:
        TraceError: as for `Replay`.

    """
    todo = "give the file that a Recorder wrote"
    data = read_regular(Path(path), TraceError, todo, most_bytes=_MOST_BYTES)
    first, *lines = data.split(b"\n")
    _check_header(path, first)
    moments: list[Moment] = []
    for number, line in enumerate(lines, 2):
        try:
            moment = msgspec.json.decode(line, type=Moment)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            if number == len(lines) + 1:  # what a kill left of a line, or nothing
                break
            _refuse(path, number, str(problem))
        if moments and moment.time_s < moments[-1].time_s:
            if moment.time_s < moments[-1].time_s - _MOST_DISORDER_S:
                _refuse(path, number, f"its time, {moment.time_s:g} s, is before the line above's")
            moment = msgspec.structs.replace(moment, time_s=moments[-1].time_s)
        moments.append(moment)
    if not moments:
        raise TraceError(f"{path} has no moments; record some first")
    return tuple(moments)


def _check_header(path: str | Path, line: bytes) -> None:
    try:
        version = msgspec.json.decode(line, type=_Header).trace_version
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise TraceError(
            f'{path} is no trace: its first line must be {{"trace_version":{_VERSION}}}'
        ) from None
    if version != _VERSION:
        raise TraceError(
            f"{path} is a trace of version {version}, this adaspring plays {_VERSION}; record "
            "anew, or upgrade adaspring"
        )


def _refuse(path: str | Path, number: int, problem: str) -> NoReturn:
    raise TraceError(f"{path}, line {number}: {problem}; mend or remove the line")


def _reason(problem: OSError | ValueError) -> str:
    return getattr(problem, "strerror", None) or str(problem)

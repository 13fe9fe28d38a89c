"""What was learnt of libraries' costs, as a file: for these libraries on this machine alone.

Kept are the machine's ratio and each variant's own, at both paces; what the moment added is not.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from math import exp, log, sqrt
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ...errors import BoardError, CostsError
from ...files.read import read_regular
from ...files.replace import write_whole
from ...targets.machine import read_machine
from ..joined.names import own_name
from ..records import Count, Name, Record, Sha256
from .live import Live
from .ratios import MACHINE, OWN, Ratios

SCHEMA_VERSION = 1
_MOST_BYTES = 4 * 2**20
_MOST_RATIO, _MOST_CALLS = 1000.0, 2**31
_ANEW = "delete it, and costs are learnt anew"

_log = logging.getLogger(__name__)

_Ratio = Annotated[float, Meta(ge=1 / _MOST_RATIO, le=_MOST_RATIO)]
_Deviation = Annotated[float, Meta(ge=0, le=1)]


class SavedRatio(Record, frozen=True, kw_only=True):
    """A ratio of measured to recorded, and the standard deviation of its logarithm."""

    ratio: _Ratio
    deviation: _Deviation


class SavedOwn(SavedRatio, frozen=True, kw_only=True):
    """A variant's own ratio, from so many calls."""

    calls_count: Count


class SavedPace(Record, frozen=True, kw_only=True):
    """One pace of calls; variants that were never called are left out."""

    machine: SavedRatio
    own: dict[Name, SavedOwn]


class Machine(Record, frozen=True, kw_only=True):
    """What must be the same for costs to hold."""

    cpu: Name
    core_count: Annotated[int, Meta(ge=1)]


class SavedLibrary(Record, frozen=True, kw_only=True):
    """One library, by the SHA-256 of its manifest."""

    library: Sha256
    hot: SavedPace
    cold: SavedPace


class SavedCosts(SavedLibrary, frozen=True, kw_only=True, omit_defaults=True):
    """The whole file; `saved` is an ISO 8601 time.

    Of a net over several libraries the first stands where a single one would.
    """

    schema_version: int
    machine: Machine
    saved: datetime
    further_libraries: tuple[SavedLibrary, ...] = ()


class _Schema(msgspec.Struct):
    schema_version: int


@cache
def this_machine() -> Machine:
    """Name the processor and count the cores that this process may use."""
    try:
        found = read_machine(Path("/"), os.sched_getaffinity(0))
    except BoardError:
        return Machine(cpu="unnamed processor", core_count=os.cpu_count() or 1)
    return Machine(cpu=found.model, core_count=found.core_count)


def save(lives: Mapping[str, Live], path: Path, now: datetime) -> None:
    """Write what was learnt, in one step; `lives` are by the libraries' SHA-256.

    Raises:
        CostsError: the file cannot be written.

    """
    first, *further = (_library(library, live) for library, live in lives.items())
    content = SavedCosts(
        library=first.library,
        hot=first.hot,
        cold=first.cold,
        schema_version=SCHEMA_VERSION,
        machine=this_machine(),
        saved=now,
        further_libraries=tuple(further),
    )
    try:
        if os.path.lexists(path) and not path.is_file():
            raise CostsError(f"{path} is no file, so it is not replaced; give the name of a file")
        write_whole(path, msgspec.json.format(msgspec.json.encode(content)))
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise CostsError(f"{path} cannot be written: {reason}; give another path") from problem


def load(lives: Mapping[str, Live], path: Path, now: datetime) -> str:
    """Take in what was saved, grown old by the time since; return what came of it as a sentence.

    A file that is not there yet, or of other libraries or another machine, is left alone: both are
    an app's ordinary course.

    Raises:
        CostsError: it cannot be read, or is not what `save` writes.

    """
    if not os.path.lexists(path):
        return f"{path} does not exist yet"
    saved = _read(path)
    every = (saved, *saved.further_libraries)
    found = [(lives[each.library], each) for each in every if each.library in lives]
    other = _other(saved, bool(found))
    if other:
        _log.warning("%s is of %s; costs are learnt anew", path, other)
        return f"{path} is of {other}, so it was not used"
    for live, library in found:
        _check_names(live, library, path)
    passed_s = max(0.0, (now - saved.saved).total_seconds())
    for live, library in found:
        _restore(live, library, passed_s)
    taken = "" if len(found) == len(lives) else f", for {len(found)} of {len(lives)} libraries"
    return f"{path} of {saved.saved.isoformat(timespec='seconds')} was taken in{taken}"


def _library(digest: str, live: Live) -> SavedLibrary:
    hot, cold = (_pace(live, ratios) for ratios in live.ratios)
    return SavedLibrary(library=digest, hot=hot, cold=cold)


def _pace(live: Live, ratios: Ratios) -> SavedPace:
    names = [(place, name) for place, name in enumerate(live.names) if ratios.calls_count[place]]
    own = {
        own_name(name): SavedOwn(
            **_figures(ratios, OWN + place), calls_count=int(ratios.calls_count[place])
        )
        for place, name in names
    }
    return SavedPace(machine=SavedRatio(**_figures(ratios, MACHINE)), own=own)


def _figures(ratios: Ratios, index: int) -> dict[str, float]:
    ratio = min(max(exp(ratios.mean[index]), 1 / _MOST_RATIO), _MOST_RATIO)
    return {"ratio": ratio, "deviation": min(sqrt(ratios.covariance[index, index]), 1.0)}


def _read(path: Path) -> SavedCosts:
    data = read_regular(path, CostsError, _ANEW, most_bytes=_MOST_BYTES)
    try:
        schema = msgspec.json.decode(data, type=_Schema).schema_version
        if schema != SCHEMA_VERSION:
            raise CostsError(
                f"{path}: schema {schema}, and this adaspring reads {SCHEMA_VERSION}; {_ANEW}"
            )
        saved = msgspec.json.decode(data, type=SavedCosts)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise CostsError(f"{path}: {problem}; {_ANEW}") from problem
    if saved.saved.tzinfo is None:
        raise CostsError(f"{path}: saved has no time zone; {_ANEW}")
    return saved


def _other(saved: SavedCosts, is_known: bool) -> str:
    """Say whose costs these are where they are not ours; nothing where they are."""
    if not is_known:
        return "another library, or of this one before it was compiled anew"
    here = this_machine()
    if saved.machine != here:
        there = saved.machine
        return f"{there.cpu} with {there.core_count} cores, not {here.cpu} with {here.core_count}"
    return ""


def _check_names(live: Live, library: SavedLibrary, path: Path) -> None:
    known = {own_name(name) for name in live.names}
    named = (*library.hot.own, *library.cold.own)
    unknown = next((name for name in named if name not in known), None)
    if unknown is not None:
        raise CostsError(f"{path}: {unknown!r} is no variant of its library; {_ANEW}")


def _restore(live: Live, library: SavedLibrary, passed_s: float) -> None:
    places = {own_name(name): place for place, name in enumerate(live.names)}
    for ratios, pace in zip(live.ratios, (library.hot, library.cold), strict=True):
        ratios.believe(MACHINE, log(pace.machine.ratio), pace.machine.deviation)
        for name, own in pace.own.items():
            place = places[name]
            ratios.believe(OWN + place, log(own.ratio), own.deviation)
            ratios.calls_count[place] = min(own.calls_count, _MOST_CALLS)
        ratios.age(passed_s)

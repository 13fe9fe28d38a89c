"""All lines of a log at once: what merging, compacting and showing a log start from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ....errors import BuildError
from .files import LineFile, reading
from .folder import new_lines
from .lines import LOST, RECORDS, WORKLOADS, LostLine, RecordLine, WorkloadLine, damaged


@dataclass(frozen=True)
class Contents:
    """The lines of the three files; every record's function is among `workloads`."""

    workloads: tuple[WorkloadLine, ...]
    records: tuple[RecordLine, ...]
    lost: tuple[LostLine, ...]


_ADVICE = "the folder of a tuning log, or the name of a board that was tuned"


def check_is_log(folder: Path) -> None:
    """Refuse what is no tuning log, with a hint at where one may be.

    Raises:
        BuildError: there is no such folder, or it holds no records.

    """
    if not os.path.isdir(folder):
        raise BuildError(f"{folder}: no such folder; give {_ADVICE}")
    if not os.path.isfile(folder / RECORDS):
        inner = sorted(path.parent for path in folder.glob(f"*/{RECORDS}"))
        hint = f"did you mean {inner[0]}?" if inner else f"give {_ADVICE}"
        raise BuildError(f"{folder} is not a tuning log: it has no {RECORDS}; {hint}")


def read_contents(folder: Path) -> Contents:
    """Read a log while nobody writes to it.

    Raises:
        BuildError: it is no log, cannot be read, or has a damaged line.

    """
    check_is_log(folder)
    with _refusal(folder), reading(folder):
        return contents_of(folder)


@contextmanager
def _refusal(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BuildError(
            f"the tuning log {folder} cannot be read: {error}; fix its permissions"
        ) from error


def contents_of(folder: Path) -> Contents:
    """Read a log that is locked already; BuildError where it cannot be."""
    with _refusal(folder):
        return _contents_of(folder)


def _contents_of(folder: Path) -> Contents:
    workloads = tuple(line for line, *_ in new_lines(LineFile(folder / WORKLOADS), WorkloadLine))
    records = []
    for line, _, number in new_lines(LineFile(folder / RECORDS), RecordLine):
        if not 0 <= line.workload < len(workloads):
            why = f"function {line.workload}, but {WORKLOADS} has {len(workloads)}"
            raise damaged(folder / RECORDS, number, why)
        records.append(line)
    lost = tuple(line for line, *_ in new_lines(LineFile(folder / LOST), LostLine))
    return Contents(workloads, tuple(records), lost)

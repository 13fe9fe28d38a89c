"""From an exception to the one line that a person reads, and to an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ... import interrupts
from ...errors import AdaspringError, UsageError
from ...files.replace import DISK_FULL

FAILED_STATUS, WRONG_USE_STATUS, INTERRUPTED_STATUS = 1, 2, 130

_FREE_SPACE = "free some space, or write elsewhere, and run the same command again"
_EXTRAS = {"sklearn": "demo", "distributed": "cluster"}


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what it left behind; the text is one line for people."""


@contextmanager
def resumable(logs: str | Path) -> Iterator[None]:
    """Work whose schedules are in `logs` as soon as they are measured; Ctrl-C says so."""
    try:
        with interrupts.keep_interrupts():
            yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; {logs} keeps every schedule that was measured, so the same "
            "command goes on from there"
        ) from None


def exit_status(error: Exception) -> int:
    """Give 2 where the command was used wrongly, else 1."""
    return WRONG_USE_STATUS if isinstance(error, UsageError) else FAILED_STATUS


def explain(error: Exception) -> str:
    """Say in one line what was wrong and what to do."""
    return printable(" ".join(_explain(error).split()))


def printable(text: str) -> str:
    r"""Write out what would command a terminal: ESC becomes the four characters \x1b.

    Names out of files and file names may hold anything. Line breaks stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def _explain(error: Exception) -> str:
    if any(isinstance(e, OSError) and e.errno in DISK_FULL for e in _chain(error)):
        return f"{_without_advice(error)}: the disk is full; {_FREE_SPACE}"
    if isinstance(error, AdaspringError):
        return str(error)
    if isinstance(error, MemoryError):
        return "memory ran out; close other programs, or give fewer samples"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing_package(error.name)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; check the path and its permissions"
    what = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
    return f"unexpected {what.splitlines()[0]}; run again with --verbose to see where"


def _without_advice(error: Exception) -> str:
    if isinstance(error, AdaspringError):
        return str(error).partition(": [Errno")[0]
    filename = getattr(error, "filename", None)
    return str(filename) if filename else "a file could not be written"


def _missing_package(name: str) -> str:
    extra = _EXTRAS.get(name.partition(".")[0], "compiler")
    return f"{name} is not installed; pip install 'adaspring[{extra}]'"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

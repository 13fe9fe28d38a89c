"""`adaspring boards list`: which boards are there, and whether they are what was declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..shared.answer import Answer, AsJson, Verbose
from .command import Tracker

if TYPE_CHECKING:
    from ...backends.rpc.tracker.roster import Entry

_STATES = ("free", "busy", "lost", "unknown")


def list_boards(tracker: Tracker, as_json: AsJson = False, verbose: Verbose = False) -> Answer:
    """List the boards of a tracker: free, busy or lost, and what differs from the declared board.

    Takes a few seconds at most, and occupies no board.

    For example:
      adaspring boards list --tracker 127.0.0.1:9190
    """
    from ...backends.rpc.protocol import Address
    from ...backends.rpc.tracker.roster import roster

    entries = roster(Address.parse(tracker))
    return Answer(
        data={"tracker": tracker, "keys": _by_key(entries)},
        shown=_shown(tracker, entries),
    )


def _by_key(entries: tuple[Entry, ...]) -> list[dict[str, Any]]:
    found = []
    for key in dict.fromkeys(entry.key for entry in entries):
        boards = [entry for entry in entries if entry.key == key]
        found.append(
            {
                "key": key,
                "declared": boards[0].declared,
                **{
                    f"{state}_count": sum(board.state == state for board in boards)
                    for state in _STATES
                },
                "boards": [_record(board) for board in boards],
            }
        )
    return found


def _record(entry: Entry) -> dict[str, Any]:
    return {
        "address": str(entry.address),
        "state": entry.state,
        "mismatches": list(entry.mismatches),
        "board": None if entry.info is None else msgspec.to_builtins(entry.info),
    }


def _shown(tracker: str, entries: tuple[Entry, ...]) -> tuple[Any, ...]:
    from ..shared.tables import line, table

    if not entries:
        join = f"`adaspring boards serve --key NAME --tracker {tracker}`"
        return (line(f"no board is registered at {tracker}; on a board: {join}"),)
    columns = (
        "key", "address", "state", "processor", ">cores", ">memory", "governor", ">°C", "remarks"
    )  # fmt: skip
    counts = ", ".join(
        f"{sum(entry.state == state for entry in entries)} {state}" for state in _STATES
    )
    return (
        table(f"Boards at {tracker}", columns, [_row(entry) for entry in entries]),
        line(counts),
    )


def _row(entry: Entry) -> tuple[str, ...]:
    from ..shared.tables import bytes_text

    info = entry.info
    if info is None:
        remark = "served by another program than adaspring, which does not say what it is"
        return (entry.key, str(entry.address), entry.state, *5 * ("-",), remark)
    remarks = list(entry.mismatches)
    if info.emulated:
        remarks.insert(0, "emulated: its times mean nothing")
    if entry.state == "lost":
        remarks.insert(0, "registered, and does not answer")
    if entry.declared is None:
        remarks.append("no known board has this key: nothing to compare with")
    return (
        entry.key,
        str(entry.address),
        entry.state,
        info.cpu_model,
        str(info.core_count),
        bytes_text(info.memory_bytes),
        info.governor or "-",
        "-" if info.temperature_c is None else f"{info.temperature_c:.0f}",
        "; ".join(remarks) or "as declared",
    )

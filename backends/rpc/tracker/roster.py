"""Which boards a tracker knows, whether they answer, and whether they are what was declared."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from ....errors import BoardError
from ..description import BoardInfo, declared_board, mismatches
from ..protocol import ANSWER_S, Address, TrackerCode, TrackerConnection, is_answering

# `unknown`: it answers, and is served by something that does not tell whether it is free.
State = Literal["free", "busy", "lost", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One board as its tracker knows it; `lost` where it does not answer there.

    `declared` is the name of the board that its key stands for, None for keys of one's own.
    """

    key: str
    address: Address
    state: State
    info: BoardInfo | None
    declared: str | None
    mismatches: tuple[str, ...]


def roster(tracker: Address) -> tuple[Entry, ...]:
    """Ask a tracker, then each board, all at once; takes a few seconds at most, occupies none.

    Raises:
        BoardError: no tracker answers.

    """
    try:
        with TrackerConnection(tracker) as line:
            _, summary = line.ask(TrackerCode.SUMMARY)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BoardError(
            f"no tracker answers at {tracker} ({reason}); start one with "
            "`adaspring boards tracker`, or check --tracker"
        ) from error
    servers = summary["server_info"]
    with ThreadPoolExecutor(max(1, len(servers)), thread_name_prefix="adaspring-probe") as probes:
        found = list(probes.map(_entry, servers))
    return tuple(sorted(found, key=lambda entry: (entry.key, str(entry.address))))


def _entry(server: Mapping[str, Any]) -> Entry:
    key = str(server["key"]).removeprefix("server:")
    host, port = server["addr"]
    address = Address(str(host), int(port))
    info = _info(server)
    declared = declared_board(key)
    return Entry(
        key=key,
        address=address,
        state=server.get("state", "unknown") if is_answering(address, ANSWER_S) else "lost",
        info=info,
        declared=declared.name if declared else None,
        mismatches=mismatches(info, declared) if info and declared else (),
    )


def _info(server: Mapping[str, Any]) -> BoardInfo | None:
    """What the board says of itself; a server of another make says nothing that we understand."""
    try:
        return msgspec.convert(server.get("board"), BoardInfo)
    except msgspec.ValidationError:
        return None

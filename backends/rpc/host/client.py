"""Asks a tracker which boards are there, and for one of them: every wait has a limit and a reason.

TVM's own client waits for ever, in silence, for a board that is busy or that does not exist.
"""

from __future__ import annotations

import json
import logging
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from ....errors import BoardError, BoardLost
from ....targets import Board
from ..description import EMULATED_SUFFIX, BoardInfo, mismatches
from ..protocol import Address, Code, TrackerLine, receive, receive_number

_REQUEST = 4
_LONGEST_ANSWER_BYTES = 1 << 16
_LOOK_S = 0.2  # between two looks at whether a board is still wanted
_AGAIN_S = 0.5  # before a tracker that does not answer is tried again

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lease:
    """A board that the tracker gave to us: it takes the one session that shows `match_key`."""

    board: Address
    match_key: str


@dataclass(frozen=True)
class Registered:
    """A board that a tracker knows, free or busy; `info` None: it does not say what it is."""

    key: str
    address: Address
    info: BoardInfo | None


def registered(tracker: Address) -> tuple[Registered, ...]:
    """The boards at a tracker; BoardError where none answers there within seconds."""
    try:
        return _registered(tracker)
    except OSError as error:
        raise BoardError(
            f"no tracker answers at {tracker} ({error.strerror or error}); start one with "
            "`adaspring boards tracker`, or check --tracker"
        ) from error


def find_boards(tracker: Address, board: Board) -> tuple[Registered, ...]:
    """The boards that are there now for `board`: real ones, else emulated ones; all have one key.

    Raises:
        BoardError: no tracker answers, no such board is there (the text lists what is), or one
            that is there is not what was declared.

    """
    known = registered(tracker)
    for key in (board.rpc_key, board.rpc_key + EMULATED_SUFFIX):
        found = tuple(entry for entry in known if entry.key == key)
        for entry in found:
            check(entry.info, board, entry.address)
        if found:
            return found
    raise BoardError(
        f"{_absent(tracker, board.rpc_key, known)}; start one with "
        f"`adaspring boards serve --key {board.rpc_key} --tracker {tracker}` on the board"
    )


def check(info: BoardInfo | None, board: Board, address: Address) -> BoardInfo:
    """Refuse a board that is not what was declared: BoardError says in what."""
    if info is None:
        raise BoardError(
            f"what serves at {address} does not say which board it is; "
            f"serve it with `adaspring boards serve --key {board.rpc_key}`"
        )
    faults = list(mismatches(info, board))
    if not info.emulated and info.threads_count != board.core_count:
        faults.append(
            f"it computes with {info.threads_count} threads, declared are {board.core_count}"
        )
    if faults:
        raise BoardError(
            f"the board at {address} is not a {board.name}: {'; '.join(faults)}; "
            "correct its key, or the target"
        )
    return info


class Waiting:
    """Waits for boards of one key; what hinders is said once, and borne for `limit_s`."""

    def __init__(self, tracker: Address, key: str, limit_s: float) -> None:
        self.tracker, self.key = tracker, key
        self._hindrance = Hindrance(limit_s)

    def lease(
        self,
        wanted: Callable[[], bool] = lambda: True,
        at_work: Callable[[], bool] = lambda: False,
    ) -> Lease | None:
        """Wait for a board; None where it is not `wanted` any more.

        While boards are `at_work` for us, it is no hindrance that there is no other.

        Raises:
            BoardLost: none was to be had within the limit.

        """
        while wanted():
            try:
                with _Request(self.tracker, self.key) as request:
                    while wanted():
                        lease = request.given(_LOOK_S)
                        if lease is not None:
                            self._hindrance.gone()
                            return lease
                        self._look(at_work())
            except OSError as error:
                what = error.strerror or error
                self._hindrance.by(f"the tracker at {self.tracker} does not answer ({what})")
                time.sleep(_AGAIN_S)
        self._hindrance.gone()
        return None

    def _look(self, at_work: bool) -> None:
        known = _registered(self.tracker)
        if at_work:
            self._hindrance.gone()
        elif any(entry.key == self.key for entry in known):
            self._hindrance.by(f"every board under the key {self.key} is busy")
        else:
            self._hindrance.by(_absent(self.tracker, self.key, known))


class Hindrance:
    """What keeps us from a board, and for how long already."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._since_s: float | None = None
        self._told = ""

    def by(self, reason: str) -> None:
        """Note that there is no board now, and why; BoardLost after the limit."""
        now = time.monotonic()
        if self._since_s is None:
            self._since_s = now
        if now - self._since_s > self.limit_s:
            raise BoardLost(f"{reason}; gave up after {self.limit_s:g} s")
        if reason != self._told:
            _log.warning("%s; waiting up to %g s", reason, self.limit_s)
            self._told = reason

    def gone(self) -> None:
        """Note that all is well again."""
        self._since_s, self._told = None, ""


class _Request(TrackerLine):
    """A request for a board, pending until it is given or the line is closed."""

    def __init__(self, tracker: Address, key: str) -> None:
        super().__init__(tracker)
        body = json.dumps([_REQUEST, key, "", 1]).encode()
        self._socket.sendall(struct.pack("<i", len(body)) + body)

    def given(self, wait_s: float) -> Lease | None:
        """The board, or None where it was not given within `wait_s`."""
        readable, _, _ = select.select([self._socket], [], [], wait_s)
        if not readable:
            return None
        # the tracker writes length and body apart: a delayed acknowledgement would cost 40 ms
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        size = receive_number(self._socket)
        if not 0 < size <= _LONGEST_ANSWER_BYTES:
            raise ConnectionError("its answer makes no sense")
        _, (host, port, match_key) = json.loads(receive(self._socket, size))
        return Lease(Address(host, int(port)), match_key)


def _registered(tracker: Address) -> tuple[Registered, ...]:
    with TrackerLine(tracker) as line:
        _, summary = line.ask(Code.SUMMARY)
    return tuple(_entry(server) for server in summary["server_info"])


def _entry(server: dict) -> Registered:
    host, port = server["addr"]
    told = server.get("board")
    info = None if told is None else msgspec.convert(told, BoardInfo)
    return Registered(str(server["key"]).removeprefix("server:"), Address(host, int(port)), info)


def _absent(tracker: Address, key: str, known: Iterable[Registered]) -> str:
    keys = sorted({entry.key for entry in known})
    there = f"there: {', '.join(keys)}" if keys else "it has no boards"
    return f"no board under the key {key} at the tracker {tracker} ({there})"

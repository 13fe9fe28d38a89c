"""The tracker's client: lists boards and leases one; every wait has a limit and a reason.

TVM's own client waits forever, in silence, for a board that is busy or that does not exist.
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
from ..protocol import Address, TrackerCode, TrackerConnection, receive, receive_number

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
class RegisteredBoard:
    """A board that a tracker knows, free or busy; `info` None: it does not say what it is."""

    key: str
    address: Address
    info: BoardInfo | None

    @property
    def emulated(self) -> bool:
        """Whether it says that its times mean nothing."""
        return self.info is not None and self.info.emulated


def list_boards(tracker: Address) -> tuple[RegisteredBoard, ...]:
    """The boards at a tracker; BoardError where none answers there within seconds."""
    try:
        return _list_boards(tracker)
    except OSError as error:
        raise BoardError(
            f"no tracker answers at {tracker} ({error.strerror or error}); start one with "
            "`adaspring boards tracker`, or check --tracker"
        ) from error


def find_boards(tracker: Address, board: Board) -> tuple[RegisteredBoard, ...]:
    """The boards that are there now for `board`: real ones, else emulated ones; all have one key.

    Raises:
        BoardError: no tracker answers, no such board is there (the text lists what is), or one
            that is there is not what was declared.

    """
    known = list_boards(tracker)
    for key in (board.rpc_key, board.rpc_key + EMULATED_SUFFIX):
        found = tuple(entry for entry in known if entry.key == key)
        for entry in found:
            check_board(entry.info, board, entry.address)
        if found:
            return found
    raise BoardError(
        f"{_describe_absence(tracker, board.rpc_key, known)}; start one with "
        f"`adaspring boards serve --key {board.rpc_key} --tracker {tracker}` on the board"
    )


def check_board(info: BoardInfo | None, board: Board, address: Address) -> BoardInfo:
    """Refuse a board that is not what was declared: BoardError says in what."""
    if info is None:
        raise BoardError(
            f"the server at {address} does not say which board it is; "
            f"serve it with `adaspring boards serve --key {board.rpc_key}`"
        )
    faults = list(mismatches(info, board))
    if not info.emulated and info.threads_count != board.core_count:
        faults.append(f"it uses {info.threads_count} threads, but {board.core_count} were declared")
    if faults:
        raise BoardError(
            f"the board at {address} is not a {board.name}: {'; '.join(faults)}; "
            "correct its key, or the target"
        )
    return info


class LeaseClient:
    """Asks a tracker for boards of one key; says once why there is none, and waits `limit_s`."""

    def __init__(self, tracker: Address, key: str, limit_s: float) -> None:
        self.tracker, self.key = tracker, key
        self._wait_limit = WaitLimit(limit_s)

    def lease(
        self,
        wanted: Callable[[], bool] = lambda: True,
        at_work: Callable[[], bool] = lambda: False,
    ) -> Lease | None:
        """Wait for a board; None where it is not `wanted` any more.

        While boards are `at_work` for us, it does not matter that there is no other.

        Raises:
            BoardLost: there was none within the limit.

        """
        while wanted():
            try:
                with _Request(self.tracker, self.key) as request:
                    while wanted():
                        lease = request.wait_for_lease(_LOOK_S)
                        if lease is not None:
                            self._wait_limit.clear()
                            return lease
                        self._look(at_work())
            except OSError as error:
                what = error.strerror or error
                self._wait_limit.note(f"the tracker at {self.tracker} does not answer ({what})")
                time.sleep(_AGAIN_S)
        self._wait_limit.clear()
        return None

    def _look(self, at_work: bool) -> None:
        known = _list_boards(self.tracker)
        if at_work:
            self._wait_limit.clear()
        elif any(entry.key == self.key for entry in known):
            self._wait_limit.note(f"every board under the key {self.key} is busy")
        else:
            self._wait_limit.note(_describe_absence(self.tracker, self.key, known))


class WaitLimit:
    """How long there has been no board, and why; gives up after `limit_s`."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._since_s: float | None = None
        self._told = ""

    def note(self, reason: str) -> None:
        """Note that there is no board now, and why; BoardLost after the limit."""
        now = time.monotonic()
        if self._since_s is None:
            self._since_s = now
        if now - self._since_s > self.limit_s:
            raise BoardLost(f"{reason}; gave up after {self.limit_s:g} s")
        if reason != self._told:
            _log.warning("%s; waiting up to %g s", reason, self.limit_s)
            self._told = reason

    def clear(self) -> None:
        """Note that a board was found: the waiting begins anew."""
        self._since_s, self._told = None, ""


class _Request(TrackerConnection):
    """A request for a board, pending until it is given or the line is closed."""

    def __init__(self, tracker: Address, key: str) -> None:
        super().__init__(tracker)
        body = json.dumps([_REQUEST, key, "", 1]).encode()
        self._socket.sendall(struct.pack("<i", len(body)) + body)

    def wait_for_lease(self, wait_s: float) -> Lease | None:
        """The board, or None where it was not given within `wait_s`."""
        readable, _, _ = select.select([self._socket], [], [], wait_s)
        if not readable:
            return None
        # the tracker writes length and body apart: a delayed acknowledgement would cost 40 ms
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        size = receive_number(self._socket)
        if not 0 < size <= _LONGEST_ANSWER_BYTES:
            raise ConnectionError("its answer is malformed")
        _, (host, port, match_key) = json.loads(receive(self._socket, size))
        return Lease(Address(host, int(port)), match_key)


def _list_boards(tracker: Address) -> tuple[RegisteredBoard, ...]:
    with TrackerConnection(tracker) as line:
        _, summary = line.ask(TrackerCode.SUMMARY)
    return tuple(_entry(server) for server in summary["server_info"])


def _entry(server: dict) -> RegisteredBoard:
    host, port = server["addr"]
    told = server.get("board")
    info = None if told is None else msgspec.convert(told, BoardInfo)
    return RegisteredBoard(
        str(server["key"]).removeprefix("server:"), Address(host, int(port)), info
    )


def _describe_absence(tracker: Address, key: str, known: Iterable[RegisteredBoard]) -> str:
    keys = sorted({entry.key for entry in known})
    there = f"there: {', '.join(keys)}" if keys else "it has no boards"
    return f"no board under the key {key} at the tracker {tracker} ({there})"

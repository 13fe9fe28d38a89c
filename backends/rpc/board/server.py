"""The board's server: registers at a tracker and serves one client at a time.

TVM's own server is lost to its tracker once a kernel crashes a session, gives up for good when the
tracker is away for a minute, stays taken when its client dies in the middle of a kernel, and waits
for ever for a caller that says nothing. This one does none of that, and tells through the tracker
what the board is and whether it is free. One thread, no compiler, and of Python's packages only
those of the app side.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from ....library.native.ffi import tvm_ffi
from ....library.runtime import ROAMING, check_affinity
from ....targets import Board, load_board
from ..description import (
    INFO_FUNCTION,
    BoardInfo,
    declared_board,
    describe_this_machine,
    mismatches,
)
from ..process_exit import exit_on_sigterm
from ..protocol import RPC_MISMATCH, Address, listen, receive_greeting, send_greeting, send_number
from .registration import Registration
from .session import BoardSession, Threads, load_runtime, timeout_s

_log = logging.getLogger(__name__)

FIRST_PORT = 9091
TRACKER_WAIT_S = 60.0
_GREETING_S = 2.0
_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What to serve, and where. `key` may be a board's .toml file."""

    key: str
    tracker: Address
    listen: Address
    emulated_cpu: str | None = None
    tracker_wait_s: float = TRACKER_WAIT_S


@dataclass(frozen=True, kw_only=True)
class ServedBoard:
    """A board that is registered and served."""

    key: str
    address: Address
    board: BoardInfo


def serve_board(service: ServeSettings, ready: Callable[[ServedBoard], None]) -> NoReturn:
    """Serve until interrupted; `ready` hears once what is served.

    Raises:
        BoardError: the port is taken, no tracker answered for `tracker_wait_s`, or the board's
            threads belong on processors that are not here; RuntimeMissing.

    """
    exit_on_sigterm()
    key, declared = _read_key(service.key)
    device = declared.device if declared else "cpu"
    load_runtime(device)

    def describe() -> BoardInfo:
        return describe_this_machine(
            declared.core_count if declared else None, service.emulated_cpu
        )

    info = describe()
    # an emulated board's processors are those of the machine that emulates it
    affinity = ROAMING if declared is None or info.emulated else declared.affinity
    check_affinity(affinity, key)
    for fault in mismatches(info, declared) if declared else ():
        _log.warning("this machine does not match the board declared as %s: %s", key, fault)
    tvm_ffi.register_global_func(
        INFO_FUNCTION, lambda: msgspec.json.encode(describe()).decode(), override=True
    )
    with listen(service.listen, "the board") as listening:
        address = Address(service.listen.host, listening.getsockname()[1])
        # a board that listens everywhere is called at the address that the tracker sees
        host = None if address.host in _EVERYWHERE else address.host
        registration = Registration(service.tracker, key, host, address.port, describe)
        server = BoardServer(listening, key, registration, (info.threads_count, affinity), device)
        try:
            registration.register(service.tracker_wait_s)
            ready(ServedBoard(key=key, address=address, board=info))
            server.run()
        finally:
            server.close()


def _read_key(key: str) -> tuple[str, Board | None]:
    if key.endswith(".toml"):
        board = load_board(Path(key))
        return board.rpc_key, board
    return key, declared_board(key)


class BoardServer:
    """Takes what comes: clients, the end of a session, and the time to report."""

    def __init__(
        self,
        listening: socket.socket,
        key: str,
        registration: Registration,
        threads: Threads,
        device: str,
    ) -> None:
        self._listening, self._key, self._device = listening, key, device
        self._registration, self._threads = registration, threads
        self._session: BoardSession | None = None

    def run(self) -> NoReturn:
        """Serve, one client at a time; all others are told that this is not their board."""
        while True:
            came = self._wait()
            if self._session is not None:
                self._check_session(self._session, came)
            if self._listening.fileno() in came:
                self._accept()
            if time.monotonic() >= self._registration.due_s:
                self._registration.refresh()

    def _wait(self) -> dict[int, int]:
        """Wait until something comes or is due."""
        watch = select.poll()
        watch.register(self._listening, select.POLLIN)
        until_s = self._registration.due_s
        if self._session is not None:
            self._session.watch_with(watch)
            until_s = min(until_s, self._session.deadline_s)
        return dict(watch.poll(max(0.0, 1000 * (until_s - time.monotonic())) + 1))

    def _check_session(self, session: BoardSession, came: dict[int, int]) -> None:
        session.note_events(came)
        if session.ended or time.monotonic() >= session.deadline_s:
            fault = session.close()
            if fault:
                _log.warning("the session with %s %s", session.peer, fault)
            else:
                _log.info("the session with %s ended", session.peer)
            self._session = None
            self._registration.set_busy(busy=False)

    def _accept(self) -> None:
        """Begin a client's session, or send away who has not the match key of the moment."""
        line, (host, *_) = self._listening.accept()
        line.settimeout(_GREETING_S)
        try:
            key, *options = receive_greeting(line).split()
            expected = self._registration.match_key
            if not expected or key != f"client:{expected}":
                send_number(line, RPC_MISMATCH)
                line.close()
                return
            limit_s = timeout_s(options)
            send_greeting(line, f"server:{self._key}")
            self._session = BoardSession(line, str(host), limit_s, self._threads, self._device)
        except (OSError, ValueError) as error:
            _log.info("the connection from %s did not become a session: %s", host, error)
            line.close()
            return
        _log.info("a session with %s begins", self._session.peer)
        self._registration.set_busy(busy=True)

    def close(self) -> None:
        """End the session and leave the tracker."""
        if self._session is not None:
            self._session.close()
        self._registration.close()

"""A board's registration at its tracker, renewed whenever the tracker was gone."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

import msgspec

from ....errors import BoardError
from ..description import BoardInfo
from ..protocol import Address, TrackerCode, TrackerConnection

_log = logging.getLogger(__name__)

_RETRY_S = 1.0
_FREE_PERIOD_S, _BUSY_PERIOD_S = 2.0, 10.0  # a busy board may be timing a kernel: leave it alone
_UNUSED_PERIODS = 3  # after as many, a client that was given this board is not coming


class Registration:
    """Tells a tracker what the board is and does, and offers it to the next client when free.

    `match_key` is what the tracker gives to that client, and what the client calls with; it is
    empty while the board is not offered.
    """

    def __init__(
        self,
        tracker: Address,
        key: str,
        host: str | None,
        port: int,
        describe: Callable[[], BoardInfo],
    ) -> None:
        self._tracker, self._key, self._describe = tracker, key, describe
        self._host, self._port = host, port
        self._line: TrackerConnection | None = None
        self._busy = False
        self._unused_count = 0
        self.match_key = ""
        self.due_s = 0.0

    def register(self, wait_s: float) -> None:
        """Register; where no tracker answers, say so at once and try again for `wait_s`.

        Raises:
            BoardError: none answered until then, or what answers is not a tracker.

        """
        end_s = time.monotonic() + wait_s
        waiting = False
        while True:
            try:
                self._connect()
            except OSError as error:
                if time.monotonic() >= end_s:
                    raise BoardError(
                        f"no tracker answered at {self._tracker} for {wait_s:g} s; start one there "
                        "with `adaspring boards tracker`"
                    ) from error
                if not waiting:
                    self._warn_tracker_lost(error, f"trying again for {wait_s:g} s")
                waiting = True
                time.sleep(min(_RETRY_S, wait_s))
            else:
                return

    def set_busy(self, *, busy: bool) -> None:
        """Take note that a session begins or that the board is free again."""
        self._busy = busy
        self.match_key = ""
        if self._line is not None:
            self._attempt(self._register)

    def refresh(self) -> None:
        """Report, or try to reach a tracker that was gone; to be called at `due_s`."""
        if self._line is not None:
            self._attempt(self._report)
            return
        self.due_s = time.monotonic() + _RETRY_S
        try:
            self._connect()
        except (OSError, BoardError):  # it was said that the tracker is gone, and what is done
            return
        _log.warning("registered at the tracker %s again", self._tracker)

    def close(self) -> None:
        """Leave the tracker."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _connect(self) -> None:
        line = TrackerConnection(self._tracker)
        try:
            self._register(line)
        except OSError:
            line.close()
            raise
        self._line = line

    def _attempt(self, step: Callable[[TrackerConnection], None]) -> None:
        """Do one step; note when the tracker is gone."""
        assert self._line is not None
        try:
            step(self._line)
        except OSError as error:
            self._warn_tracker_lost(error, "trying again every second")
            self.close()
            self.due_s = time.monotonic() + _RETRY_S

    def _warn_tracker_lost(self, error: OSError, then: str) -> None:
        reason = error.strerror or str(error) or "no answer"
        _log.warning("no tracker answers at %s (%s); %s", self._tracker, reason, then)

    def _register(self, line: TrackerConnection) -> None:
        self._send_state(line)
        if not self._busy:
            self._offer(line)

    def _send_state(self, line: TrackerConnection) -> None:
        """Tell what the board is and whether it is free: `adaspring boards list` shows it."""
        told = {
            "key": f"server:{self._key}",
            "addr": [self._host, self._port],
            "state": "busy" if self._busy else "free",
            "board": msgspec.to_builtins(self._describe()),
        }
        line.ask(TrackerCode.UPDATE_INFO, told)
        self.due_s = time.monotonic() + (_BUSY_PERIOD_S if self._busy else _FREE_PERIOD_S)

    def _offer(self, line: TrackerConnection) -> None:
        """Let the tracker give this board to the next client."""
        self.match_key = f"{self._key}:{random.random()}"
        self._unused_count = 0
        line.ask(TrackerCode.PUT, self._key, [self._port, self.match_key], self._host)

    def _report(self, line: TrackerConnection) -> None:
        """Tell how things are; offer the board again where a client took it and never called."""
        self._send_state(line)
        if self._busy:
            return
        offered = self.match_key in line.ask(TrackerCode.GET_PENDING_MATCHKEYS)
        self._unused_count = 0 if offered else self._unused_count + 1
        if self._unused_count >= _UNUSED_PERIODS:
            self._offer(line)

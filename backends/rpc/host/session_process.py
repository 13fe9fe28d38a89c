"""The host's side of a session: the process that holds it, and how it can fail."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, Any

import msgspec

from ..description import BoardInfo
from .client import Lease

# A process that was just started imports TVM before it opens its first session.
_START_S = 60.0
_CLOSE_S = 5.0


class CallRefused(Exception):
    """The board refused a call, and says why; the session still works."""


class SessionLost(Exception):
    """The session is lost: the connection broke, or its process ended."""


class SessionTimeout(Exception):
    """No answer within the limit; the session was ended from the host."""


class SessionProcess:
    """A warm process that holds one session after another; another is started where it ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._guard = threading.Lock()
        self._unread = bytearray()
        self.killed = False

    def open(self, lease: Lease, session_s: float, limit_s: float, device: str) -> BoardInfo:
        """Begin a session that the board ends by itself after `session_s`.

        Raises:
            CallRefused, SessionLost, SessionTimeout: there is none.

        """
        if self._process is None:
            self._start()
            limit_s += _START_S
        board = lease.board
        asked = (board.host, board.port, lease.match_key, session_s, device)
        info = self.ask(limit_s, "open", *asked)
        return msgspec.json.decode(info, type=BoardInfo)

    def ask(self, limit_s: float, name: str, *arguments: Any) -> Any:
        """Have one request carried out; `session_worker.RequestHandler` has their names.

        A request of several steps has `limit_s` for each.
        """
        if self._process is None or self._process.stdin is None:
            raise SessionLost("there is no session")
        try:
            self._process.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise SessionLost(self._end()) from None
        while "step" in (answer := json.loads(self._line(limit_s))):
            pass
        if "ok" in answer:
            return answer["ok"]
        raise (SessionLost if answer["over"] else CallRefused)(answer["fault"])

    def end_session(self) -> None:
        """Give the board back, in good order or, where that fails, by ending the process."""
        try:
            self.ask(_CLOSE_S, "close")
        except (CallRefused, SessionLost, SessionTimeout):
            self._end()

    def kill(self) -> None:
        """End the process for good, and with it the session; from any thread."""
        with self._guard:
            self.killed = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End the process for good and wait for its end."""
        self.kill()
        self._end()

    def _start(self) -> None:
        with self._guard:
            if self.killed:
                raise SessionLost("it was closed")
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (`_end` closes it)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "adaspring.backends.rpc.host.session_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C is for the tuner, which ends this in good order
            )

    def _line(self, limit_s: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        end_s = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, end_s - time.monotonic())):
                    self._end()
                    raise SessionTimeout(f"no answer within {limit_s:g} s")
                part = os.read(self._process.stdout.fileno(), 1 << 16)
                if not part:
                    raise SessionLost(self._end())
                self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        return bytes(line)

    def _end(self) -> str:
        """End the process and clear it away; what it said last."""
        with self._guard:
            process, errors = self._process, self._errors
            self._process = self._errors = None
            self._unread.clear()
        if process is None or errors is None:
            return "there is no session"
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        process.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().splitlines()
        errors.close()
        return f"its process ended: {said[-1] if said else 'no message'}"

"""Times candidates on the boards of one kind that a tracker has; more may join, and some may go.

A dispatcher asks the tracker for boards while candidates wait. Every board that it is given is
served by a thread of its own: one session, in which one candidate after the other is timed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ....errors import AdaspringError, BoardError
from ....targets import Board
from ...tuning.runner import Arguments, CandidateLost
from ..protocol import Address, is_answering
from .client import Lease, LeaseClient, RegisteredBoard, list_boards
from .session_opener import SessionOpener
from .session_process import CallRefused, SessionLost, SessionProcess, SessionTimeout

_log = logging.getLogger(__name__)

WAIT_S = 60.0
_SHARE_S = 20.0  # a session takes new candidates for so long, then others may have the board
_IDLE_S = 2.0  # a session without candidates gives its board back after
_CLOSE_S = 5.0
_COUNT_AGAIN_S = 2.0
_MOST_BOARDS = 64
# Whose fault it is shows when it happens again.
_MOST_CRASHES, _MOST_LOSSES = 2, 3


@dataclass
class _Job:
    """A candidate, and how often it brought down a session, or its board went away meanwhile."""

    code: Path
    arguments: Arguments
    future: Future[list[float]]
    crash_count: int = 0
    loss_count: int = 0


class RpcRunner:
    """A `Runner` whose boards are at `tracker`, under the key of `found` (`client.find_boards`).

    A candidate has `timeout_s`; a board is waited for `wait_s`: where it is busy, where it reboots,
    where the tracker is gone.
    """

    def __init__(
        self,
        tracker: Address,
        board: Board,
        found: RegisteredBoard,
        *,
        timeout_s: float = 20.0,
        wait_s: float = WAIT_S,
    ) -> None:
        self.tracker, self.board, self.key = tracker, board, found.key
        self.emulated = found.emulated
        self._timeout_s = timeout_s
        self._lease_client = LeaseClient(tracker, self.key, wait_s)
        self._session_opener = SessionOpener(board, wait_s)
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._error: AdaspringError | None = None
        self._idle_count = self._open_count = 0
        self._board_count, self._counted_s = 1, float("-inf")
        self._processes: set[SessionProcess] = set()
        self._spare: list[SessionProcess] = []
        self._threads = ThreadPoolExecutor(_MOST_BOARDS + 1, thread_name_prefix="adaspring-board")
        self._threads.submit(self._dispatch)

    @property
    def width(self) -> int:
        """How many boards are there now, free or busy; 1 where that is not known."""
        if time.monotonic() > self._counted_s + _COUNT_AGAIN_S:
            self._counted_s = time.monotonic()
            try:
                known = list_boards(self.tracker)
            except BoardError:
                known = ()
            self._board_count = max(1, sum(entry.key == self.key for entry in known))
        return self._board_count

    def submit(self, code: Path, arguments: Arguments) -> Future[list[float]]:
        """Time a candidate on the next board that is free."""
        job = _Job(code, arguments, Future())
        with self._changed:
            if self._error is not None:
                job.future.set_exception(self._error)
            else:
                self._jobs.append(job)
                self._changed.notify_all()
        return job.future

    def close(self) -> None:
        """End all sessions, in the middle of a candidate too, and give the boards back."""
        self._fail(BoardError("the runner was closed"))
        with self._changed:
            processes = list(self._processes)
        for process in processes:
            process.kill()
        self._threads.shutdown()
        for process in processes:
            process.close()

    def _fail(self, error: AdaspringError) -> None:
        """Time nothing any more."""
        with self._changed:
            self._error = self._error or error
            jobs, self._jobs = list(self._jobs), deque()
            self._changed.notify_all()
        for job in jobs:
            if job.future.running() or job.future.set_running_or_notify_cancel():
                job.future.set_exception(self._error)

    def _dispatch(self) -> None:
        """Fetch a board whenever more candidates wait than sessions."""
        try:
            while self._wait_until_needed():
                lease = self._lease_client.lease(self._needs_board, lambda: self._open_count > 0)
                if lease is not None:
                    with self._changed:
                        self._open_count += 1
                        self._idle_count += 1
                    self._threads.submit(self._use_board, lease)
        except AdaspringError as error:
            self._fail(error)

    def _wait_until_needed(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._needs_board())
            return self._error is None

    def _needs_board(self) -> bool:
        return self._error is None and len(self._jobs) > self._idle_count

    def _use_board(self, lease: Lease) -> None:
        """Time candidates on one board, until its time or the candidates are used up."""
        process = self._take_process()
        try:
            if self._open(process, lease):
                self._time_candidates(process, lease.board)
        except AdaspringError as error:
            self._fail(error)
        finally:
            process.end_session()
            with self._changed:
                self._spare.append(process)
                self._open_count -= 1
                self._idle_count -= 1
                self._changed.notify_all()

    def _take_process(self) -> SessionProcess:
        with self._changed:
            process = self._spare.pop() if self._spare else SessionProcess()
            self._processes.add(process)
            if self._error is not None:
                process.kill()
        return process

    def _open(self, process: SessionProcess, lease: Lease) -> bool:
        """Begin a session; False where that did not come about."""
        info = self._session_opener.open(process, lease, _SHARE_S + self._timeout_s + _CLOSE_S)
        if info is not None and info.emulated != self.emulated:
            raise BoardError(
                f"real and emulated boards are registered under the key {self.key}; give the "
                "emulated ones a key of their own"
            )
        return info is not None

    def _time_candidates(self, process: SessionProcess, board: Address) -> None:
        until_s = time.monotonic() + _SHARE_S
        works = True
        while works and time.monotonic() < until_s:
            job = self._next_job()
            if job is None:
                return
            try:
                works = self._time(job, process, board)
            finally:
                with self._changed:
                    self._idle_count += 1

    def _next_job(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._jobs, _IDLE_S)
            while self._jobs:
                job = self._jobs.popleft()
                if job.future.running() or job.future.set_running_or_notify_cancel():
                    self._idle_count -= 1
                    return job
            return None

    def _time(self, job: _Job, process: SessionProcess, board: Address) -> bool:
        """Time one candidate; whether the session still works after it."""
        try:
            seconds = process.ask(self._timeout_s, "time", str(job.code), job.arguments)
        except CallRefused as error:
            job.future.set_exception(CandidateLost(f"run: {error}"))
            return True
        except SessionLost as error:
            self._assign_blame(job, board, f"it crashed the session: {error}", _MOST_CRASHES)
        except SessionTimeout:
            self._assign_blame(job, board, f"timed out after {self._timeout_s:g} s", 1)
        else:
            job.future.set_result(seconds)
            return True
        return False

    def _assign_blame(self, job: _Job, board: Address, fault: str, most: int) -> None:
        """Decide whether the candidate or the board is at fault: a lost board does not answer."""
        if self._error is not None:
            job.future.set_exception(self._error)
        elif is_answering(board):
            job.crash_count += 1
            if job.crash_count >= most:
                job.future.set_exception(CandidateLost(f"run: {fault} (board at {board})"))
            else:
                self._requeue(job)
        else:
            job.loss_count += 1
            if job.loss_count >= _MOST_LOSSES:
                lost = f"run: the board was lost {job.loss_count} times while it ran"
                job.future.set_exception(CandidateLost(lost))
                return
            _log.warning("the board at %s was lost; its candidate will be timed again", board)
            self._requeue(job)

    def _requeue(self, job: _Job) -> None:
        with self._changed:
            if self._error is not None:
                job.future.set_exception(self._error)
                return
            self._jobs.appendleft(job)
            self._changed.notify_all()

"""Times candidates on this machine, in a process apart, with nothing of ours running beside."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from ...targets import Board
from .. import candidate_worker
from ..farm import JobLost, local_farm
from .runner import Arguments, CandidateLost


class LocalRunner:
    """A warm worker process with the board's threads; a crash or a hang costs one candidate.

    `quiet` is entered around every timing: whatever else the tuner does on these cores stands
    still meanwhile.
    """

    width = 1

    def __init__(
        self, board: Board, quiet: Callable[[], AbstractContextManager[None]], timeout_s: float
    ) -> None:
        self._hold_machine = quiet
        self._device = board.device
        device = board.device, dict(board.target), board.name
        ready = partial(candidate_worker.start_worker, board.core_count, board.affinity, device)
        self._worker = local_farm(1, initializer=ready, timeout_s=timeout_s)
        self._worker.submit(os.getpid)  # so that it starts now, not while all else stands still
        self._turn = ThreadPoolExecutor(1, thread_name_prefix="adaspring-time")

    def submit(self, code: Path, arguments: Arguments) -> Future[list[float]]:
        """Time a candidate when its turn comes."""
        return self._turn.submit(self._time, code, arguments)

    def _time(self, code: Path, arguments: Arguments) -> list[float]:
        try:
            with self._hold_machine():
                return self._worker.submit(
                    candidate_worker.time_candidate, str(code), arguments, self._device
                ).result()
        except JobLost as lost:
            raise CandidateLost(str(lost)) from lost

    def close(self) -> None:
        """End the worker; what still waits for its turn is given up."""
        self._turn.shutdown(wait=False, cancel_futures=True)
        self._worker.close()

"""Progress where there is no terminal: a line on stderr every half minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

EVERY_S = 30.0


@dataclass(frozen=True)
class _At:
    """Where the work is: `done` of `total` parts of a stage that began at `start_s`."""

    stage: str
    done: int
    total: int
    detail: str
    start_s: float


class Lines:
    """Says from time to time where the work is, from a thread of its own; a context manager.

    What is over within half a minute prints nothing. `tell` prints a line.
    """

    def __init__(self, tell: Callable[[str], None], every_s: float = EVERY_S):
        self._tell, self._every_s = tell, every_s
        self._at: _At | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Lines:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()

    def step(self, stage: str, done: int, total: int, detail: str) -> None:
        """Take note of where the work is."""
        at = self._at
        same = at is not None and at.stage == stage and at.done <= done
        start_s = at.start_s if same and at is not None else time.monotonic()
        self._at = _At(stage, done, total, detail, start_s)

    def _run(self) -> None:
        start_s = time.monotonic()
        while not self._over.wait(self._every_s):
            if self._at is not None:
                self._tell(_line(self._at, time.monotonic(), start_s))


def _line(at: _At, now_s: float, start_s: float) -> str:
    """Write what is done, how far it is, and how long it will take if it goes on so."""
    text = f"[{_duration(now_s - start_s)}] {at.stage}: {at.done} of {at.total}"
    if at.detail:
        text += f", {at.detail}"
    if 0 < at.done < at.total:
        left_s = (now_s - at.start_s) / at.done * (at.total - at.done)
        text += f"; about {_duration(left_s)} left"
    return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"

"""How the learning rate falls, and over how many steps: as many as a time limit leaves time for."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Annotated

import msgspec

Clock = Callable[[], float]
"""Seconds from some moment on."""

FITTED_AFTER = (2, 8, 32, 128)
"""Steps after which the first estimates are made; from then on, at the end of each epoch."""
SAID_AFTER = 8
_KEPT = 0.95
"""The share of the limit that is planned with: what is left is for steps that take longer."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learning rate falls along half a cosine, to 0 at step `end`.

    An epoch has `epoch_steps`. Where the end was moved, `phase` (0 to 1) of the cosine was behind
    at step `start`, and what is left of it is stretched or shortened.
    """

    epoch_steps: Annotated[int, msgspec.Meta(ge=1)]
    end: Annotated[int, msgspec.Meta(ge=1)]
    start: Annotated[int, msgspec.Meta(ge=0)] = 0
    phase: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0

    def rate_ratio(self, done: int) -> float:
        """Return the share of the highest rate that the step after `done` steps takes."""
        return 0.5 * (1 + math.cos(math.pi * self._phase_at(done)))

    def ending(self, end: int, done: int) -> Schedule:
        """Return the schedule that goes on from `done` steps and ends elsewhere."""
        if end == self.end:
            return self
        return Schedule(
            epoch_steps=self.epoch_steps, end=end, start=done, phase=self._phase_at(done)
        )

    @property
    def epochs(self) -> float:
        """The passes over the data that it takes."""
        return self.end / self.epoch_steps

    def _phase_at(self, done: int) -> float:
        if self.end <= self.start:
            return 1.0
        return self.phase + (1 - self.phase) * (done - self.start) / (self.end - self.start)


class Pace:
    """How long steps and validation take, and what that leaves of a time limit.

    `spent_s` is what a run that is taken up again took before.
    """

    def __init__(self, limit_s: float | None, clock: Clock = time.monotonic):
        self.limit_s, self._clock = limit_s, clock
        self._start_s = self._last_s = clock()
        self._steps_s: deque[float] = deque(maxlen=64)
        self._validation_s = 0.0

    @property
    def spent_s(self) -> float:
        """The seconds since the run began."""
        return self._clock() - self._start_s

    def go_on(self, spent_s: float) -> None:
        """Count what was spent on the run before it was taken up again."""
        self._start_s = self._clock() - spent_s

    @property
    def is_over(self) -> bool:
        """Whether the limit is reached."""
        return self.limit_s is not None and self.spent_s >= self.limit_s

    def begin_steps(self) -> None:
        """Take the time before the first of several steps."""
        self._last_s = self._clock()

    def end_step(self) -> None:
        """Take the time after a step."""
        now_s = self._clock()
        self._steps_s.append(now_s - self._last_s)
        self._last_s = now_s

    @contextmanager
    def validation(self) -> Iterator[None]:
        """Take the time of what is done inside."""
        start_s = self._clock()
        yield
        self._validation_s = self._clock() - start_s

    def epoch_s(self, epoch_steps: int) -> float:
        """Estimate how long an epoch and its validation take, in seconds.

        The first step is not counted once there are others: it sets up what they find.
        """
        steps = list(self._steps_s)
        return epoch_steps * median(steps[1:] or steps) + self._validation_s

    def fit(self, schedule: Schedule, done: int, most: int) -> Schedule:
        """End the schedule where the limit leaves time for, after `most` steps at most.

        The validation after the last step is paid for first.
        """
        if self.limit_s is None or not self._steps_s:
            return schedule
        left_s = _KEPT * self.limit_s - self.spent_s - self._validation_s
        step_s = max(self.epoch_s(schedule.epoch_steps) / schedule.epoch_steps, 1e-9)
        more = max(0, int(left_s / step_s))
        return schedule.ending(min(most, done + more), done)

    def describe(self, schedule: Schedule) -> str:
        """Say how long an epoch takes, and how many there will be."""
        epoch_s = self.epoch_s(schedule.epoch_steps)
        text = f"an epoch of {schedule.epoch_steps} steps takes about {duration(epoch_s)}"
        if self.limit_s is None:
            whole_s = schedule.epochs * epoch_s
            return f"{text}, all {schedule.epochs:g} at most {duration(whole_s)}"
        return f"{text}; {duration(self.limit_s)} are enough for {schedule.epochs:.3g} epochs"


def duration(seconds: float) -> str:
    """Write seconds as a person would say them."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

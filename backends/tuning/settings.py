"""What a run of the tuner is asked for, and what it tells afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import UsageError

Tuner = Literal["auto", "template", "sketch"]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Settings of one run.

    `tuner`: `template` tries the hand-written schedules' knobs; `sketch` searches schedules that
    TVM derives from the function itself; `auto` takes the template first where one fits and
    searches sketches where none does, or where its knobs are used up.
    `trials` bounds the candidates that are measured, `time_limit_s` the time; a task is left
    alone after `patience` candidates without a gain of one percent. `round_size` candidates of one
    task are proposed at a time.
    """

    trials: int
    time_limit_s: float | None = None
    tuner: Tuner = "auto"
    seed: int = 0
    round_size: int = 16
    patience: int = 64
    timeout_s: float = 20.0

    def __post_init__(self) -> None:
        known = get_args(Tuner)
        if self.tuner not in known:
            raise UsageError(f"--tuner {self.tuner!r} is unknown; choose from {', '.join(known)}")


@dataclass(frozen=True, kw_only=True)
class TuningReport:
    """What a run of the tuner did.

    `failed` names each lost candidate with the reason; `stages_s` says where the time went, in
    seconds of work (stages overlap, so they do not sum to `elapsed_s`); `ended` says why it ended.
    """

    measured_count: int
    reused_count: int
    failed: tuple[str, ...]
    elapsed_s: float
    stages_s: Mapping[str, float]
    ended: str

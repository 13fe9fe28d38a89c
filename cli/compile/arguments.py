"""What the user asked of `adaspring compile`, checked as far as it can be without the compiler."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...targets import Board, find
from ..shared.duration import parse_duration

TUNERS = ("auto", "template", "sketch")
_SHAPE = re.compile(r"([^=]+)=(\d+(?:,\d+)*)")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The command line, unchanged."""

    model: str
    boards: tuple[str, ...]
    data: str | None
    retrain: str | None
    together: bool
    max_drop: float
    latency_ms: float | None
    keep_dominated: bool
    trials: int
    time_limit: str | None
    tuner: str
    tracker: str | None
    cluster: str | None
    recipes: tuple[str, ...]
    shapes: tuple[str, ...]
    logs: Path
    seed: int
    output: Path

    def __post_init__(self) -> None:
        if self.latency_ms is not None and not self.latency_ms > 0:
            raise UsageError(f"--latency-ms is {self.latency_ms:g}; give milliseconds above 0")
        if self.together and self.retrain is None:
            raise UsageError("--together needs --retrain too: the samples to train on")
        if self.retrain is not None and self.data is None:
            raise UsageError("--retrain needs --data too: held-out samples that tell what was lost")
        self.parse_shapes()
        self.parse_time_limit()
        if self.tuner not in TUNERS:
            raise UsageError(f"--tuner {self.tuner!r} is unknown; choose from {', '.join(TUNERS)}")

    def parse_time_limit(self) -> float | None:
        """Give the seconds that tuning may take, or None."""
        if self.time_limit is None:
            return None
        return parse_duration("--time-limit", self.time_limit)

    def find_boards(self) -> tuple[Board, ...]:
        """Find the boards, each once; BoardError lists the known ones."""
        found = tuple(find(name) for name in self.boards)
        names = [board.name for board in found]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"--target names {twice} more than once; give each board once")
        return found

    def parse_shapes(self) -> dict[str, tuple[int, ...]]:
        """Give each input's shape by its name."""
        return parse_shapes(self.shapes)


def parse_shapes(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Read what --shape gives: each input's shape by its name."""
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise UsageError(
                f"--shape {text!r} is not an input's name and its extents; "
                "write for example x=1,3,32,32"
            )
        found[match[1]] = tuple(int(extent) for extent in match[2].split(","))
    return found

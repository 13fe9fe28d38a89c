"""What is shown of live costs: plain values, and a table of them as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from ..joined.lives import Lives
from ..joined.names import board_of
from .live import Live, Track

Pace = Literal["hot", "cold"]
PACES: tuple[tuple[bool, Pace], ...] = ((False, "hot"), (True, "cold"))
_HEADINGS = ("variant", "pace", "calls", "recorded p50", "p90", "live p50", "p90", "own", "last")


@dataclass(frozen=True, kw_only=True)
class LiveCost:
    """What a variant's calls take at one pace; None: not known.

    Calls are cold that begin 10 ms or more after the end of the one before, else hot. Of
    `calls_count` calls at either pace, the last ended at `last` (ISO 8601); live percentiles are of
    the newest calls, 256 at most. `own_ratio` is by how much this variant alone is slower than
    recorded, `common_ratio` by how much all variants of its library are.
    """

    variant: str
    pace: Pace
    calls_count: int
    last: str | None
    recorded_p50_ms: float | None
    recorded_p90_ms: float | None
    live_p50_ms: float | None
    live_p90_ms: float | None
    own_ratio: float
    common_ratio: float


@dataclass(frozen=True, kw_only=True)
class LiveCosts:
    """Recorded and live costs of a net's variants, and what is common to all of them.

    `hot_common_ratio` and `cold_common_ratio` are what recorded 90th percentiles are multiplied by
    at each pace, for all variants, where there are several libraries for those of the first.
    `origin` says what was there before the first call.
    """

    variants: tuple[LiveCost, ...]
    hot_common_ratio: float
    cold_common_ratio: float
    origin: str

    def __str__(self) -> str:
        rows = [_HEADINGS, *(_cells(cost) for cost in self.variants)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join((*lines, f"{'; '.join(self._common())}; {self.origin}"))

    def _common(self) -> Iterator[str]:
        """Say of each library what all of its variants share."""
        found: dict[str, dict[Pace, float]] = {}
        for cost in self.variants:
            found.setdefault(board_of(cost.variant), {})[cost.pace] = cost.common_ratio
        for board, ratios in found.items():
            whose = f"all of {board}" if board else "all"
            yield f"{whose}: {ratios['hot']:.2f} x hot, {ratios['cold']:.2f} x cold"


def live_costs(lives: Lives, wall_s: float, origin: str) -> LiveCosts:
    """Tabulate what was learnt; `wall_s` is to be added to the calls' clock for the time of day."""
    return LiveCosts(
        variants=tuple(row for live in lives.each for row in _rows(live, wall_s)),
        hot_common_ratio=lives.common_ratio(False),
        cold_common_ratio=lives.common_ratio(True),
        origin=origin,
    )


def _rows(live: Live, wall_s: float) -> Iterator[LiveCost]:
    factors = {pace: live.factors(cold) for cold, pace in PACES}
    tracks = {track.names: track for track in list(live.tracks.values())}
    for name, recorded in live.recorded.items():
        track = tracks.get((name,)) or live.new_track((name,))
        last = _time_of_day(track.last_s + wall_s) if track.calls_count else None
        for cold, pace in PACES:
            p50, p90 = _percentiles(track, cold)
            yield LiveCost(
                variant=name,
                pace=pace,
                calls_count=track.calls_count,
                last=last,
                recorded_p50_ms=recorded.cold_p50_ms if cold else recorded.p50_ms,
                recorded_p90_ms=recorded.cold_p90_ms if cold else recorded.p90_ms,
                live_p50_ms=p50,
                live_p90_ms=p90,
                own_ratio=factors[pace].own_ratios[name],
                common_ratio=factors[pace].common_ratio,
            )


def _time_of_day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _percentiles(track: Track, cold: bool) -> tuple[float | None, float | None]:
    times_s = track.shown_s[cold]
    if not times_s:
        return None, None
    p50, p90 = np.percentile(times_s, [50, 90])
    return 1e3 * float(p50), 1e3 * float(p90)


def _cells(cost: LiveCost) -> tuple[str, ...]:
    figures = (cost.recorded_p50_ms, cost.recorded_p90_ms, cost.live_p50_ms, cost.live_p90_ms)
    shown = ("-" if value is None else f"{value:.3g} ms" for value in figures)
    own = f"{cost.own_ratio:.2f} x"
    return (cost.variant, cost.pace, str(cost.calls_count), *shown, own, cost.last or "never")

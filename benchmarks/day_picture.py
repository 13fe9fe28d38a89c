"""The day of contexts as a picture: what adapts along the day, and everything by its sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from day import Contender, Moment

_SHADES = {"nothing": 0.0, "one core": 0.12, "every core": 0.25}


def draw(
    played: Sequence[Moment],
    deadlines_ms: np.ndarray,
    present: Sequence[Contender],
    rows: Sequence[Mapping[str, Any]],
    picture: Path,
) -> None:
    """Save the day's latencies and deadlines above, missed deadlines over accuracy below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    FigureCanvasAgg(figure)
    along, sums = figure.subplots(2, 1)
    _along(along, played, deadlines_ms, [each for each in present if each.adapts])
    _sums(sums, rows)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=130)


def _along(panel: Any, played: Sequence[Moment], deadlines_ms: np.ndarray, adapting: Any) -> None:
    from matplotlib.ticker import ScalarFormatter

    hours = 24 * np.arange(len(played)) / len(played)
    for hour, moment in zip(hours, played, strict=True):
        panel.axvspan(
            hour, hour + 24 / len(played), color="tab:red", alpha=_SHADES[moment.busy], lw=0
        )
    panel.step(hours, deadlines_ms, where="post", color="black", label="deadline")
    for each in adapting:
        panel.step(hours, each.p90_ms(), where="post", label=each.name, alpha=0.8)
    panel.set(xlabel="hour (red: another process on one, on every core)", ylabel="p90 of calls, ms")
    panel.set_yscale("log")
    for axis in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
        axis(ScalarFormatter())
    panel.legend()


def _sums(panel: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    most = max(row["energy_mj"] for row in rows)
    for adapts, color, label in ((True, "tab:orange", "adapts"), (False, "tab:blue", "fixed")):
        chosen = [row for row in rows if row["adapts"] == adapts]
        panel.scatter(
            [100 * row["accuracy_ratio"] for row in chosen],
            [100 * row["met_of_possible_ratio"] for row in chosen],
            [20 + 400 * row["energy_mj"] / most for row in chosen],
            color=color, alpha=0.6, label=label,
        )  # fmt: skip
    for row in _edge(rows):
        at = (100 * row["accuracy_ratio"], 100 * row["met_of_possible_ratio"])
        panel.annotate(row["name"], at, fontsize=7)
    panel.set(xlabel="accuracy over the day, % (area: modelled energy)",
              ylabel="deadlines met, % of those that could be")  # fmt: skip
    panel.legend()


def _edge(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """What adapts, and the fixed that no other fixed beats in both."""
    fixed = [row for row in rows if not row["adapts"]]
    yield from (row for row in rows if row["adapts"])
    pairs = [(row["accuracy_ratio"], row["met_of_possible_ratio"]) for row in fixed]
    for row, (right, met) in zip(fixed, pairs, strict=True):
        if not any(a >= right and b >= met and (a, b) != (right, met) for a, b in pairs):
            yield row

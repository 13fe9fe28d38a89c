"""The front of whole variants against that of combinations, both measured on the test part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Point = tuple[str, float, float]
"""Name, accuracy, milliseconds."""


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in accuracy and time, the fastest first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda each: (each[2], -each[1])):
        if not found or point[1] > found[-1][1]:
            found.append(point)
    return found


def _axes(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [ms for _, _, ms in points], [100 * right for _, right, _ in points]


def draw(results: Sequence[Mapping[str, Any]], picture: Path) -> None:
    """Save a panel for each network."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(results), 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for panel, found in zip(panels, results, strict=True):
        drawn = found["combinations_measured"]
        panel.plot(*_axes(drawn), ".", label="combinations drawn at random", color="silver")
        for key, label, marker in (
            ("combinations_best", "combinations for deadlines", "o"),
            ("whole_variants", "whole variants", "s"),
        ):
            (dots,) = panel.plot(*_axes(found[key]), marker, label=label, alpha=0.6)
            panel.step(*_axes(front(found[key])), where="post", color=dots.get_color())
        panel.set_title(found["network"])
        panel.set_xlabel("median latency, ms")
        panel.set_ylabel("test accuracy, %")
        panel.legend()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=130)

"""Accuracy over size: a row of panels a data set, over multiply-adds and over bytes of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from compression_rows import BATCH_NORM, FINE_TUNED, NONE, OURS, TOGETHER, Row

_SIZES = (("macs_count", "multiply-adds, M", 1e-6), ("weights_bytes", "weights, KB", 1e-3))
# Below this many points under the dense network a point is drawn as an arrow at the edge.
_SHOWN_POINTS = 10.0
_FILLS = {BATCH_NORM: "0.8", FINE_TUNED: "none", TOGETHER: "white"}


def draw(rows: Sequence[Row], picture: Path) -> None:
    """Save it; a point is the mean over the seeds, an open one was retrained."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.data for row in rows))
    makers = list(dict.fromkeys(row.by for row in rows))
    figure = Figure(figsize=(11, 3.6 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(names), len(_SIZES), squeeze=False)
    for line, name in zip(axes, names, strict=True):
        of_data = [row for row in rows if row.data == name]
        for axis, (field, label, scale) in zip(line, _SIZES, strict=True):
            _panel(axis, of_data, makers, field, scale)
            axis.set_title(name)
            axis.set_xlabel(label)
            axis.set_ylabel("test accuracy, %")
    figure.suptitle(
        "p: % of channels pruned, m50: half of the multiply-adds pruned, f: factorized, i8: int8, "
        "w4: int4 weights",
        fontsize=9,
    )
    handles, labels = axes[0, 0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=4, frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=130)


def _panel(axis, rows: Sequence[Row], makers: Sequence[str], field: str, scale: float) -> None:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.by, row.retraining, row.variant), []).append(row)
    dense = 100 * float(np.mean([row.accuracy_ratio for row in groups[OURS, NONE, "dense"]]))
    floor, labels = dense - _SHOWN_POINTS, {}
    axis.axhline(dense, color="0.7", linestyle="--", linewidth=1)
    for (by, retraining, variant), found in groups.items():
        size = scale * float(np.mean([getattr(row, field) for row in found]))
        right = 100 * float(np.mean([row.accuracy_ratio for row in found]))
        colour, marker = f"C{makers.index(by)}", "o" if by == OURS else "s"
        look = {
            "linestyle": "none",
            "alpha": 0.8,
            "color": colour,
            "markersize": 9 if retraining == TOGETHER else 6,
            "markerfacecolor": _FILLS.get(retraining, colour),
        }
        name = by if retraining == NONE else f"{by}, {retraining}"
        axis.plot([], [], marker=marker, label=name, **look)
        axis.plot(size, max(right, floor), marker="v" if right < floor else marker, **look)
        if by == OURS and retraining == NONE:
            labels.setdefault((round(size, 1), round(right)), []).append(_short(variant))
    for (size, _), names in labels.items():
        axis.annotate(", ".join(names), (size, dense), fontsize=7, xytext=(-2, 12),
                      textcoords="offset points", rotation=60)  # fmt: skip
    axis.set_ylim(floor - 0.5, dense + 0.7 * _SHOWN_POINTS)
    axis.set_yticks([tick for tick in axis.get_yticks() if floor - 0.5 <= tick <= 100])
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")
    axis.grid(alpha=0.3)


def _short(variant: str) -> str:
    for name, letter in (
        ("pruned", "p"),
        ("factorized", "f"),
        ("int8", "i8"),
        ("int4-weights", "w4"),
        ("half-macs", "m50"),
        ("-", " "),
    ):
        variant = variant.replace(name, letter)
    return variant

"""How the commands draw: one style of table, and quantities in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .faults import printable

if TYPE_CHECKING:
    from ...library.manifest import Cost, Figure, MetricFigure

_PIPED_WIDTH = 160
_NOT_KNOWN = "-"


def console(*, stderr: bool = False) -> Console:
    """Make a console as wide as the terminal; wider than rich's default where output is piped."""
    found = Console(stderr=stderr, highlight=False)
    if found.is_terminal:
        return found
    return Console(stderr=stderr, highlight=False, width=max(found.width, _PIPED_WIDTH))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Draw a table; columns whose name begins with '>' are aligned right. Cells are plain text."""
    drawn = Table(
        title=Text(printable(title)), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for name in columns:
        right = name.startswith(">")
        drawn.add_column(
            Text(name.removeprefix(">")), justify="right" if right else "left", overflow="fold"
        )
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn


def line(text: str, style: str = "") -> Text:
    """Give a line of plain text."""
    return Text(printable(text), style=style)


def bytes_text(count: float) -> str:
    """Write bytes in decimal units: 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def count_text(count: float) -> str:
    """Write a count with a decimal prefix: 49.9 M."""
    for prefix in ("", "k", "M", "G"):
        if count < 1000:
            return f"{count:.3g} {prefix}".strip()
        count /= 1000
    return f"{count:.4g} T"


def shape_text(shape: Sequence[int]) -> str:
    """Write a shape: 1x3x32x32, or 'scalar'."""
    return "x".join(str(extent) for extent in shape) or "scalar"


def percent_text(ratio: float) -> str:
    """Write a ratio in percent."""
    return f"{100 * ratio:.1f} %"


def cost_columns(costs: Sequence[Cost]) -> tuple[str, ...]:
    """Name the columns of `cost_cells`; the first is the library's metric."""
    name = _metric_name(costs) or "metric"
    rest = (">p50 ms", ">p90 ms", ">energy mJ", ">peak memory", ">size", ">MACs")
    return (f">{name}", ">validation", *rest)


def origin_note(costs: Sequence[Cost]) -> str:
    """Say what the marks in the cells mean, and how the metric was found."""
    note, name = "~ modelled, not measured; - not known", _metric_name(costs)
    if name is None:
        return note
    figure = next(cost.metric for cost in costs if cost.metric is not None)
    against = "" if figure.against == "labels" else " against the dense network's answers,"
    return f"{note}; {name}:{against} test split, ± 95 % interval, {figure.direction} is better"


def cost_cells(cost: Cost) -> tuple[str, ...]:
    """Give the cells under `cost_columns`; what is modelled is marked ~."""
    return (
        metric_text(cost.metric),
        metric_text(cost.validation_metric, with_interval=False),
        _figure(cost.latency_p50_ms, "{:.3g}".format),
        _figure(cost.latency_p90_ms, "{:.3g}".format),
        _figure(cost.energy_mj, "{:.3g}".format),
        _figure(cost.peak_memory_bytes, bytes_text),
        _figure(cost.size_bytes, bytes_text),
        _figure(cost.macs_count, count_text),
    )


def metric_text(figure: MetricFigure | None, *, with_interval: bool = True) -> str:
    """Write a metric with how sure it is: 91.8 ±1.3 %, 31.2 ±0.4 dB, 0.0123 ±0.0004."""
    if figure is None:
        return _NOT_KNOWN
    interval = figure.interval if with_interval else None
    text = score_text(figure.value, interval, figure.unit)
    return ("~" if figure.origin == "modelled" else "") + text


def score_text(value: float, interval: tuple[float, float] | None, unit: str = "ratio") -> str:
    """Write a value with the larger half of its interval."""
    half = None if interval is None else max(interval[1] - value, value - interval[0])
    if unit == "ratio":
        sure = "" if half is None else f"±{100 * half:.1f} "
        return f"{100 * value:.1f} {sure}%"
    return f"{value:.4g}{'' if half is None else f' ±{half:.2g}'} {unit}".strip()


def _metric_name(costs: Sequence[Cost]) -> str | None:
    return next((cost.metric.name for cost in costs if cost.metric is not None), None)


def _figure(figure: Figure | None, text) -> str:
    if figure is None:
        return _NOT_KNOWN
    return ("~" if figure.origin == "modelled" else "") + text(figure.value)

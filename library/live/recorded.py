"""What a library's manifest says that a name's calls take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan

from ..evolve.space import BETWEEN, column
from ..evolve.tails import even_tails
from ..manifest import Composition, Cost, Figure, Manifest

_LEAST_MS, _MOST_MS = 1e-6, 1e9


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Latencies of a variant or a cell; None: not known."""

    p50_ms: float | None = None
    p90_ms: float | None = None
    cold_p50_ms: float | None = None
    cold_p90_ms: float | None = None

    def at(self, cold: bool) -> tuple[float, float] | None:
        """Median and 90th percentile that calls are compared with; None where neither is known.

        Where one is missing it is taken to be the other; and where no cold call was measured, or
        it was the faster one by chance, the hot one.
        """
        hot = _pair(self.p50_ms, self.p90_ms)
        apart = _pair(self.cold_p50_ms, self.cold_p90_ms) if cold else None
        if hot is None or apart is None:
            return apart or hot
        return max(hot[0], apart[0]), max(hot[1], apart[1])


def recorded_costs(manifest: Manifest) -> dict[str, Recorded]:
    """Return what is recorded of each variant at each shape, by `name_at`, and of each cell."""
    return dict(_costs(manifest))


def name_at(variant: str, shape: int) -> str:
    """Name a variant at one of the library's shapes: at the first by its own name."""
    return f"{variant}@{shape}" if shape else variant


def names_in(variant: str, shape: int) -> tuple[str, ...]:
    """Name what a call of a variant, or of a combination of cells, runs at a shape."""
    cells = variant.split(BETWEEN)
    if len(cells) == 1:
        return (name_at(variant, shape),)
    return tuple(name_at(cell_name(segment, cell), shape) for segment, cell in enumerate(cells))


def cell_name(segment: int, cell: str) -> str:
    """Name a cell, of which each segment may have one that is called so."""
    return f"{segment}/{cell}"


def _costs(manifest: Manifest) -> Iterator[tuple[str, Recorded]]:
    for shape in range(len(manifest.signatures)):
        variants = manifest.at(shape).variants
        recorded = _recorded([variant.cost for variant in variants])
        names = (name_at(variant.name, shape) for variant in variants)
        yield from zip(names, recorded, strict=True)
    if manifest.composition is not None:
        yield from _cells(manifest.composition)


def _cells(composition: Composition) -> Iterator[tuple[str, Recorded]]:
    """Cells as they are within a combination, so that they add up to what that takes."""
    latency, count = composition.latency, len(composition.segments)

    def within(figure: Figure | None, *, cold: bool = False) -> float | None:
        if figure is None or latency is None:
            return None if cold or figure is None else figure.value
        offset_ms = latency.offset_ms + (latency.cold_offset_ms if cold else 0.0)
        return max(latency.scale * figure.value + offset_ms / count, 0.0)

    for number, segment in enumerate(composition.segments):
        for cell in segment.cells:
            p50, p90 = cell.cost.latency_p50_ms, cell.cost.latency_p90_ms
            yield (
                cell_name(number, cell.name),
                Recorded(
                    p50_ms=within(p50),
                    p90_ms=within(p90),
                    cold_p50_ms=within(p50, cold=True),
                    cold_p90_ms=within(p90, cold=True),
                ),
            )


def _recorded(costs: Sequence[Cost]) -> Iterator[Recorded]:
    """Variants at one shape, with the tails that policies go by."""
    hot_p50 = column(cost.latency_p50_ms for cost in costs)
    cold_p50 = column(cost.cold_latency_p50_ms for cost in costs)
    hot_p90 = even_tails(hot_p50, column(cost.latency_p90_ms for cost in costs))
    cold_p90 = even_tails(cold_p50, column(cost.cold_latency_p90_ms for cost in costs))
    for row in zip(hot_p50, hot_p90, cold_p50, cold_p90, strict=True):
        p50, p90, cold50, cold90 = (None if isnan(ms) else float(ms) for ms in row)
        yield Recorded(p50_ms=p50, p90_ms=p90, cold_p50_ms=cold50, cold_p90_ms=cold90)


def _pair(p50_ms: float | None, p90_ms: float | None) -> tuple[float, float] | None:
    """Fill in the one that is missing; what no call takes is no figure."""
    known = [ms for ms in (p50_ms, p90_ms) if ms is not None and _LEAST_MS <= ms <= _MOST_MS]
    return (known[0], max(known)) if known else None

"""What a manifest says of a network in pieces: cells, what they cost, which combinations may run.

A combination is one cell for each segment. What a combination costs follows from its cells, as
`library/evolve/space.py` says; how well it does so was measured, and stands here too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ..evolve.space import BETWEEN
from ..records import Count, DecisionRecord, Executable, Figure, MetricFigure, Name, Ratio, Record

Bound = Annotated[float, Meta(ge=0)]
Row = tuple[float, ...]

_CONFIDENCE_RATIO, _SURE_COUNT = 0.95, 59


class Levels(Record, frozen=True, kw_only=True):
    """8-bit numbers that stand for floats: (level − zero_point) · scale."""

    scale: Annotated[float, Meta(gt=0)]
    zero_point: Annotated[int, Meta(ge=-128, le=255)]
    dtype: Literal["uint8", "int8"]


class Form(Executable, frozen=True, kw_only=True):
    """A cell compiled again, to take or give levels where it takes or gives floats (None)."""

    takes: Levels | None = None
    gives: Levels | None = None


class Cell(Executable, frozen=True, kw_only=True):
    """One compressed alternative of a segment, compiled; its costs are of this piece alone.

    It takes and gives floats; `forms` compute the same where levels cross.
    """

    name: Name
    recipe: str
    decisions: tuple[DecisionRecord, ...]
    forms: tuple[Form, ...] = ()

    def form(self, takes: Levels | None, gives: Levels | None) -> Executable | None:
        """Return the cell as it takes and gives these; None where it has no such form."""
        if takes is None and gives is None:
            return self
        wanted = (takes, gives)
        return next((form for form in self.forms if (form.takes, form.gives) == wanted), None)


class Segment(Record, frozen=True, kw_only=True):
    """A piece of the network between two places where one tensor alone crosses."""

    layers: tuple[Name, ...]
    cells: Annotated[tuple[Cell, ...], Meta(min_length=1)]

    def cell(self, name: str) -> Cell:
        """Return the cell of that name; KeyError where there is none."""
        for cell in self.cells:
            if cell.name == name:
                return cell
        raise KeyError(name)


class MetricPrediction(Record, frozen=True, kw_only=True):
    """How the metric of a combination follows from its cells, in the metric's unit.

    It is `base` plus `cells[i][a]` for each segment i and its cell a, plus `pairs[i][a][b]` for
    cell a of segment i beside cell b of the next, where `pairs` are given. Of `held_out_count`
    combinations that the figures were not fitted to, a share of `coverage` is wrong by at most
    `bound` on the data that they were measured on, and by at most `fresh_bound` on other data.
    That holds with a confidence of `confidence` over the draw of those held out; None: not said.
    `least` is the worst value, the bound on its bad side, with which one may run.
    """

    base: float
    cells: tuple[Row, ...]
    pairs: tuple[tuple[Row, ...], ...] = ()
    bound: Bound
    fresh_bound: Bound | None = None
    coverage: Ratio
    held_out_count: Count
    confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    least: float | None = None

    @property
    def is_sure(self) -> bool:
        """Whether the bound holds with the confidence of 95 % that is promised.

        Where it is not said, that takes so many held out that 0.95 to their number is 0.05.
        """
        if self.confidence is None:
            return self.held_out_count >= _SURE_COUNT
        return self.confidence >= _CONFIDENCE_RATIO


class LatencyPrediction(Record, frozen=True, kw_only=True):
    """How the latency of a combination follows from those of its cells.

    It is `scale` times their sum plus `offset_ms`, and `cold_offset_ms` more for calls that are
    50 ms apart. Where `crossings` are given, the sum holds `crossings[i][a][b]` too for cell a of
    segment i beside cell b of the next: what both take in levels less what they do in floats, 0
    where floats cross. `bound_ratio` is of the error over the prediction; it and the counts are as
    in a `MetricPrediction`. It is None where too few were held out for one.
    """

    scale: Annotated[float, Meta(gt=0)]
    crossings: tuple[tuple[Row, ...], ...] = ()
    offset_ms: float
    cold_offset_ms: float
    bound_ratio: Ratio | None
    coverage: Ratio
    held_out_count: Count


class Combination(Record, frozen=True, kw_only=True):
    """One combination that was measured itself: the names of its cells, and what was found.

    Where the board was not at hand, its metric is the reference's, and modelled.
    """

    cells: tuple[Name, ...]
    validation_metric: MetricFigure | None = None
    latency_p50_ms: Figure | None = None
    latency_p90_ms: Figure | None = None

    @property
    def name(self) -> str:
        """The name under which an app runs it."""
        return BETWEEN.join(self.cells)


class Composition(Record, frozen=True, kw_only=True):
    """A network in pieces. `uncut_ratio` is the time of the dense pieces over the whole's.

    Where no time could be taken, there is neither a ratio nor a prediction of latency.
    """

    segments: Annotated[tuple[Segment, ...], Meta(min_length=2)]
    metric: MetricPrediction | None = None
    latency: LatencyPrediction | None = None
    combinations: tuple[Combination, ...] = ()
    uncut_ratio: Ratio | None = None
